"""The threat to a candidate's text, and the verifier's rules for it.

A perturbed text is the clean one, or words with single spaces between them, and keeps to all of these:

- word for word, its first words are the clean ones, changed or not; further words stand behind the last (only
  where `insert-word` is allowed). No word is taken away.
- Either at most `amount` words are changed or added, or no word is added and at most `characters` words are
  misspelt (only where `replace-character` is allowed).
- A word that is changed as a word becomes one of its neighbours, or one of its synonyms in WordNet, as `synonyms` has
  it (`Lexicon.replacements`, a cosine of at least `synonym_cosine`). Where words may also be added (stuffing), it
  becomes another word of the catalog's vocabulary.
- An added word is one of that vocabulary (`Lexicon.stuffing`). With `nearest_items` the vocabulary of a text holds the
  words of the catalog texts nearest to it alone, of so many as the tier has.
- A misspelt word has one slip and is no other word (`Lexicon.misspellings`); words of more than 64 characters are not
  misspelt.
- At most `max_changed_share` of the words change, but one always may.
- The length is at most `max_length` characters, or that of the clean text where it was longer.
- No word (case and outer punctuation aside) stands more than `max_repeats` times, or than it did.
- No banned character stands more often than it did.
- The words with digits stay as they are, in order, and none comes in. Where `keep_names` is set no name is replaced;
  a misspelt name is still that name.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from recgauntlet.core.card import TIERS, TextThreat, Threat
from recgauntlet.core.types import Edit, Surface
from recgauntlet.threats.base import ThreatModel, place_fault, slashed
from recgauntlet.threats.budget import Budget
from recgauntlet.threats.lexicon import Lexicon, core_of, is_number, words_of

if TYPE_CHECKING:
    from torch import Tensor

    from recgauntlet.core.batch import Batch
    from recgauntlet.core.dataset import Catalog
    from recgauntlet.core.recommender import Recommender
    from recgauntlet.core.rng import Randomness
    from recgauntlet.threats.embedding_scale import EmbeddingScale
    from recgauntlet.threats.knowledge import AttackerKnowledge

_ROUNDING = 1e-9
"""A share of 0.58 allows 29 of 50 words, though 0.58 * 50 is below 29 in floating point."""


class TextThreatModel(ThreatModel[TextThreat]):
    """The candidate's text is edited by words, or by characters."""

    surface: ClassVar[Surface] = "candidate-text"
    is_discrete: ClassVar[bool] = True
    unit: ClassVar[str] = "words"
    edits_text: ClassVar[bool] = True

    @property
    def promotes_by_text(self) -> bool:
        return self.card.goal == "promote"

    @property
    def may_insert(self) -> bool:
        """Whether catalog words may be appended, and put in place of others (stuffing)."""
        return "insert-word" in self.card.operations

    def most_touched(self, budget: Budget, count: int) -> int:
        """The most words of a text of `count` that can be changed or added within `budget`."""
        share = self.card.max_changed_share
        words = int(budget.amount) if self.may_insert else min(int(budget.amount), count)
        characters = min(budget.characters, count) if "replace-character" in self.card.operations else 0
        most = max(words, characters)
        return most if share is None else min(most, most_changed(share, count))

    def touched(self, catalog: Catalog, batch: Batch, budget: Budget) -> Tensor:
        import torch

        counts = [len(words_of(text)) for text in shown_texts(catalog, batch)]
        return torch.tensor([self.most_touched(budget, count) for count in counts], dtype=torch.int64)

    def has_legal_input(self, world: AttackerKnowledge, batch: Batch, budget: Budget) -> Tensor:
        import torch

        texts = shown_texts(world.catalog, batch)
        found = {text: self._has_legal_change(world.lexicon, budget, text) for text in dict.fromkeys(texts)}
        return torch.tensor([found[text] for text in texts])

    def _has_legal_change(self, lexicon: Lexicon, budget: Budget, text: str) -> bool:
        words = words_of(text)
        added = lexicon.stuffing(self.card, budget.tier, text) if self.may_insert else ()
        changes = (
            " ".join([*words[:place], new, *words[place + 1 :]])
            for place in range(len(words) + 1)
            for new in self._changes(lexicon, words[place] if place < len(words) else "", added)
        )
        return any(change != text and not text_fault(lexicon, self.card, budget, text, change) for change in changes)

    def _changes(self, lexicon: Lexicon, word: str, added: Sequence[str]) -> Sequence[str]:
        """What may stand in the place of `word`, or behind the last word where it is empty; `added` may stand there."""
        if not word:
            return added
        return (*added, *lexicon.misspellings(word), *lexicon.replacements(word, self.card))

    @classmethod
    def changed(cls, catalog: Catalog, clean: Batch, perturbed: Batch) -> Tensor:
        import torch

        if perturbed.texts == clean.texts:
            return torch.zeros(len(clean), dtype=torch.bool, device=clean.items.device)
        pairs = zip(shown_texts(catalog, clean), shown_texts(catalog, perturbed), strict=True)
        return torch.tensor([a != b for a, b in pairs], dtype=torch.bool, device=clean.items.device)

    @classmethod
    def clean_input(cls, catalog: Catalog, batch: Batch) -> Batch:
        """The candidates as new listings: an item's id would give the text away as it was before the edit."""
        return batch.as_new_listings(shown_texts(catalog, batch))

    @classmethod
    def unchanged(cls, model: Recommender, catalog: Catalog, clean: Batch) -> Batch:
        return clean.with_texts(list(shown_texts(catalog, clean)))

    @classmethod
    def put(cls, catalog: Catalog, batch: Batch, rows: Tensor, other: Batch) -> Batch:
        texts = list(shown_texts(catalog, batch))
        for row, text in zip(rows.tolist(), shown_texts(catalog, other), strict=True):
            texts[row] = text
        return batch.with_texts(texts)

    @classmethod
    def to_tensor(cls, catalog: Catalog, batch: Batch) -> Tensor:
        import torch

        return torch.tensor(list(json.dumps(shown_texts(catalog, batch)).encode()), dtype=torch.uint8)

    @classmethod
    def from_tensor(cls, clean: Batch, held: Tensor) -> Batch:
        return clean.with_texts(json.loads(bytes(held.tolist())))

    def faults(
        self, world: AttackerKnowledge, scale: EmbeddingScale, budget: Budget, clean: Batch, perturbed: Batch
    ) -> list[str]:
        pairs = zip(shown_texts(world.catalog, clean), shown_texts(world.catalog, perturbed), strict=True)
        return [text_fault(world.lexicon, self.card, budget, *pair) for pair in pairs]

    @classmethod
    def edits(cls, catalog: Catalog, clean: Batch, perturbed: Batch, row: int) -> tuple[Edit, ...]:
        from recgauntlet.threats.edits import text_edits

        return text_edits(text_of(catalog, clean, row), text_of(catalog, perturbed, row))

    @classmethod
    def rebuilt(cls, catalog: Catalog, clean: Batch, edits: Sequence[Sequence[Edit]]) -> Batch:
        from recgauntlet.threats.edits import apply_text_edits

        pairs = zip(shown_texts(catalog, clean), edits, strict=True)
        return clean.with_texts([apply_text_edits(*pair) for pair in pairs])

    @classmethod
    def unseen(cls, catalog: Catalog, clean: Batch, edits: Sequence[Sequence[Edit]], rng: Randomness) -> Batch:
        draw, every = rng.numpy(), words_of(" ".join(catalog.texts))
        texts = []
        for text, found in zip(shown_texts(catalog, clean), edits, strict=True):
            kept = {edit.at for edit in found if edit.op != "insert"}
            drawn = draw.integers(len(every), size=len(words_of(text)))
            words = [w if i in kept else every[drawn[i]] for i, w in enumerate(words_of(text))]
            texts.append(" ".join(words))
        return clean.with_texts(texts)

    @classmethod
    def edit_fault(cls, catalog: Catalog, clean: Batch, row: int, edits: Sequence[Edit]) -> str:
        return place_fault(edits, len(words_of(text_of(catalog, clean, row))))

    @classmethod
    def evidence_input(cls, catalog: Catalog, batch: Batch, row: int, edits: Sequence[Edit]) -> dict[str, Any]:
        return {"before": tuple(words_of(text_of(catalog, batch, row)))}

    def as_kept(self, catalog: Catalog, scale: EmbeddingScale, budget: Budget, clean: Batch, perturbed: Batch) -> Batch:
        """Evidence keeps words: a text without an edit is the clean one, to the last space."""
        if perturbed.texts is None or len(perturbed.texts) != len(clean):
            return perturbed
        pairs = zip(shown_texts(catalog, clean), perturbed.texts, strict=True)
        return perturbed.with_texts([a if a.split() == b.split() and b == " ".join(b.split()) else b for a, b in pairs])

    @classmethod
    def axis(cls, by_characters: bool = False) -> str:
        return "characters changed" if by_characters else "words changed"

    @classmethod
    def amount_text(cls, amount: float, characters: int = 0) -> str:
        by_characters = f"{characters} characters"
        if not characters:
            return f"{amount:g} words"
        return f"{amount:g} words or {by_characters}" if amount else by_characters

    @classmethod
    def budget_text(cls, amounts: Sequence[float], characters: Sequence[int] = (), card: Threat | None = None) -> str:
        either = f", or {slashed(characters)} characters" if any(characters) else ""
        return f"{slashed(amounts)} words{either}"

    def limits(self) -> list[str]:
        card = self.card
        found = [f"at most {card.max_length} characters in all"]
        if card.nearest_items is not None:
            counts = slashed([card.nearest_items.at(tier) for tier in TIERS])
            found.append(f"added words of the {counts} nearest items (all where there are no more)")
        if card.synonyms == "wordnet":
            found.append("words become synonyms in WordNet")
        if card.max_repeats is not None:
            found.append(f"no word more than {'twice' if card.max_repeats == 2 else f'{card.max_repeats} times'}")
        if card.banned_characters:
            found.append(f"none of {' '.join(card.banned_characters)} added")
        if card.max_changed_share is not None:
            found.append(f"at most {card.max_changed_share:.0%} of the words, at least one")
        if card.keep_numbers:
            found.append("numbers kept")
        if card.keep_names:
            found.append("capitalised names kept")
        return found


def most_changed(share: float, count: int) -> int:
    """How many of `count` words a share allows to change: one at least."""
    return max(1, int(share * count + _ROUNDING))


def text_of(catalog: Catalog, batch: Batch, row: int) -> str:
    """The text of the candidate at `row`, as the model sees it."""
    return catalog.texts[int(batch.items[row])] if batch.texts is None else batch.texts[row]


def shown_texts(catalog: Catalog, batch: Batch) -> Sequence[str]:
    """The texts of all candidates of a batch, as the model sees them."""
    return [catalog.texts[i] for i in batch.items.tolist()] if batch.texts is None else batch.texts


def text_fault(lexicon: Lexicon, threat: TextThreat, budget: Budget, clean: str, perturbed: str) -> str:
    """Why `perturbed` is not a legal change of `clean`; empty where it is."""
    if perturbed == clean:
        return ""
    before, after = words_of(clean), words_of(perturbed)
    if perturbed != " ".join(after):
        return "the words are not set apart by single spaces"
    if len(after) < len(before):
        return "a word was taken away"
    return (
        _surface_fault(threat, clean, perturbed)
        or _number_fault(threat, before, after)
        or _count_fault(lexicon, threat, budget, clean, after)
    )


def _surface_fault(threat: TextThreat, clean: str, perturbed: str) -> str:
    limit = max(threat.max_length, len(clean))
    if len(perturbed) > limit:
        return f"the text has {len(perturbed)} characters, more than {limit}"
    for character in threat.banned_characters:
        if perturbed.count(character) > clean.count(character):
            return f"the banned character {character!r} was added"
    if threat.max_repeats is not None:
        had = Counter(core_of(word) for word in words_of(clean))
        for core, times in Counter(core_of(word) for word in words_of(perturbed)).items():
            if times > max(threat.max_repeats, had[core]):
                return f"a word stands {times} times"
    return ""


def _number_fault(threat: TextThreat, before: list[str], after: list[str]) -> str:
    if threat.keep_numbers and [w for w in before if is_number(w)] != [w for w in after if is_number(w)]:
        return "a number changed"
    return ""


def _count_fault(lexicon: Lexicon, threat: TextThreat, budget: Budget, clean: str, after: list[str]) -> str:
    before = words_of(clean)
    added = after[len(before) :]
    changed = [(old, new) for old, new in zip(before, after, strict=False) if old != new]
    if added and "insert-word" not in threat.operations:
        return "a word was added"
    touched = len(changed) + len(added)
    share = threat.max_changed_share
    if share is not None and touched > most_changed(share, len(before)):
        return f"{touched} of {len(before)} words changed, more than the share of {share}"
    by_words = _words_fault(lexicon, threat, budget, clean, changed, added)
    if not by_words or "replace-character" not in threat.operations or added:
        return by_words
    if len(changed) > budget.characters:
        return f"{by_words}; {len(changed)} words changed, more than the {budget.characters} that may be misspelt"
    if all(new in lexicon.misspellings(old) for old, new in changed):
        return ""
    return f"{by_words}; and it is no misspelling with one slip"


def _words_fault(
    lexicon: Lexicon,
    threat: TextThreat,
    budget: Budget,
    clean: str,
    changed: list[tuple[str, str]],
    added: list[str],
) -> str:
    touched = len(changed) + len(added)
    if touched > budget.amount:
        return f"{touched} words changed, more than {budget.amount:g}"
    if changed and "replace-word" not in threat.operations:
        return "a word was replaced"
    if threat.keep_names and any(lexicon.is_name(old) for old, _ in changed):
        return "a name was replaced"
    if "insert-word" not in threat.operations:
        if all(new in lexicon.replacements(old, threat) for old, new in changed):
            return ""
        return f"a word was replaced by one that is no {'synonym' if threat.synonyms == 'wordnet' else 'neighbour'}"
    vocabulary = frozenset(lexicon.stuffing(threat, budget.tier, clean))
    source = "the catalog's vocabulary" if threat.nearest_items is None else "the vocabulary of the nearest items"
    if any(new not in vocabulary or core_of(new) == core_of(old) for old, new in changed):
        return f"a word was replaced by one that is not in {source}, or by itself in another case"
    if any(word not in vocabulary for word in added):
        return f"an added word is not in {source}"
    return ""

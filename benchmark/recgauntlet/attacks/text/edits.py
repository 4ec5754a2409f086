"""Legal edits of candidate texts under a threat, word by word.

Kept apart from the verifier on purpose: that one checks results by alignment and shares no code with this.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from itertools import islice

from recgauntlet.core.batch import Batch
from recgauntlet.core.card import TextThreat
from recgauntlet.threats.budget import Budget
from recgauntlet.threats.knowledge import AttackerKnowledge
from recgauntlet.threats.lexicon import Lexicon, core_of, is_number, words_of
from recgauntlet.threats.text import TextThreatModel, most_changed


@dataclass(frozen=True, slots=True)
class Draft:
    """A text under edit: the clean text, its words now (appended ones last), how many it had, and which places were
    touched."""

    clean: str
    words: tuple[str, ...]
    count: int
    touched: frozenset[int] = frozenset()

    @classmethod
    def of(cls, text: str) -> Draft:
        """The unchanged text."""
        words = tuple(words_of(text))
        return cls(text, words, len(words))

    @property
    def text(self) -> str:
        """The text as shown."""
        return " ".join(self.words) if self.touched else self.clean

    def put(self, place: int, word: str) -> Draft:
        """With `word` at `place`, or appended where `place` is one past the end."""
        words = (*self.words[:place], word, *self.words[place + 1 :])
        return Draft(self.clean, words, self.count, self.touched | {place})

    def without(self, place: int) -> str:
        """The text less one word: no legal text, but a question about how much the word matters."""
        return " ".join(word for i, word in enumerate(self.words) if i != place) or self.words[place]


@dataclass(frozen=True)
class Rules:
    """What a budget of a text threat allows."""

    lexicon: Lexicon
    threat: TextThreat
    budget: Budget

    @classmethod
    def of(cls, world: AttackerKnowledge, budget: Budget) -> Rules:
        """The rules of `budget` in `world`; TypeError where its threat touches no text."""
        return cls(world.lexicon, TextThreatModel.of(budget).card, budget)

    @property
    def any_edit(self) -> bool:
        """Whether the budget allows any edit at all."""
        return self.budget.amount >= 1 or self.budget.characters >= 1

    @property
    def stuffing(self) -> bool:
        """Whether catalog words may be appended, and put in place of others."""
        return "insert-word" in self.threat.operations

    @property
    def may_replace(self) -> bool:
        """Whether whole words may be replaced."""
        return "replace-word" in self.threat.operations

    @cached_property
    def _banned(self) -> frozenset[str]:
        return frozenset(self.threat.banned_characters)

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """The words that may be appended, and put in place of others."""
        return self.lexicon.vocabulary(self.threat.banned_characters)

    @cached_property
    def popular(self) -> tuple[str, ...]:
        """The words to stuff with: popular in the catalog, no banned character."""
        return tuple(word for word in self.lexicon.popular if not self._banned & set(word))

    def drafts(self, world: AttackerKnowledge, batch: Batch) -> list[Draft]:
        """The texts of a batch as shown, unchanged, their neighbours looked up in one go."""
        shown = batch.texts or [world.catalog.texts[i] for i in batch.items.tolist()]
        if self.may_replace and not self.stuffing and self.threat.synonyms == "neighbours":
            self.lexicon.prepare(word for text in dict.fromkeys(shown) for word in words_of(text))
        return [Draft.of(text) for text in shown]

    def edits_left(self, draft: Draft) -> int:
        """How many more words may be changed or added."""
        return min(int(self.budget.amount), self.most_touched(draft)) - len(draft.touched)

    def most_touched(self, draft: Draft) -> int:
        """How many words may differ at all, whatever the way."""
        share = self.threat.max_changed_share
        return draft.count + int(self.budget.amount) if share is None else most_changed(share, draft.count)

    def open_places(self, draft: Draft, *, misspell: bool = False) -> list[int]:
        """The clean words that may be replaced, or misspelt, and are not changed yet."""
        return [
            place
            for place, word in enumerate(draft.words[: draft.count])
            if place not in draft.touched
            and not (self.threat.keep_numbers and is_number(word))
            and (misspell or not (self.threat.keep_names and self.lexicon.is_name(word)))
        ]

    @property
    def narrow(self) -> bool:
        """Whether a text may be stuffed with words of near items alone."""
        return self.lexicon.is_narrow(self.threat, self.budget.tier)

    def stuffing_of(self, draft: Draft, usual: tuple[str, ...]) -> tuple[str, ...]:
        """The words to stuff a text with: those of its near items where the card asks for it, else the `usual`."""
        return self.lexicon.stuffing(self.threat, self.budget.tier, draft.clean) if self.narrow else usual

    def replacements(self, draft: Draft, place: int) -> tuple[str, ...]:
        """What may come in for a word: neighbours or synonyms, or words to stuff with where the threat is stuffing."""
        if self.stuffing:
            return self.stuffing_of(draft, self.popular)
        return self.lexicon.replacements(draft.words[place], self.threat)

    def word_moves(self, draft: Draft, moves: Iterable[tuple[int, str]], most: int) -> list[Draft]:
        """The first `most` legal drafts one word away; a move is a place and the word to put there."""
        out: list[Draft] = []
        cores = [core_of(word) for word in draft.words]
        times = Counter(cores)
        room = self._most_characters(draft) - len(" ".join(draft.words))
        near = frozenset(self.stuffing_of(draft, ()))
        for place, word in moves:
            if len(out) >= most:
                break
            if self.narrow and word not in near:
                continue
            appended = place >= len(draft.words)
            old, core = "" if appended else draft.words[place], core_of(word)
            longer = len(word) - len(old) + appended
            if longer > room or self._adds_banned(old, word) or (not appended and cores[place] == core):
                continue
            if self._repeats_fit(draft, core, times.get(core, 0) + 1):
                out.append(draft.put(place, word))
        return out

    def misspellings_left(self, draft: Draft) -> int:
        """How many more words may be misspelt."""
        return min(self.budget.characters, self.most_touched(draft)) - len(draft.touched)

    def misspelt(self, draft: Draft, moves: Iterable[tuple[int, str]], most: int) -> list[Draft]:
        """The first `most` legal drafts one misspelling away; a move is a place and the word as it is misspelt."""
        room = self._most_characters(draft) - len(" ".join(draft.words))
        times = Counter(core_of(word) for word in draft.words)
        fitting = (
            draft.put(place, word)
            for place, word in moves
            if len(word) - len(draft.words[place]) <= room
            and not self._adds_banned(draft.words[place], word)
            and self._repeats_fit(draft, core_of(word), times[core_of(word)] + 1)
        )
        return list(islice(fitting, most))

    def _most_characters(self, draft: Draft) -> int:
        return max(self.threat.max_length, len(draft.clean))

    def _adds_banned(self, old: str, word: str) -> bool:
        """Whether the word would bring in a banned character that the old one has not."""
        brought = self._banned.intersection(word)
        return any(word.count(character) > old.count(character) for character in brought)

    def _repeats_fit(self, draft: Draft, core: str, times: int) -> bool:
        if self.threat.max_repeats is None or times <= self.threat.max_repeats:
            return True
        return times <= [core_of(word) for word in words_of(draft.clean)].count(core)

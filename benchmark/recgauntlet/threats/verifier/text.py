"""The verifier's rules for candidate texts.

A perturbed text is the clean one, or words with single spaces between them, and keeps to all of these:

- word for word, its first words are the clean ones, changed or not; further words stand behind the last (only
  where `insert-word` is allowed). No word is taken away.
- Either at most `amount` words are changed or added, or no word is added and the changes cost at most
  `characters` character edits (Levenshtein, summed over the words; only where `replace-character` is
  allowed).
- A word that is replaced as a word becomes a neighbour: a cosine of at least `synonym_cosine`, the
  punctuation around it kept. Where words may also be added (stuffing), any word of the catalog may come in
  instead.
- An added word stands in the catalog.
- At most `max_changed_share` of the words change, but one always may.
- The length is at most `max_length` characters, or that of the clean text where it was longer.
- No word (case and outer punctuation aside) stands more than `max_repeats` times, or than it did.
- No banned character stands more often than it did.
- The words with digits stay as they are, in order, and none comes in; names stay where `keep_names` is set.
"""

from __future__ import annotations

from collections import Counter

from recgauntlet.core.card import TextThreat
from recgauntlet.threats.budget import Budget
from recgauntlet.threats.lexicon import Lexicon, core_of, is_number, parts_of, words_of

_ROUNDING = 1e-9


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
        or _kept_fault(lexicon, threat, before, after)
        or _count_fault(lexicon, threat, budget, before, after)
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


def _kept_fault(lexicon: Lexicon, threat: TextThreat, before: list[str], after: list[str]) -> str:
    if threat.keep_numbers and [w for w in before if is_number(w)] != [w for w in after if is_number(w)]:
        return "a number changed"
    if threat.keep_names:
        for old, new in zip(before, after, strict=False):
            if new != old and lexicon.is_name(old):
                return "a name changed"
    return ""


def _count_fault(lexicon: Lexicon, threat: TextThreat, budget: Budget, before: list[str], after: list[str]) -> str:
    added = after[len(before) :]
    changed = [(old, new) for old, new in zip(before, after, strict=False) if old != new]
    if added and "insert-word" not in threat.operations:
        return "a word was added"
    touched = len(changed) + len(added)
    share = threat.max_changed_share
    # a share of 0.58 allows 29 of 50 words, though 0.58 * 50 is below 29 in floating point
    if share is not None and touched > max(1, int(share * len(before) + _ROUNDING)):
        return f"{touched} of {len(before)} words changed, more than the share of {share}"
    by_words = _words_fault(lexicon, threat, budget, changed, added)
    if not by_words or "replace-character" not in threat.operations:
        return by_words
    if added:
        return by_words
    cost = sum(levenshtein(old, new) for old, new in changed)
    if cost <= budget.characters:
        return ""
    return f"{by_words}; {cost} character edits, more than {budget.characters}"


def _words_fault(
    lexicon: Lexicon, threat: TextThreat, budget: Budget, changed: list[tuple[str, str]], added: list[str]
) -> str:
    touched = len(changed) + len(added)
    if touched > budget.amount:
        return f"{touched} words changed, more than {budget.amount:g}"
    if changed and "replace-word" not in threat.operations:
        return "a word was replaced"
    stuffing = "insert-word" in threat.operations
    for old, new in changed:
        if not (stuffing and lexicon.contains(new)) and not _is_neighbour(lexicon, threat, old, new):
            return "a word was replaced by one that is no neighbour"
    if not all(lexicon.contains(word) for word in added):
        return "an added word does not stand in the catalog"
    return ""


def _is_neighbour(lexicon: Lexicon, threat: TextThreat, old: str, new: str) -> bool:
    (before, _, after), (first, _, last) = parts_of(old), parts_of(new)
    return (before, after) == (first, last) and lexicon.cosine(old, new) >= threat.synonym_cosine


def levenshtein(first: str, second: str) -> int:
    """The least number of characters to insert, delete or replace to make `second` of `first`."""
    row = list(range(len(second) + 1))
    for i, a in enumerate(first, start=1):
        corner, row[0] = row[0], i
        for j, b in enumerate(second, start=1):
            corner, row[j] = row[j], min(corner + (a != b), row[j] + 1, row[j - 1] + 1)
    return row[-1]

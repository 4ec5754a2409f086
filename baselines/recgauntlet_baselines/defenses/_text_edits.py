"""Random legal edits of candidate texts, for many texts together.

Moves are proposed by what the threat allows; the benchmark's verifier has the last word on every text.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain

import numpy as np

from recgauntlet.core.card import TextThreat
from recgauntlet.core.types import IntArray
from recgauntlet.threats.budget import Budget
from recgauntlet.threats.lexicon import Lexicon, is_number, words_of
from recgauntlet.threats.text import text_fault

_WORDS_A_DRAW = 1024
_VARIANTS = 8
"""Misspellings of a word that are ever drawn. A tokenizer remembers every word it has seen: of all misspellings of all
words there are millions."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A text under edit: its words now, new ones behind the clean ones, and the places that were touched."""

    clean: str
    words: tuple[str, ...]
    touched: frozenset[int] = frozenset()

    @classmethod
    def of(cls, text: str) -> Draft:
        """The unchanged text."""
        return cls(text, tuple(words_of(text)))

    @property
    def text(self) -> str:
        """The text as shown."""
        return " ".join(self.words) if self.touched else self.clean


@dataclass(frozen=True)
class WordMoves:
    """`M` proposals for each of `B` texts: `words[word[b, m]]` comes to stand at `place[b, m]` (behind the last word
    where it is one past the end). A place of -1 is no proposal."""

    place: IntArray
    word: IntArray
    words: tuple[str, ...]


class TextEdits:
    """What a text threat allows within `budget`: at most `rounds` words of a text are touched, each once.

    Kinds: a word of the catalog (or of the nearest items, where the threat asks for it) behind the text or in place of
    another, a neighbour or synonym in place of a word, a misspelling of a word. A misspelt word carries one slip: fewer
    characters than the budget has.
    """

    def __init__(self, lexicon: Lexicon, threat: TextThreat, budget: Budget) -> None:
        self.threat = threat
        self.rounds = int(budget.amount) or (1 if budget.characters else 0)
        self.appends = "insert-word" in threat.operations
        self._replaces = "replace-word" in threat.operations
        self._misspells = "replace-character" in threat.operations
        self._lexicon = lexicon
        self._budget = budget
        self._alternatives: dict[str, tuple[str, ...]] = {}

    @cached_property
    def vocabulary(self) -> tuple[str, ...]:
        """The words that may be added, most popular first."""
        return self._lexicon.vocabulary(self.threat.banned_characters)

    def draw(self, drafts: Sequence[Draft], generator: np.random.Generator, count: int) -> WordMoves:
        """`count` random proposals a text, of each way to edit that the threat has half where there are two: catalog
        words (half of them behind the text) and changes of single words."""
        stuffing = self.appends and bool(self.vocabulary)
        changing = self._misspells or (self._replaces and not self.appends)
        if stuffing and changing:
            first = self._catalog_words(drafts, generator, count - count // 2)
            return _joined(first, self._changed_words(drafts, generator, count // 2))
        if stuffing:
            return self._catalog_words(drafts, generator, count)
        return self._changed_words(drafts, generator, count)

    def put(self, draft: Draft, place: int, word: str) -> Draft | None:
        """The text with `word` at `place`; None where the verifier finds a fault with it."""
        words = (*draft.words[:place], word, *draft.words[place + 1 :])
        changed = Draft(draft.clean, words, draft.touched | {place})
        fault = text_fault(self._lexicon, self.threat, self._budget, draft.clean, changed.text)
        return None if fault or changed.text == draft.text else changed

    def random(self, texts: Sequence[str], generator: np.random.Generator, tries: int = 4) -> list[str]:
        """Each text with 1 to `rounds` random legal edits, all numbers alike; fewer where `tries` proposals an edit are
        not legal."""
        drafts = [Draft.of(text) for text in texts]
        if not self.rounds:
            return list(texts)
        wanted = generator.integers(1, self.rounds, size=len(texts), endpoint=True).tolist()
        for done in range(self.rounds):
            rows = [b for b, number in enumerate(wanted) if number > done]
            moves = self.draw([drafts[b] for b in rows], generator, tries)
            if not moves.words:
                break
            for b, places, words in zip(rows, moves.place.tolist(), moves.word.tolist(), strict=True):
                found = self.first_legal(drafts[b], ((p, moves.words[w]) for p, w in zip(places, words, strict=True)))
                drafts[b] = found or drafts[b]
        return [draft.text for draft in drafts]

    def first_legal(self, draft: Draft, moves: Iterable[tuple[int, str]]) -> Draft | None:
        """The text after the first of `moves` that is legal; None where none is."""
        found = (self.put(draft, place, word) for place, word in moves if place >= 0)
        return next((changed for changed in found if changed is not None), None)

    def _catalog_words(self, drafts: Sequence[Draft], generator: np.random.Generator, count: int) -> WordMoves:
        if self._lexicon.is_narrow(self.threat, self._budget.tier):
            return _listed([self._near_words(draft) for draft in drafts], generator, count)
        size = min(_WORDS_A_DRAW, len(self.vocabulary))
        pool = generator.choice(len(self.vocabulary), size=size, replace=False)
        ends = np.array([[len(draft.words)] for draft in drafts], dtype=np.int64).reshape(-1, 1)
        place = np.broadcast_to(ends, (len(drafts), count))
        chance = generator.random((3, len(drafts), count))
        if self._replaces:
            lists = [self._open_places(draft) for draft in drafts]
            sizes = np.array([[len(places)] for places in lists], dtype=np.int64).reshape(-1, 1)
            table = np.full((len(drafts), max(1, int(sizes.max(initial=0)))), -1, dtype=np.int64)
            for row, places in zip(table, lists, strict=True):
                row[: len(places)] = places
            inside = np.take_along_axis(table, (chance[0] * sizes).astype(np.int64), axis=1)
            place = np.where((chance[1] < 0.5) | (sizes == 0), place, inside)
        words = tuple(self.vocabulary[i] for i in pool.tolist())
        return WordMoves(place.astype(np.int64), (chance[2] * size).astype(np.int64), words)

    def _changed_words(self, drafts: Sequence[Draft], generator: np.random.Generator, count: int) -> WordMoves:
        self._learn(dict.fromkeys(chain.from_iterable(draft.words for draft in drafts)))
        options = [
            [(p, new) for p in self._open_places(draft) for new in self._alternatives[draft.words[p]]]
            for draft in drafts
        ]
        return _listed(options, generator, count)

    def _near_words(self, draft: Draft) -> list[tuple[int, str]]:
        """Every word of the near items behind the text, and in place of its words where these may be replaced."""
        words = self._lexicon.stuffing(self.threat, self._budget.tier, draft.clean)
        places = [len(draft.words), *(self._open_places(draft) if self._replaces else ())]
        return [(place, word) for place in places for word in words]

    def _open_places(self, draft: Draft) -> list[int]:
        """The clean words that may be changed and are not yet, without those that a share rules out."""
        share = self.threat.max_changed_share
        if share is not None and draft.touched and len(draft.touched) + 1 > share * len(draft.words):
            return []
        return [p for p, word in enumerate(draft.words) if p not in draft.touched and self._may_change(word)]

    def _may_change(self, word: str) -> bool:
        if self.threat.keep_numbers and is_number(word):
            return False
        return not (self.threat.keep_names and self._lexicon.is_name(word))

    def _learn(self, words: Iterable[str]) -> None:
        new = [word for word in words if word not in self._alternatives]
        near = self._replaces and not self.appends
        if near and self.threat.synonyms == "neighbours":
            self._lexicon.prepare(new)
        for word in new:
            found = self._lexicon.replacements(word, self.threat) if near else ()
            # few misspellings of a word are drawn, always the same
            slips = sorted(self._lexicon.misspellings(word), key=_checksum)[:_VARIANTS] if self._misspells else ()
            self._alternatives[word] = (*found, *slips)


def _listed(options: Sequence[list[tuple[int, str]]], generator: np.random.Generator, count: int) -> WordMoves:
    """`count` of the moves that each of `B` texts has: all where they are few, in a random order."""
    chance = generator.random((len(options), count))
    place = np.full((len(options), count), -1, dtype=np.int64)
    word = np.zeros((len(options), count), dtype=np.int64)
    index: dict[str, int] = {}
    for b, moves in enumerate(options):
        few = len(moves) <= count
        drawn = generator.permutation(len(moves)) if few else (chance[b] * len(moves)).astype(np.int64)
        for m, i in enumerate(drawn.tolist()):
            place[b, m], new = moves[i]
            word[b, m] = index.setdefault(new, len(index))
    return WordMoves(place, word, tuple(index))


def _checksum(word: str) -> int:
    return zlib.crc32(word.encode())


def _joined(first: WordMoves, second: WordMoves) -> WordMoves:
    return WordMoves(
        np.concatenate([first.place, second.place], axis=1),
        np.concatenate([first.word, second.word + len(first.words)], axis=1),
        first.words + second.words,
    )

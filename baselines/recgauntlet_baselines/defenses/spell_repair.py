"""Spelling repair at inference: a word outside the catalog is replaced by the nearest catalog word."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import ClassVar

from recgauntlet.core.dataset import Catalog
from recgauntlet.core.recommender import Recommender
from recgauntlet.core.references import bibtex
from recgauntlet.core.search_space import OneOf, SearchSpace
from recgauntlet.threats.lexicon import Lexicon, is_number, parts_of
from recgauntlet.training.defense import Defense
from recgauntlet_baselines.defenses._wrapper import RepairedWords


@dataclass(kw_only=True, eq=False)
class SpellRepair(Defense):
    """The model reads `argmin over catalog words w of (d(word, w), -frequency of w)` in place of each unknown word.

    `d` counts insertions, deletions, substitutions and swaps of neighbours (optimal string alignment); `frequency` is
    the number of texts with the word. A word stays as it is where the catalog has it (names and all), where it has a
    digit, where it has fewer than 3 letters, and where nothing lies within `distance` (1 for words of 3 or 4 letters).
    Case and outer punctuation stay. Training is plain.

    Candidates come from an index of deletions (symmetric delete, as in SymSpell): two words within n edits of each
    other have a word in common that is reached from each by deleting at most n letters. The index is made at the first
    unknown word. The same repair serves Pruthi et al. 2019 as a learned model in front of the classifier.

    Deviations from Pruthi et al.: no model of contexts, the nearest word alone; from SymSpell: the index holds whole
    words instead of prefixes, for catalogs have few.

    A misspelling that is another catalog word passes, and so does a word that was replaced whole.

    Parameters
    ----------
    distance
        The most edits that are undone in a word of 5 letters or more: 1 or 2.
    """

    citation = bibtex("pruthi2019combating")

    search_space: ClassVar[SearchSpace] = {"distance": OneOf((1, 2))}

    distance: int = 2

    def wrap(self, model: Recommender) -> Recommender:
        if "candidate-text" not in model.surfaces:
            return model
        return RepairedWords(model, Speller(model.catalog, self.distance).repaired)


class Speller:
    """Repairs words by the words of a catalog."""

    def __init__(self, catalog: Catalog, distance: int) -> None:
        self._catalog = catalog
        self._distance = distance

    def repaired(self, word: str) -> str:
        """The word, or the nearest of the catalog in its case and with its punctuation."""
        before, middle, after = parts_of(word)
        core = middle.lower()
        counts = self._lexicon.counts
        if core in counts or is_number(word) or len(core) < 3:
            return word
        limit = self._limit(len(core))
        near = {other for key in deletions(core, limit) for other in self._index.get(key, ())}
        # in order of frequency, so that of equally near words the first is the more frequent
        ranked = sorted(near, key=lambda other: (-counts[other], other))
        found = min(((distance(core, other), n) for n, other in enumerate(ranked)), default=(limit + 1, 0))
        if found[0] > min(limit, self._limit(len(ranked[found[1]])) if ranked else limit):
            return word
        return f"{before}{_in_case_of(middle, ranked[found[1]])}{after}"

    def _limit(self, letters: int) -> int:
        return min(self._distance, 1 if letters < 5 else 2)

    @cached_property
    def _lexicon(self) -> Lexicon:
        return Lexicon(self._catalog.texts)

    @cached_property
    def _index(self) -> dict[str, list[str]]:
        """The catalog's words without a digit by what deletions make of them."""
        index: defaultdict[str, list[str]] = defaultdict(list)
        for core in self._lexicon.counts:
            if len(core) >= 3 and not is_number(core):
                for key in deletions(core, self._limit(len(core))):
                    index[key].append(core)
        return dict(index)


def deletions(word: str, most: int) -> set[str]:
    """The word with at most `most` letters deleted."""
    kept = (chosen for n in range(most + 1) for chosen in combinations(word, max(0, len(word) - n)))
    return {"".join(letters) for letters in kept}


def distance(first: str, second: str) -> int:
    """The least number of letters to insert, delete, replace or swap with the next, no place touched twice."""
    rows = [list(range(len(second) + 1))]
    for i, a in enumerate(first, start=1):
        row = [i]
        for j, b in enumerate(second, start=1):
            best = min(rows[-1][j] + 1, row[-1] + 1, rows[-1][j - 1] + (a != b))
            if i > 1 and j > 1 and a == second[j - 2] and b == first[i - 2]:
                best = min(best, rows[-2][j - 2] + 1)
            row.append(best)
        rows.append(row)
    return rows[-1][-1]


def _in_case_of(pattern: str, word: str) -> str:
    if len(pattern) > 1 and pattern.isupper():
        return word.upper()
    return word.capitalize() if pattern[:1].isupper() else word

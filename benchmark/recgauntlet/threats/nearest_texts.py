"""Which texts of a catalog are nearest to one of them, by the words that they share."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

_DIGITS = 9
"""Cosines are rounded, so that the last bits of a sum decide nothing."""


class NearestTexts:
    """The distinct `texts`, in memory; nearest by the cosine of their sets of words, each word weighted by the log of
    all texts over those that hold it (Spärck Jones 1972).

    No encoder is asked: words that the attacker may use must be the same on every machine.
    """

    def __init__(self, texts: Sequence[str], words_of: Callable[[str], frozenset[str]]) -> None:
        from scipy.sparse import csr_array  # takes a third of a second, and few threats ask

        self._words_of = words_of
        self.texts = tuple(dict.fromkeys(texts))
        words = [sorted(words_of(text)) for text in self.texts]
        self._places = {word: n for n, word in enumerate(sorted(frozenset().union(*words)))}
        columns = np.array([self._places[word] for several in words for word in several], dtype=np.int64)
        ends = np.cumsum([0, *map(len, words)])
        counts = np.bincount(columns, minlength=len(self._places))
        self._weights: npt.NDArray[np.float64] = np.log(max(1, len(self.texts)) / np.maximum(counts, 1))
        values = self._weights[columns]
        squares = np.bincount(np.repeat(np.arange(len(words)), np.diff(ends)), values**2, minlength=len(words))
        self._lengths = np.sqrt(np.maximum(squares, 1e-12))
        self._table = csr_array((values, columns, ends), shape=(len(words), len(self._places)))

    def nearest(self, text: str, count: int) -> list[str]:
        """The `count` texts most like `text`, which is not among them, the most alike first; texts that are equally
        alike, or that share no word with it, in the catalog's order."""
        asked = np.zeros(len(self._places))
        known = [self._places[word] for word in self._words_of(text) if word in self._places]
        asked[known] = self._weights[known]
        cosines = (self._table @ asked) / (self._lengths * max(float(np.linalg.norm(asked)), 1e-12))
        order = np.argsort(-cosines.round(_DIGITS), kind="stable")
        return [self.texts[n] for n in order[: count + 1].tolist() if self.texts[n] != text][:count]

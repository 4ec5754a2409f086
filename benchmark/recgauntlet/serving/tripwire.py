"""How far a history or a text is from what a model has seen: simple figures, each beside that of the training data."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from scipy.sparse import csr_array

from recgauntlet.core.dataset import TaskData
from recgauntlet.core.rng import Randomness
from recgauntlet.core.types import PAD, FloatArray, IntArray
from recgauntlet.data.encoder import sentence_vectors
from recgauntlet.data.prepare import item_vectors
from recgauntlet.data.text_measures import TextMeasures
from recgauntlet.evaluation.naturalness import changed_characters
from recgauntlet.serving.limits import check_count
from recgauntlet.serving.messages import Distances, HistoryDistance, Measured, TextDistance, TextOf
from recgauntlet.serving.ranker import Ranker
from recgauntlet.threats.edits import text_edits
from recgauntlet.threats.lexicon import words_of

USERS = 20_000
"""Training users whose histories are counted; more are drawn."""
COMPARED = 500
"""Catalog texts whose nearest other text is looked for, drawn where there are more."""


class Tripwire:
    """Distances of histories and texts. `measures` gives perplexities; None for none."""

    def __init__(self, data: TaskData, ranker: Ranker, measures: TextMeasures | None = None) -> None:
        self._ranker = ranker
        self._measures = measures
        self._histories = HistoryStatistics(data)
        self._texts = TextStatistics(data)

    def distances(self, history: Sequence[str] | None, texts: Sequence[tuple[int, TextOf]]) -> Distances:
        """Of a history, None for none, and of texts, each with its place in the request.

        Raises
        ------
        RequestError
            Where there are too many, one is too long, or the item of a text is not in the catalog.
        """
        check_count(len(texts), self._ranker.limits.texts, "texts to measure", "texts")
        for place, one in texts:
            self._ranker.check_text(one.text, f"texts.{place}.text")
        items = [
            None if one.item is None else self._ranker.place(one.item, f"texts.{place}.item") for place, one in texts
        ]
        return Distances(
            history=None if history is None else self._history(history),
            texts=self._of_texts(texts, items) if texts else [],
        )

    def _history(self, history: Sequence[str]) -> HistoryDistance:
        found = [self._ranker.place_of.get(item) for item in history]
        places = np.array([place for place in found if place is not None], dtype=np.int64)
        statistics = self._histories
        unseen = int((~statistics.seen[places]).sum())
        unknown = len(history) - len(places)
        return HistoryDistance(
            items=len(history),
            unknown=unknown,
            unseen=unseen,
            unfamiliar_share=(unknown + unseen) / len(history) if history else 0.0,
            popularity=statistics.popularity_of(places),
            cooccurrence=statistics.cooccurrence_of(places),
        )

    def _of_texts(self, texts: Sequence[tuple[int, TextOf]], items: Sequence[int | None]) -> list[TextDistance]:
        shown = [one.text for _, one in texts]
        own = [None if item is None else self._ranker.catalog.texts[item] for item in items]
        vectors = sentence_vectors(shown)
        nearest = self._texts.nearest(vectors)
        perplexities = self._perplexities([*shown, *(text for text in own if text is not None)])
        answers = []
        for row, ((place, one), item, clean) in enumerate(zip(texts, items, own, strict=True)):
            edits = None if clean is None else text_edits(clean, one.text)
            perplexity = perplexities.get(one.text)
            before = None if clean is None else perplexities.get(clean)
            answers.append(
                TextDistance(
                    text=place,
                    item=one.item,
                    words_changed=None if edits is None else len(edits),
                    characters_changed=None if edits is None or clean is None else changed_characters(clean, edits),
                    cosine=None if item is None else float(vectors[row] @ self._texts.vectors[item]),
                    nearest=nearest[row],
                    unknown_words=self._texts.unknown_words(one.text),
                    perplexity=perplexity,
                    perplexity_ratio=perplexity / before if perplexity is not None and before else None,
                )
            )
        return answers

    def _perplexities(self, texts: Sequence[str]) -> dict[str, float]:
        if self._measures is None:
            return {}
        found = dict(zip(texts, self._measures.perplexities(texts).tolist(), strict=True))
        self._measures.forget()  # what strangers send is not kept
        return found


class HistoryStatistics:
    """What the histories of the training period are made of: of each user the newest one, with the click behind it."""

    def __init__(self, data: TaskData) -> None:
        pairs, count = data.train, len(data.catalog)
        lengths = (pairs.histories != PAD).sum(axis=1)
        order = np.lexsort((lengths, pairs.users))  # the longest of each user stands last
        last = order[np.flatnonzero(np.diff(pairs.users[order], append=-1))]
        if len(last) > USERS:
            last = np.sort(Randomness(0, "serving/histories").numpy().choice(last, USERS, replace=False))
        rows = np.concatenate([pairs.histories[last], pairs.clicked[last, None]], axis=1)
        there = rows != PAD
        user = np.repeat(np.arange(len(rows)), there.sum(axis=1))
        taken = csr_array((np.ones(len(user), dtype=np.int32), (user, rows[there])), shape=(len(rows), count))
        taken.data[:] = 1  # an item counts once for a user
        self.seen = np.zeros(count, dtype=bool)
        self.seen[pairs.histories[pairs.histories != PAD]] = True
        self.seen[pairs.clicked] = True
        self._users_of: IntArray = np.asarray(taken.sum(axis=0)).astype(np.int64)
        self._together = csr_array(taken.T @ taken)
        histories = [taken.indices[a:b].astype(np.int64) for a, b in zip(taken.indptr, taken.indptr[1:], strict=False)]
        self._popularities = _rising(self._popularity(places) for places in histories)
        self._shares = _rising(self._share(places, least=2) for places in histories if len(places) > 1)

    def popularity_of(self, places: IntArray) -> Measured | None:
        """Of the items at `places`; None for none."""
        if not len(places):
            return None
        return _measured(self._popularity(places), self._popularities)

    def cooccurrence_of(self, places: IntArray) -> Measured | None:
        """Of the different items at `places`; None where there are less than two."""
        places = np.unique(places)
        if len(places) < 2:
            return None
        return _measured(self._share(places, least=1), self._shares)

    def _popularity(self, places: IntArray) -> float:
        return float(np.log10(1 + self._users_of[places]).mean())

    def _share(self, places: IntArray, least: int) -> float:
        """The share of the pairs that at least `least` users have: 2 leaves out the user whose own history it is."""
        together = self._together[places][:, places].toarray()
        above = np.triu_indices(len(places), k=1)
        return float((together[above] >= least).mean())


class TextStatistics:
    """The catalog's texts: their sentence vectors, their words, and how near each is to the nearest other one."""

    def __init__(self, data: TaskData) -> None:
        texts = data.catalog.texts
        self.vectors: FloatArray = item_vectors(data).numpy()
        self._words = frozenset(word for text in texts for word in words_of(text))
        drawn = Randomness(0, "serving/texts").numpy().permutation(len(texts))[:COMPARED]
        cosines = self.vectors[drawn] @ self.vectors.T
        cosines[np.arange(len(drawn)), drawn] = -1.0
        self._nearest = np.sort(cosines.max(axis=1))

    def nearest(self, vectors: FloatArray) -> list[Measured]:
        """The cosine of each of `vectors [K, 384]` to the nearest catalog text."""
        return [_measured(float(value), self._nearest) for value in (vectors @ self.vectors.T).max(axis=1)]

    def unknown_words(self, text: str) -> float:
        """The share of the words that no catalog text has."""
        words = words_of(text)
        return sum(word not in self._words for word in words) / len(words) if words else 0.0


def _rising(values: Iterable[float]) -> FloatArray:
    """`values` in rising order."""
    return np.sort(np.fromiter(values, dtype=np.float32))


def _measured(value: float, known: FloatArray) -> Measured:
    """`value` with the share of `known`, rising, that is not above it."""
    rounded = np.searchsorted(known, value + 1e-6, side="right")
    return Measured(value=value, quantile=float(rounded) / max(1, len(known)))

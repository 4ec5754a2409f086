"""Ranking quality of a record on the clean test impressions, with either list of candidates."""

from __future__ import annotations

import numpy as np

from recgauntlet.metrics.ranking import CatalogMetrics, RankingMetrics, Scores, catalog_metrics, ranking_metrics
from recgauntlet.records.columns import FloatColumn
from recgauntlet.records.schema import CatalogRanks, Clean


def scores_of(column: FloatColumn) -> Scores:
    """The scores `[N]` of a column. One that is not a number counts as the lowest."""
    return np.nan_to_num(column.to_float(), nan=-np.inf, posinf=np.inf, neginf=-np.inf)


def ranking_quality(clean: Clean, *, popular: bool = False) -> RankingMetrics:
    """The ranking metrics on the test impressions, or where `popular` on the same clicks among unclicked candidates
    drawn by popularity.

    Raises ValueError where `popular` and the record has no such candidates.
    """
    if not popular:
        labels, scores, sizes = clean.impression_labels, clean.impression_scores, clean.impression_sizes
    elif clean.popular is not None:
        labels, scores, sizes = clean.popular.labels, clean.popular.scores, clean.popular.sizes
    else:
        raise ValueError("the record has no candidates drawn by popularity")
    return ranking_metrics(labels.to_bool(), scores_of(scores), np.array(sizes), np.array(clean.impression_users))


def catalog_quality(places: CatalogRanks) -> CatalogMetrics:
    """The ranking metrics of clicks among all items that their users never took."""
    return catalog_metrics(np.array(places.above), np.array(places.tied))

"""Security curves, ablations, rankings under attack and exposure of a row.

A record may lack any of these (an older schema, or an attack that does not apply); a row has them where all of its
records do, for the same examples.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from recgauntlet.core.card import TIERS, Tier
from recgauntlet.core.types import BoolArray
from recgauntlet.leaderboard.decoded import DecodedRecord
from recgauntlet.leaderboard.schema import Ablation, AblationLine, CurvePoint, Promotion, Ranking
from recgauntlet.metrics.bootstrap import Estimate, Floats, crossed_means, estimates, resampled_means
from recgauntlet.metrics.ranking import Ranked, Scores, offsets_of, rank_biased_overlap, top_jaccard
from recgauntlet.records.columns import FloatColumn
from recgauntlet.records.ranking_quality import scores_of
from recgauntlet.records.schema import PromotionOutcome, RankingOutcome, RunRecord, ThreatOutcome

EXPOSURE_CUTOFFS = (10, 50)


def curve(records: Sequence[DecodedRecord], threat: str) -> tuple[CurvePoint, ...]:
    """The security curve under `threat`, the mean over the seeds whose records have one; empty where none has, or one
    has another."""
    found = [outcome for outcome in _under(records, threat) if outcome.curve]
    if not found or len({(t.subset, tuple((p.amount, p.characters, p.queries) for p in t.curve)) for t in found}) > 1:
        return ()
    budgets, subset = found[0].curve, found[0].subset
    if not subset:
        return ()
    layers = [np.stack([outcome.curve[n].robust.to_bool() for outcome in found]) for n in range(len(budgets))]
    return tuple(
        CurvePoint(budget.amount, budget.characters, budget.queries, accuracy)
        for budget, accuracy in zip(budgets, _accuracies(layers, subset), strict=True)
    )


def ablation(records: Sequence[DecodedRecord], threat: str) -> tuple[Ablation, ...]:
    """What each attack of the suite breaks by itself under `threat`, tier by tier; empty where a record has none, or
    another one. The whole suite is here the union of what its attacks break alone, without what lower tiers broke."""
    found = _under(records, threat)
    if not found or len({(t.subset, tuple((a.attack, a.tier) for a in t.alone)) for t in found}) > 1:
        return ()
    subset = found[0].subset
    if not subset:
        return ()
    correct = np.stack([record.correct[list(subset)] for record in records])
    tiers: list[Tier] = [tier for tier in TIERS if any(lone.tier == tier for lone in found[0].alone)]
    return tuple(_ablation_at(found, correct, tier) for tier in tiers)


def _ablation_at(found: Sequence[ThreatOutcome], correct: BoolArray, tier: Tier) -> Ablation:
    names = [lone.attack for lone in found[0].alone if lone.tier == tier]
    broken = np.stack([[lone.broken.to_bool() for lone in t.alone if lone.tier == tier] for t in found], axis=1)
    breakers = broken.sum(axis=0)  # [S, N]: how many attacks break each example
    whole = correct & (breakers == 0)
    alone = [correct & ~one for one in broken]
    without = [correct & (breakers - one == 0) for one in broken]
    clean, suite, *each = _accuracies([correct, whole, *alone, *without], found[0].subset)
    return Ablation(
        tier=tier,
        examples=correct.shape[1],
        clean=clean,
        whole=suite,
        attacks=tuple(
            AblationLine(name, each[n], each[len(names) + n], int((without[n] & ~whole).sum()))
            for n, name in enumerate(names)
        ),
    )


def _accuracies(layers: Sequence[BoolArray], subset: Sequence[int]) -> list[Estimate]:
    """The shares of correct examples in `layers [S, N]` of a `subset` of the test examples. Where it consists of whole
    pairs, a pair is resampled as one, as in every other interval of a row."""
    counts = np.unique(np.array(subset) // 2, return_counts=True)[1]
    outcomes = np.stack(layers, axis=2).astype(np.float64)
    if (counts == 2).all() and list(subset) == sorted(subset):
        outcomes = (outcomes[:, 0::2] + outcomes[:, 1::2]) / 2
    return estimates([float(layer.mean()) for layer in layers], resampled_means(outcomes))


def ranking(records: Sequence[DecodedRecord], threat: str) -> Ranking | None:
    """Rankings under `threat` before and after, means over impressions and seeds; None where a record has none, or
    others than the first."""
    found = [(record, outcome) for record in records for outcome in record.record.ranking if outcome.threat == threat]
    if len(found) != len(records) or len({outcome.impressions for _, outcome in found}) != 1:
        return None
    if not found[0][1].impressions:
        return None
    values = np.stack([_ranking_of(record, outcome) for record, outcome in found])
    means = [float(values[:, :, n].mean()) for n in range(values.shape[2])]
    return Ranking(values.shape[1], *estimates(means, resampled_means(values)))


def _ranking_of(record: DecodedRecord, outcome: RankingOutcome) -> Floats:
    """`[I, 6]`: nDCG@10 before and after, the target's rank before and after, overlap, Jaccard."""
    clean, chosen = record.ranked, np.array(outcome.impressions)
    starts = clean.offsets[chosen]
    offsets, targets = offsets_of(clean.sizes[chosen]), np.array(outcome.targets)
    rows = np.concatenate([np.arange(int(clean.offsets[n]), int(clean.offsets[n + 1])) for n in chosen.tolist()])
    attacked = Ranked.of(record.labels[rows], scores_of(outcome.scores), offsets)
    before, after = clean.places[rows], attacked.places
    return np.stack(
        [
            record.ndcg10[chosen],
            attacked.ndcg_each(10),
            clean.expected[starts + targets],
            attacked.expected[offsets[:-1] + targets],
            rank_biased_overlap(before, after, offsets),
            top_jaccard(before, after, offsets),
        ],
        axis=1,
    )


def promotion(records: Sequence[RunRecord], threat: str) -> Promotion | None:
    """Exposure under `threat` before and after, means over items, held-out users and seeds; None where a record has
    none."""
    found = [outcome for r in records for outcome in r.promotion if outcome.threat == threat]
    if not records or len(found) != len(records) or not all(outcome.before.n for outcome in found):
        return None
    if len({(len(outcome.items), outcome.users, outcome.competitors) for outcome in found}) > 1:
        return None
    among_all = None
    every = [(outcome.catalog_before, outcome.catalog_after) for outcome in found]
    ranks = [(before, after) for before, after in every if before is not None and after is not None]
    if len(ranks) == len(found):
        among_all = _promotion(found[0], 0, ranks)
    sampled = [(outcome.before, outcome.after) for outcome in found]
    return _promotion(found[0], found[0].competitors, sampled, among_all)


def _promotion(
    of: PromotionOutcome,
    competitors: int,
    ranks: Sequence[tuple[FloatColumn, FloatColumn]],
    among_all: Promotion | None = None,
) -> Promotion:
    """Exposure over seeds of `ranks [items x users]`, before and after."""
    items = len(of.items)
    exposed = [_exposed(*(part.to_float().reshape(items, -1) for part in pair)) for pair in ranks]
    means = np.mean([part.mean(axis=(0, 1)) for part in exposed], axis=0)
    first10, then10, first50, then50 = estimates(means.tolist(), crossed_means(exposed))
    users = exposed[0].shape[1]
    return Promotion(items, users, competitors, first10, then10, first50, then50, among_all)


def _exposed(before: Scores, after: Scores) -> Floats:
    """`[I, U, 4]`: whether an item is among a user's first 10 before and after, and among the first 50."""
    layers = [ranks <= k for k in EXPOSURE_CUTOFFS for ranks in (before, after)]
    return np.stack(layers, axis=2).astype(np.float64)


def _under(records: Sequence[DecodedRecord], threat: str) -> list[ThreatOutcome]:
    """The outcomes under `threat`, one a record; none where a record lacks it."""
    found = [outcome for record in records for outcome in record.record.threats if outcome.id == threat]
    return found if len(found) == len(records) else []

"""Security curves, ablations, rankings under attack and exposure of a row, computed from its records' facts.

A record may lack any of these (an older schema, or an attack that does not apply); a row has them where all of its
records do, for the same examples.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from recgauntlet import metrics
from recgauntlet.card import TIERS, Tier
from recgauntlet.data.tables import BoolArray, IntArray
from recgauntlet.ordering import Ordered
from recgauntlet.rank_lists import rank_biased_overlap, top_jaccard
from recgauntlet.record import PromotionOutcome, RankingOutcome, RunRecord, ThreatOutcome
from recgauntlet.rows import Ablation, AblationLine, CurvePoint, Promotion, Ranking
from recgauntlet.stats import Estimate, Floats, crossed_means, estimate, resampled_means

RANKS = (10, 50)
"""The cut-offs of exposure."""


def curve(records: Sequence[RunRecord], threat: str) -> tuple[CurvePoint, ...]:
    """The mean over seeds of the security curve under `threat`; empty where a record has none or another one."""
    found = _under(records, threat)
    if not found or len({(t.subset, tuple((p.amount, p.characters, p.queries) for p in t.curve)) for t in found}) > 1:
        return ()
    if not found[0].subset or not found[0].curve:
        return ()
    layers = [[outcome.curve[n].robust.to_bool() for outcome in found] for n in range(len(found[0].curve))]
    values = _estimates(layers, found[0].subset)
    return tuple(
        CurvePoint(point.amount, point.characters, point.queries, value)
        for point, value in zip(found[0].curve, values, strict=True)
    )


def ablation(records: Sequence[RunRecord], threat: str) -> tuple[Ablation, ...]:
    """What each attack of the suite breaks by itself under `threat`, tier by tier; empty where a record does not say.

    The whole suite is here the union of what its attacks break alone, without what lower tiers broke before.
    """
    found = _under(records, threat)
    if not found or len({(t.subset, tuple((a.attack, a.tier) for a in t.alone)) for t in found}) > 1:
        return ()
    if not found[0].subset:
        return ()
    return tuple(_ablation(records, found, tier) for tier in TIERS if any(lone.tier == tier for lone in found[0].alone))


def _ablation(records: Sequence[RunRecord], found: Sequence[ThreatOutcome], tier: Tier) -> Ablation:
    subset = np.array(found[0].subset, dtype=np.int64)
    right = np.stack([_right(record)[subset] for record in records])  # [S, N]
    names = [lone.attack for lone in found[0].alone if lone.tier == tier]
    broken = np.stack(
        [np.stack([lone.broken.to_bool() for lone in t.alone if lone.tier == tier]) for t in found], axis=1
    )  # [A, S, N]
    times = broken.sum(axis=0)
    whole = right & (times == 0)
    alone = right & ~broken
    without = right & (times - broken == 0)
    values = _estimates([right, whole, *alone, *without], found[0].subset)
    count = len(names)
    return Ablation(
        tier=tier,
        examples=len(subset),
        clean=values[0],
        whole=values[1],
        attacks=tuple(
            AblationLine(name, values[2 + n], values[2 + count + n], int((without[n] & ~whole).sum()))
            for n, name in enumerate(names)
        ),
    )


def ranking(records: Sequence[RunRecord], threat: str) -> Ranking | None:
    """Rankings under `threat` before and after, means over impressions and seeds; None where a record has none."""
    found = [outcome for r in records for outcome in r.ranking if outcome.threat == threat]
    if len(found) != len(records) or len({outcome.impressions for outcome in found}) != 1:
        return None
    if not found[0].impressions:
        return None
    each = np.stack([_ranked(record, outcome) for record, outcome in zip(records, found, strict=True)])
    drawn = resampled_means(each)
    values = [estimate(float(each[:, :, n].mean()), drawn[:, n]) for n in range(each.shape[2])]
    return Ranking(len(found[0].impressions), *values)


def _ranked(record: RunRecord, outcome: RankingOutcome) -> Floats:
    """`[I, 6]`: nDCG@10 before and after, the target's rank before and after, overlap, Jaccard."""
    assert record.clean is not None  # check_record refuses a finished record without clean results
    sizes = np.array(record.clean.impression_sizes, dtype=np.int64)
    chosen = np.array(outcome.impressions, dtype=np.int64)
    rows = _rows(metrics.offsets_of(sizes), chosen)
    offsets = metrics.offsets_of(sizes[chosen])
    labels = record.clean.impression_labels.to_bool()[rows]
    before, after = (
        np.nan_to_num(scores, nan=-np.inf)
        for scores in (record.clean.impression_scores.to_float()[rows], outcome.scores.to_float())
    )
    targets = offsets[:-1] + np.array(outcome.targets, dtype=np.int64)
    first, second = Ordered.of(before, offsets), Ordered.of(after, offsets)
    found: Floats = np.stack(
        [
            metrics.Ranked.of(labels, before, offsets, first).ndcg_each(10),
            metrics.Ranked.of(labels, after, offsets, second).ndcg_each(10),
            first.expected_ranks[targets],
            second.expected_ranks[targets],
            rank_biased_overlap(first, second),
            top_jaccard(first, second),
        ],
        axis=1,
    )
    return found


def promotion(records: Sequence[RunRecord], threat: str) -> Promotion | None:
    """Exposure under `threat` before and after, means over items, held-out users and seeds; None where a record has
    none."""
    found = [outcome for r in records for outcome in r.promotion if outcome.threat == threat]
    if not records or len(found) != len(records) or not all(outcome.before.n for outcome in found):
        return None
    if len({(len(outcome.items), outcome.users, outcome.competitors) for outcome in found}) > 1:
        return None
    shown = [_shown(outcome) for outcome in found]
    drawn = crossed_means(shown)
    means = np.mean([part.mean(axis=(0, 1)) for part in shown], axis=0)
    values = [estimate(float(mean), drawn[:, n]) for n, mean in enumerate(means)]
    return Promotion(len(found[0].items), found[0].users, found[0].competitors, *values)


def _shown(outcome: PromotionOutcome) -> Floats:
    """`[I, U, 4]`: whether an item stands among a user's first 10 before and after, and among the first 50."""
    before, after = (part.to_float().reshape(len(outcome.items), -1) for part in (outcome.before, outcome.after))
    layers = [ranks <= k for k in RANKS for ranks in (before, after)]
    return np.stack(layers, axis=2).astype(np.float64)


def _under(records: Sequence[RunRecord], threat: str) -> list[ThreatOutcome]:
    """The outcomes under `threat`, one a record; none where a record lacks it."""
    found = [outcome for record in records for outcome in record.threats if outcome.id == threat]
    return found if len(found) == len(records) else []


def _right(record: RunRecord) -> BoolArray:
    assert record.clean is not None  # check_record refuses a finished record without clean results
    return metrics.correct(record.clean.labels.to_bool(), record.clean.scores.to_float())


def _estimates(layers: Sequence[Sequence[BoolArray] | BoolArray], subset: Sequence[int]) -> list[Estimate]:
    """The mean and interval of each of M layers, `[S, N]` each, over the examples of `subset [N]`, all resampled
    together.

    Where whole pairs are in the subset, a pair is resampled as one, as in every other interval of a row.
    """
    values = np.stack([np.stack(list(layer)) for layer in layers], axis=2).astype(np.float64)  # [S, N, M]
    pairs, sizes = np.unique(np.array(subset) // 2, return_counts=True)
    if (sizes == 2).all() and list(subset) == sorted(subset):
        values = values.reshape(len(values), len(pairs), 2, -1).mean(axis=2)
    drawn = resampled_means(values)
    return [estimate(float(values[:, :, n].mean()), drawn[:, n]) for n in range(values.shape[2])]


def _rows(offsets: IntArray, chosen: IntArray) -> IntArray:
    """Where the candidates of the impressions `chosen` stand, impression after impression."""
    return np.concatenate([np.arange(int(offsets[number]), int(offsets[number + 1])) for number in chosen])

"""Security curves, ablations, rankings under attack and exposure of a row, computed from its records' facts.

A record may lack any of these (an older schema, or an attack that does not apply); a row has them where all of its
records do, for the same examples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from recgauntlet.core.card import TIERS, Tier
from recgauntlet.core.types import IntArray
from recgauntlet.leaderboard.decoded import Unfolded
from recgauntlet.leaderboard.schema import Ablation, AblationLine, CurvePoint, Promotion, Ranking
from recgauntlet.metrics import ranking as metrics
from recgauntlet.metrics.bootstrap import Floats, Resampled, crossed_means, resampled
from recgauntlet.metrics.example_sets import to_set
from recgauntlet.metrics.layers import Layer, Layers
from recgauntlet.metrics.ordering import Codes, Impressions, chosen_of
from recgauntlet.metrics.rank_lists import rank_biased_overlap, top_jaccard
from recgauntlet.records.schema import CurvePoint as Budget
from recgauntlet.records.schema import PromotionOutcome, RankingOutcome, RunRecord, ThreatOutcome

RANKS = (10, 50)
"""The cut-offs of exposure."""


@dataclass(frozen=True)
class OnSubset:
    """What a row has on the subset of examples under one threat: the security curve, which is a mean over seeds, and
    what each attack of the suite breaks by itself, tier by tier. Empty where a record has none, or another one."""

    curve: tuple[CurvePoint, ...] = ()
    ablation: tuple[Ablation, ...] = ()


def on_subsets(records: Sequence[Unfolded], threats: Sequence[str]) -> dict[str, OnSubset]:
    """Security curves and ablations under each of `threats`. Layers over as many examples are resampled as one, because
    each by itself is so short that numpy takes longer to begin."""
    curves = {threat: _curve(records, threat) for threat in threats}
    ablations = {threat: _ablation(records, threat) for threat in threats}
    layers: dict[_Drawn, list[Layer]] = {}
    for one in (*curves.values(), *ablations.values()):
        if one is not None:
            layers.setdefault(one.drawn, []).extend(one.layers)
    together = {drawn: Layers(some, drawn.count, paired=drawn.paired) for drawn, some in layers.items()}
    return {
        threat: OnSubset(
            () if (curve := curves[threat]) is None else curve.told(together[curve.drawn]),
            () if (ablation := ablations[threat]) is None else ablation.told(together[ablation.drawn]),
        )
        for threat in threats
    }


@dataclass(frozen=True)
class _Drawn:
    """How the examples of a subset are resampled: how many there are, and whether each two are one."""

    count: int
    paired: bool

    @classmethod
    def of(cls, subset: Sequence[int]) -> _Drawn:
        """Where whole pairs are in the subset, a pair is resampled as one, as in every other interval of a row."""
        counts = np.unique(np.array(subset) // 2, return_counts=True)[1]
        return cls(len(subset), bool((counts == 2).all()) and list(subset) == sorted(subset))


@dataclass(frozen=True)
class _Curve:
    """The budgets of a security curve, and what stands at each."""

    drawn: _Drawn
    budgets: tuple[Budget, ...]
    layers: tuple[Layer, ...]

    def told(self, together: Layers) -> tuple[CurvePoint, ...]:
        return tuple(
            CurvePoint(budget.amount, budget.characters, budget.queries, together.estimate(layer))
            for budget, layer in zip(self.budgets, self.layers, strict=True)
        )


def _curve(records: Sequence[Unfolded], threat: str) -> _Curve | None:
    found = _under(records, threat)
    if not found or len({(t.subset, tuple((p.amount, p.characters, p.queries) for p in t.curve)) for t in found}) > 1:
        return None
    if not found[0].subset or not found[0].curve:
        return None
    layers = tuple(
        tuple(record.examples(outcome.curve[n].robust) for record, outcome in zip(records, found, strict=True))
        for n in range(len(found[0].curve))
    )
    return _Curve(_Drawn.of(found[0].subset), found[0].curve, layers)


@dataclass(frozen=True)
class _Ablation:
    """What is right on the clean input, and what stands in the suites of the tiers."""

    drawn: _Drawn
    right: Layer
    suites: tuple[_Suite, ...]

    @property
    def layers(self) -> tuple[Layer, ...]:
        return (self.right, *(one for suite in self.suites for one in (suite.whole, *suite.alone, *suite.without)))

    def told(self, together: Layers) -> tuple[Ablation, ...]:
        return tuple(
            Ablation(
                tier=suite.tier,
                examples=self.drawn.count,
                clean=together.estimate(self.right),
                whole=together.estimate(suite.whole),
                attacks=tuple(
                    AblationLine(
                        name,
                        together.estimate(alone),
                        together.estimate(without),
                        sum((more & ~left).bit_count() for more, left in zip(without, suite.whole, strict=True)),
                    )
                    for name, alone, without in zip(suite.names, suite.alone, suite.without, strict=True)
                ),
            )
            for suite in self.suites
        )


def _ablation(records: Sequence[Unfolded], threat: str) -> _Ablation | None:
    """The whole suite is here the union of what its attacks break alone, without what lower tiers broke before."""
    found = _under(records, threat)
    if not found or len({(t.subset, tuple((a.attack, a.tier) for a in t.alone)) for t in found}) > 1:
        return None
    if not found[0].subset:
        return None
    subset = list(found[0].subset)
    right = tuple(to_set(record.right[subset]) for record in records)
    tiers: list[Tier] = [tier for tier in TIERS if any(lone.tier == tier for lone in found[0].alone)]
    return _Ablation(_Drawn.of(subset), right, tuple(_suite(records, found, right, tier) for tier in tiers))


@dataclass(frozen=True)
class _Suite:
    """What is right under all attacks of a tier, and for each under it alone and under all others."""

    tier: Tier
    names: tuple[str, ...]
    whole: Layer
    alone: tuple[Layer, ...]
    without: tuple[Layer, ...]


def _suite(records: Sequence[Unfolded], found: Sequence[ThreatOutcome], right: Layer, tier: Tier) -> _Suite:
    names = tuple(lone.attack for lone in found[0].alone if lone.tier == tier)
    whole: list[int] = []
    alone: list[list[int]] = []
    without: list[list[int]] = []
    for record, outcome, standing in zip(records, found, right, strict=True):
        broken = [record.examples(lone.broken) for lone in outcome.alone if lone.tier == tier]
        once = more = 0
        for one in broken:
            more |= once & one
            once |= one
        whole.append(standing & ~once)
        alone.append([standing & ~one for one in broken])
        # Right under all others: broken by nothing, or by this one and by no other.
        without.append([standing & ~(once & ~one | more) for one in broken])
    return _Suite(tier, names, tuple(whole), tuple(zip(*alone, strict=True)), tuple(zip(*without, strict=True)))


def rankings(records: Sequence[Unfolded], threats: Sequence[str]) -> dict[str, Ranking]:
    """Rankings under each of `threats` before and after, means over impressions and seeds. A threat is left out where a
    record has none, or others than the first."""
    found = {threat: under for threat in threats if (under := _rankings_under(records, threat))}
    each = iter(_ranked([one for under in found.values() for one in under]))
    made: dict[str, Ranking] = {}
    for threat, under in found.items():
        values = np.stack([next(each) for _ in under])
        means = [float(values[:, :, n].mean()) for n in range(values.shape[2])]
        made[threat] = Ranking(values.shape[1], *resampled(values).estimates(means))
    return made


def _rankings_under(records: Sequence[Unfolded], threat: str) -> list[tuple[Unfolded, RankingOutcome]]:
    """Each record with its rankings under `threat`; none of them where they are not of the same impressions."""
    found = [(record, outcome) for record in records for outcome in record.record.ranking if outcome.threat == threat]
    alike = len(found) == len(records) and len({outcome.impressions for _, outcome in found}) == 1
    return found if alike and found[0][1].impressions else []


def _ranked(found: Sequence[tuple[Unfolded, RankingOutcome]]) -> list[Floats]:
    """`[I, 6]` for each: nDCG@10 before and after, the target's rank before and after, overlap, Jaccard.

    All are measured as one sequence of impressions: each by itself is so short that numpy takes longer to begin.
    """
    if not found:
        return []
    parts = [chosen_of(record.clean.impression_sizes, outcome.impressions) for record, outcome in found]
    whole = Impressions(metrics.offsets_of(np.concatenate([part.sizes for _, part in parts])))
    firsts, ends = whole.offsets[:-1], np.cumsum([len(part.sizes) for _, part in parts])
    codes = Codes.of_halves(np.concatenate([record.columns.halves(outcome.scores) for record, outcome in found]))
    shown = np.concatenate([record.shown[rows] for (record, _), (rows, _) in zip(found, parts, strict=True)])
    attacked = metrics.Ranked.of(shown, codes, whole)
    after = attacked.ordered.places
    before = np.concatenate([r.ranked.ordered.places[rows] for (r, _), (rows, _) in zip(found, parts, strict=True)])
    targets = firsts + np.concatenate([np.array(outcome.targets, dtype=np.int64) for _, outcome in found])
    places = np.split(before[targets], ends[:-1])
    measured = np.stack(
        [
            np.concatenate([record.ndcg10_each[list(outcome.impressions)] for record, outcome in found]),
            attacked.ndcg_each(10),
            np.concatenate(
                [_clean_ranks(record, outcome, at) for (record, outcome), at in zip(found, places, strict=True)]
            ),
            attacked.ordered.expected_ranks(firsts + after[targets] - 1),
            rank_biased_overlap(before, after, whole.offsets),
            top_jaccard(before, after, whole.offsets),
        ],
        axis=1,
    )
    return np.split(measured, ends[:-1])


def _clean_ranks(record: Unfolded, outcome: RankingOutcome, places: IntArray) -> Floats:
    """`[I]`: the clean ranks of the targets, which stand at these `places [I]` of their impressions."""
    starts = record.ranked.impressions.offsets[list(outcome.impressions)]
    return record.ranked.ordered.expected_ranks(starts + places - 1)


def promotion(records: Sequence[RunRecord], threat: str) -> Promotion | None:
    """Exposure under `threat` before and after, means over items, held-out users and seeds; None where a record has
    none."""
    found = [outcome for r in records for outcome in r.promotion if outcome.threat == threat]
    if not records or len(found) != len(records) or not all(outcome.before.n for outcome in found):
        return None
    if len({(len(outcome.items), outcome.users, outcome.competitors) for outcome in found}) > 1:
        return None
    shown = [_shown(outcome) for outcome in found]
    means = np.mean([part.mean(axis=(0, 1)) for part in shown], axis=0)
    values = Resampled(crossed_means(shown), 1).estimates(means.tolist())
    return Promotion(len(found[0].items), found[0].users, found[0].competitors, *values)


def _shown(outcome: PromotionOutcome) -> Floats:
    """`[I, U, 4]`: whether an item stands among a user's first 10 before and after, and among the first 50."""
    before, after = (part.to_float().reshape(len(outcome.items), -1) for part in (outcome.before, outcome.after))
    layers = [ranks <= k for k in RANKS for ranks in (before, after)]
    return np.stack(layers, axis=2).astype(np.float64)


def _under(records: Sequence[Unfolded], threat: str) -> list[ThreatOutcome]:
    """The outcomes under `threat`, one a record; none where a record lacks it."""
    found = [outcome for record in records for outcome in record.record.threats if outcome.id == threat]
    return found if len(found) == len(records) else []

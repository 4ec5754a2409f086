"""A row's numbers, computed from the per-example outcomes and the costs of its records, one record a seed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from recgauntlet.core.card import TIERS, Tier
from recgauntlet.core.types import BoolArray
from recgauntlet.leaderboard import aggregate_extras as further
from recgauntlet.leaderboard.decoded import Unfolded
from recgauntlet.leaderboard.schema import AttackTally, Cell, Cost, Quality, ThreatCells, ThreatColumn
from recgauntlet.metrics import ranking as metrics
from recgauntlet.metrics.bootstrap import Estimate, Floats
from recgauntlet.metrics.example_sets import to_set
from recgauntlet.metrics.layers import Layer, Layers
from recgauntlet.records.schema import AttackOutcome, RunRecord, TierOutcome


def outcomes(
    records: Sequence[Unfolded], columns: Sequence[ThreatColumn]
) -> tuple[Estimate, tuple[float, ...], tuple[ThreatCells, ...]]:
    """Clean accuracy over all records and of each, and the cells under each threat of `columns`.

    The unit that the bootstrap resamples is a pair (one clicked and one unclicked candidate shown to one
    user): its two examples are not independent. All quantities of a row are resampled together, so that the
    interval of a retained share knows that robust and clean accuracy go together.
    """
    clean = tuple(to_set(record.right) for record in records)
    found: list[tuple[str, Tier, list[TierOutcome], Layer]] = []
    proved: dict[tuple[str, Tier], Layer] = {}
    for column in columns:
        for tier in TIERS:
            under = [outcome for r in records if (outcome := r.tier(column.id, tier)) is not None]
            if len(under) < len(records):
                continue
            layer = tuple(r.examples(outcome.robust) for r, outcome in zip(records, under, strict=True))
            found.append((column.id, tier, under, layer))
            certified = tuple(one for record in records if (one := record.proved(column.id, tier)) is not None)
            if len(certified) == len(records):
                proved[column.id, tier] = certified
    layers = Layers([clean, *(layer for *_, layer in found), *proved.values()], len(records[0].right))
    retained = layers.shares_of(clean, [layer for *_, layer in found])
    threats = [column.id for column in columns]
    rankings = further.rankings(records, threats)
    on_subsets = further.on_subsets(records, threats)
    cells: dict[str, list[Cell]] = {column.id: [] for column in columns}
    for threat, tier, under, layer in found:
        certificate = proved.get((threat, tier))
        cells[threat].append(
            Cell(
                tier,
                layers.estimate(layer),
                retained[layer],
                _tallies(records, under),
                None if certificate is None else layers.estimate(certificate),
                layers.by_seed(layer),
            )
        )
    return (
        layers.estimate(clean),
        layers.by_seed(clean),
        tuple(
            ThreatCells(
                column.id,
                _applicable(records, column.id),
                tuple(cells[column.id]),
                on_subsets[column.id].curve,
                on_subsets[column.id].ablation,
                rankings.get(column.id),
                further.promotion([record.record for record in records], column.id),
            )
            for column in columns
        ),
    )


def quality(records: Sequence[Unfolded]) -> Quality:
    """Ranking metrics on the clean impressions, the mean over seeds."""
    found = np.array([_quality_of(record) for record in records]).mean(axis=0)
    return Quality(*found.tolist())


def _quality_of(record: Unfolded) -> tuple[float, ...]:
    return (
        metrics.auc(record.shown, record.codes),
        metrics.gauc(record.shown, record.codes, record.users),
        record.ranked.auc(),
        record.ranked.mrr(),
        float(record.ranked.ndcg_each(5).mean()),
        float(record.ndcg10_each.mean()),
    )


def cost(records: Sequence[RunRecord]) -> Cost:
    """What training, inference and the evaluation took, the mean over seeds."""
    costs = [record.cost for record in records if record.cost is not None]
    return Cost(
        training_seconds=_mean([c.seconds for c in costs]),
        seconds_ratio=_mean_ratio([c.seconds_ratio for c in costs]),
        training_flops=_mean([c.flops for c in costs]),
        flops_ratio=_mean_ratio([c.flops_ratio for c in costs]),
        forwards=_mean([c.forwards for c in costs]),
        backwards=_mean([c.backwards for c in costs]),
        peak_memory_bytes=_mean([c.peak_memory_bytes for c in costs]),
        parameters=max(c.parameters for c in costs),
        inference_ms_per_1000=_mean([c.inference_ms_per_1000 for c in costs]),
        attack_seconds=_mean(
            [
                _total(a.effort.seconds for threat in r.threats for tier in threat.tiers for a in tier.attacks)
                for r in records
            ]
        ),
    )


def _tallies(records: Sequence[Unfolded], outcomes: Sequence[TierOutcome]) -> tuple[AttackTally, ...]:
    """Sums over seeds, in the order in which the attacks ran."""
    runs: dict[str, list[tuple[Unfolded, AttackOutcome]]] = {}
    for record, outcome in zip(records, outcomes, strict=True):
        for attack in outcome.attacks:
            runs.setdefault(attack.name, []).append((record, attack))
    return tuple(_tally(name, found) for name, found in runs.items())


def _tally(name: str, runs: Sequence[tuple[Unfolded, AttackOutcome]]) -> AttackTally:
    attacked = broken = violations = forwards = backwards = 0
    for record, run in runs:
        attacked += record.examples(run.attacked).bit_count()
        broken += record.examples(run.broken).bit_count()
        violations += run.violations
        forwards += run.effort.forwards
        backwards += run.effort.backwards
    seconds = _total(run.effort.seconds for _, run in runs)
    return AttackTally(name, attacked, broken, violations, forwards, backwards, seconds)


def _applicable(records: Sequence[Unfolded], threat: str) -> bool:
    return any(t.applicable for record in records for t in record.record.threats if t.id == threat)


def pair_means(right: BoolArray) -> Floats:
    """`[P]`: the mean outcome of the two examples of each pair, from `right [2 P]`."""
    means: Floats = right.reshape(-1, 2).mean(axis=1)
    return means


def _total(values: Iterable[float]) -> float:
    """The sum from left to right. The built-in `sum` rounds in another way from Python 3.12 on."""
    total = 0.0
    for value in values:
        total += value
    return total


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values))


def _mean_ratio(values: Sequence[float | None]) -> float | None:
    """The geometric mean, as becomes ratios; None where any is (the undefended twin itself)."""
    known = [value for value in values if value is not None]
    if len(known) < len(values) or min(known) <= 0:
        return None
    return float(np.exp(np.mean(np.log(known))))

"""A row's numbers, computed from the per-example outcomes and the costs of its records, one record a seed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from recgauntlet import aggregate_further as further
from recgauntlet import metrics
from recgauntlet.card import TIERS, Tier
from recgauntlet.data.tables import BoolArray
from recgauntlet.record import AttackOutcome, Clean, RunRecord, TierOutcome
from recgauntlet.rows import AttackTally, Cell, Cost, Quality, ThreatCells, ThreatColumn
from recgauntlet.stats import Estimate, Floats, estimate, resampled_means


def outcomes(
    records: Sequence[RunRecord], columns: Sequence[ThreatColumn]
) -> tuple[Estimate, tuple[float, ...], tuple[ThreatCells, ...]]:
    """Clean accuracy over all records and of each, and the cells under each threat of `columns`.

    The unit that the bootstrap resamples is a pair (one clicked and one unclicked candidate shown to one
    user): its two examples are not independent. All quantities of a row are resampled together, so that the
    interval of a retained share knows that robust and clean accuracy go together.
    """
    clean = _stack([metrics.correct(c.labels.to_bool(), c.scores.to_float()) for c in map(_clean, records)])
    found: list[tuple[str, Tier, list[TierOutcome]]] = []
    for column in columns:
        for tier in TIERS:
            under = [outcome for r in records if (outcome := _tier(r, column.id, tier)) is not None]
            if len(under) == len(records):
                found.append((column.id, tier, under))
    layers = [clean, *(_stack([outcome.robust.to_bool() for outcome in under]) for _, _, under in found)]
    proved: dict[tuple[str, Tier], int] = {}
    for threat, tier, _ in found:
        bits = [one for record in records if (one := record.proved(threat, tier)) is not None]
        if len(bits) == len(records):
            proved[threat, tier] = len(layers)
            layers.append(_stack(bits))
    drawn = resampled_means(np.stack(layers, axis=2))
    means = [float(layer.mean()) for layer in layers]
    cells: dict[str, list[Cell]] = {column.id: [] for column in columns}
    for number, (threat, tier, under) in enumerate(found, start=1):
        place = proved.get((threat, tier))
        cells[threat].append(
            Cell(
                tier,
                estimate(means[number], drawn[:, number]),
                estimate(_share(means[number], means[0]), _shares(drawn[:, number], drawn[:, 0])),
                _tallies(under),
                None if place is None else estimate(means[place], drawn[:, place]),
                _by_seed(layers[number]),
            )
        )
    return (
        estimate(means[0], drawn[:, 0]),
        _by_seed(clean),
        tuple(
            ThreatCells(
                column.id,
                _applicable(records, column.id),
                tuple(cells[column.id]),
                further.curve(records, column.id),
                further.ablation(records, column.id),
                further.ranking(records, column.id),
                further.promotion(records, column.id),
            )
            for column in columns
        ),
    )


def quality(records: Sequence[RunRecord]) -> Quality:
    """Ranking metrics on the clean impressions, the mean over seeds."""
    found = np.array([_quality_of(_clean(record)) for record in records]).mean(axis=0)
    return Quality(*found.tolist())


def _quality_of(clean: Clean) -> tuple[float, ...]:
    labels = clean.impression_labels.to_bool()
    # A score that is no number ranks last, together with all others of its kind.
    scores = np.nan_to_num(clean.impression_scores.to_float(), nan=-np.inf)
    sizes = np.array(clean.impression_sizes, dtype=np.int64)
    offsets = metrics.offsets_of(sizes)
    users = np.repeat(np.array(clean.impression_users, dtype=np.int64), sizes)
    ranked = metrics.Ranked.of(labels, scores, offsets)
    return (
        metrics.auc(labels, scores),
        metrics.gauc(labels, scores, users),
        ranked.auc(),
        ranked.mrr(),
        ranked.ndcg(5),
        ranked.ndcg(10),
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
                sum(attack.effort.seconds for threat in r.threats for tier in threat.tiers for attack in tier.attacks)
                for r in records
            ]
        ),
    )


def _tallies(outcomes: Sequence[TierOutcome]) -> tuple[AttackTally, ...]:
    """Sums over seeds, in the order in which the attacks ran."""
    runs: dict[str, list[AttackOutcome]] = {}
    for outcome in outcomes:
        for attack in outcome.attacks:
            runs.setdefault(attack.name, []).append(attack)
    return tuple(
        AttackTally(
            name,
            sum(int(run.attacked.to_bool().sum()) for run in found),
            sum(int(run.broken.to_bool().sum()) for run in found),
            sum(run.violations for run in found),
            sum(run.effort.forwards for run in found),
            sum(run.effort.backwards for run in found),
            sum(run.effort.seconds for run in found),
        )
        for name, found in runs.items()
    )


def _tier(record: RunRecord, threat: str, tier: Tier) -> TierOutcome | None:
    return next(
        (outcome for t in record.threats if t.id == threat for outcome in t.tiers if outcome.tier == tier),
        None,
    )


def _applicable(records: Sequence[RunRecord], threat: str) -> bool:
    return any(t.applicable for record in records for t in record.threats if t.id == threat)


def pair_means(right: BoolArray) -> Floats:
    """`[P]`: the mean outcome of the two examples of each pair, from `right [2 P]`."""
    means: Floats = right.reshape(-1, 2).mean(axis=1)
    return means


def _stack(right: Sequence[BoolArray]) -> Floats:
    """`[S, P]`: the mean outcomes of pairs, from one `[2 P]` a seed."""
    return np.stack([pair_means(part) for part in right])


def _by_seed(layer: Floats) -> tuple[float, ...]:
    """The mean of each seed, from `layer [S, P]`."""
    return tuple(layer.mean(axis=1).tolist())


def _share(part: float, whole: float) -> float:
    return part / whole if whole > 0 else 0.0


def _shares(part: Floats, whole: Floats) -> Floats:
    shares: Floats = np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)
    return shares


def _clean(record: RunRecord) -> Clean:
    if record.clean is None:
        raise ValueError("a record without clean results has no numbers; check_record refuses such records")
    return record.clean


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values))


def _mean_ratio(values: Sequence[float | None]) -> float | None:
    """The geometric mean, as becomes ratios; None where any is (the undefended twin itself)."""
    known = [value for value in values if value is not None]
    if len(known) < len(values) or min(known) <= 0:
        return None
    return float(np.exp(np.mean(np.log(known))))

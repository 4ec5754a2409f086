"""A row's numbers, computed from the per-example outcomes and the costs of its records, one record a seed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from recgauntlet.core.card import TIERS, Goal, Tier
from recgauntlet.core.errors import RecordError
from recgauntlet.core.types import BoolArray
from recgauntlet.leaderboard import aggregate_extras as extras
from recgauntlet.leaderboard.decoded import DecodedRecord
from recgauntlet.leaderboard.naturalness import natural_edits
from recgauntlet.leaderboard.schema import AttackTally, Cell, Cost, Quality, ThreatCells, ThreatColumn
from recgauntlet.metrics import ranking as metrics
from recgauntlet.metrics.bootstrap import Estimate, Floats, estimates, resampled_means
from recgauntlet.records.ranking_quality import catalog_quality, ranking_quality
from recgauntlet.records.schema import AttackOutcome, RunRecord, TierOutcome, robust_accuracy


def outcomes(
    records: Sequence[DecodedRecord], columns: Sequence[ThreatColumn]
) -> tuple[Estimate, tuple[float, ...], tuple[ThreatCells, ...]]:
    """Clean accuracy over all records and of each, and the cells under each threat of `columns`.

    The unit that the bootstrap resamples is a pair (one clicked and one unclicked candidate shown to one
    user): its two examples are not independent. All quantities of a row are resampled together, so that the
    interval of a retained share includes the correlation of robust and clean accuracy.
    """
    attacked: dict[tuple[str, Tier], list[TierOutcome]] = {}
    certified: dict[tuple[str, Tier], BoolArray] = {}
    for column in columns:
        for tier in TIERS:
            found = [outcome for r in records if (outcome := r.record.tier(column.id, tier)) is not None]
            if len(found) < len(records):
                continue
            attacked[column.id, tier] = found
            proved = [bits for r in records if (bits := r.record.proved(column.id, tier)) is not None]
            if len(proved) == len(records):
                certified[column.id, tier] = np.stack(proved)
    clean = np.stack([record.correct for record in records])
    robust = {key: np.stack([outcome.robust.to_bool() for outcome in found]) for key, found in attacked.items()}
    layers = [clean, *robust.values(), *certified.values()]
    means = resampled_means(np.stack([pair_means(layer) for layer in layers], axis=2))
    accuracies = estimates([float(layer.mean()) for layer in layers], means)
    of_robust = dict(zip(robust, accuracies[1:], strict=False))
    of_certified = dict(zip(certified, accuracies[1 + len(robust) :], strict=True))
    shares = means[:, 1 : 1 + len(robust)]
    shares = np.divide(shares, means[:, :1], out=np.zeros_like(shares), where=means[:, :1] > 0)
    values = [float(layer.mean() / clean.mean()) if clean.any() else 0.0 for layer in robust.values()]
    retained = dict(zip(robust, estimates(values, shares), strict=True))
    successes = _attack_successes(records, robust, {column.id: column.goal for column in columns})
    cells: dict[str, list[Cell]] = {column.id: [] for column in columns}
    for (threat, tier), found in attacked.items():
        key = threat, tier
        by_seed = tuple(robust_accuracy(outcome) for outcome in found)
        cell = Cell(
            tier, of_robust[key], retained[key], _tallies(found), of_certified.get(key), by_seed, successes[key]
        )
        cells[threat].append(cell)
    return (
        accuracies[0],
        tuple(clean.mean(axis=1).tolist()),
        tuple(
            ThreatCells(
                column.id,
                _is_applicable(records, column.id),
                tuple(cells[column.id]),
                extras.curve(records, column.id),
                extras.ablation(records, column.id),
                extras.ranking(records, column.id),
                extras.promotion([record.record for record in records], column.id),
                natural_edits([record.record for record in records], column.id),
            )
            for column in columns
        ),
    )


def _is_applicable(records: Sequence[DecodedRecord], threat: str) -> bool:
    """Whether the model reads what the threat changes; also where no record knows the threat: then it was not run."""
    found = [t.applicable for record in records for t in record.record.threats if t.id == threat]
    return any(found) or not found


def _attack_successes(
    records: Sequence[DecodedRecord], robust: Mapping[tuple[str, Tier], BoolArray], goals: Mapping[str, Goal]
) -> dict[tuple[str, Tier], Estimate | None]:
    """`metrics.ranking.attack_success` under each threat and tier, with the draws of the row's other intervals; None
    where nothing attackable was right."""
    open_to = {goal: np.stack([record.attackable(goal) for record in records]) for goal in set(goals.values())}
    found: dict[tuple[str, Tier], Estimate | None] = {}
    for key, bits in robust.items():
        attackable = open_to[goals[key[0]]]
        shares = np.stack([pair_means(attackable), pair_means(attackable & bits)], axis=2)
        before, after = shares.mean(axis=(0, 1))
        draws = resampled_means(shares)
        (success,) = estimates(
            [float(metrics.attack_success(before[None], after[None])[0])],
            metrics.attack_success(draws[:, 0], draws[:, 1])[:, None],
        )
        found[key] = success if before > 0 else None
    return found


def among_all_items(records: Sequence[DecodedRecord]) -> metrics.CatalogMetrics | None:
    """Ranking metrics among all items, the mean over seeds; None where a record has none."""
    found = [record.clean.catalog for record in records]
    if any(places is None for places in found):
        return None
    each = [catalog_quality(places) for places in found if places is not None]
    return metrics.CatalogMetrics(*np.array(each).mean(axis=0).tolist())


def quality(records: Sequence[DecodedRecord], *, popular: bool = False) -> Quality:
    """Ranking metrics on the clean impressions, the mean over seeds: as `recgauntlet.records.ranking_quality`."""
    found = [ranking_quality(record.clean, popular=popular) for record in records]
    return Quality(*np.array(found).mean(axis=0).tolist())


def cost(records: Sequence[RunRecord]) -> Cost:
    """What training, inference and the evaluation took, the mean over seeds.

    Raises
    ------
    RecordError
        Where no record states what training took: `recgauntlet.evaluate` of a model object knows nothing of it.
    """
    costs = [record.cost for record in records if record.cost is not None]
    if not costs:
        first = records[0]
        raise RecordError(
            f"{first.task.id}, {first.model.name}, {first.defense.name}: its records do not say what training took",
            field="cost",
            remedy="leave these records out; `recgauntlet run` and `recgauntlet attack` state the cost of training",
        )
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


def _tallies(outcomes: Sequence[TierOutcome]) -> tuple[AttackTally, ...]:
    """Sums over seeds, in the order in which the attacks ran."""
    runs: dict[str, list[AttackOutcome]] = {}
    for outcome in outcomes:
        for attack in outcome.attacks:
            runs.setdefault(attack.name, []).append(attack)
    return tuple(
        AttackTally(
            name,
            attacked=sum(int(run.attacked.to_bool().sum()) for run in found),
            broken=sum(int(run.broken.to_bool().sum()) for run in found),
            violations=sum(run.violations for run in found),
            forwards=sum(run.effort.forwards for run in found),
            backwards=sum(run.effort.backwards for run in found),
            seconds=_total(run.effort.seconds for run in found),
        )
        for name, found in runs.items()
    )


def pair_means(right: BoolArray) -> Floats:
    """`[..., P]`: the mean outcome of the two examples of each pair, from `right [..., 2 P]`."""
    means: Floats = right.reshape(*right.shape[:-1], -1, 2).mean(axis=-1)
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

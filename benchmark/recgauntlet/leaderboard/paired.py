"""Rows beside each other: on the seeds and test pairs that they share, by one paired test, for ranks, comparisons,
stars and differences.

The test is the bootstrap of the board's intervals, applied to differences: every draw takes the same test pairs and the
same seeds for all rows. A row is better than another where it is better in at least 97.5 % of the draws.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np

from recgauntlet.core.card import RANKING_TIER, TIERS, Tier
from recgauntlet.core.names import shown
from recgauntlet.core.spec import TWIN
from recgauntlet.core.types import BoolArray
from recgauntlet.leaderboard.aggregate import pair_means
from recgauntlet.leaderboard.flags import MIN_SEEDS
from recgauntlet.leaderboard.schema import Row, TaskTable
from recgauntlet.metrics import ranking as metrics
from recgauntlet.metrics.bootstrap import (
    DRAWS,
    Estimate,
    Floats,
    RankRange,
    estimates,
    paired_p,
    rank_range,
    resampled_means,
    shared_ranks,
)
from recgauntlet.metrics.significance import LEVEL
from recgauntlet.records.schema import FirstPairs, RunRecord

Part = Literal["robust", "certified", "retained"]
Wanted = TypeVar("Wanted")
Drawn = Callable[[Sequence[Sequence[RunRecord]], Sequence[Wanted], int], tuple[Floats, Floats]]


@dataclass(frozen=True)
class Quantity:
    """A share of right answers: on clean inputs (`threat` is ""), or under a threat at a tier: what stands (robust),
    what is proved (certified), or robust divided by clean accuracy (retained)."""

    threat: str = ""
    tier: Tier = RANKING_TIER
    part: Part = "robust"

    @property
    def words(self) -> str:
        """ "clean accuracy", "robust accuracy under NAME (low tier)"."""
        tier = shown("tier", self.tier)
        return f"{self.part} accuracy under {self.threat} ({tier} tier)" if self.threat else "clean accuracy"


CLEAN = Quantity()


@dataclass(frozen=True)
class Paired:
    """Two rows on their common `seeds`: the means `a` and `b`, their difference with its interval, the `p` of the
    paired bootstrap (`bootstrap.paired_p`), and the difference of every seed and shared pair, `bits [S, P]`."""

    quantity: Quantity
    seeds: tuple[int, ...]
    a: float
    b: float
    difference: Estimate
    p: float
    bits: Floats

    @property
    def told_apart(self) -> bool:
        """Whether one row is better than the other; never with fewer than three common seeds, as for ranks."""
        return len(self.seeds) >= MIN_SEEDS and self.p <= LEVEL


def twin_of(table: TaskTable, row: Row) -> Row | None:
    """The undefended twin of `row`: the same model with the same options, trained plainly; None for the twin itself,
    and where there is none or more than one. It may have other test pairs: one with the same ones goes first, then one
    with all."""
    if row.defense.name == TWIN:
        return None
    twins = [other for other in table.named(row.model.name, TWIN) if other.model.key == row.model.key]
    alike = [twin for twin in twins if twin.first_pairs == row.first_pairs]
    whole = [twin for twin in twins if twin.first_pairs is None]
    found = alike or whole or twins
    return found[0] if len(found) == 1 else None


def quantities(table: TaskTable, tiers: Sequence[Tier] = (RANKING_TIER,)) -> tuple[Quantity, ...]:
    """Clean accuracy and every threat of the table at each of `tiers`."""
    order: list[Tier] = [tier for tier in TIERS if tier in tiers]
    return (CLEAN, *(Quantity(column.id, tier) for column in table.threats for tier in order))


def beside(a: Row, b: Row, quantity: Quantity = CLEAN) -> tuple[float, float] | None:
    """The means of a clean or robust accuracy of `a` and of `b` over the seeds and test pairs that they share; None
    where there is no common seed, or a row has no such result."""
    fewer = fewest_pairs(a, b)
    own, other = (_by_seed(row, quantity, fewer if row.first_pairs != fewer else None) for row in (a, b))
    seeds = sorted(own.keys() & other.keys())
    return (_mean(own, seeds), _mean(other, seeds)) if seeds else None


def fewest_pairs(a: Row, b: Row) -> FirstPairs | None:
    """The test pairs that two rows of one task share: the first ones of the row with fewer; None for all."""
    some = [row.first_pairs for row in (a, b) if row.first_pairs is not None]
    return min(some, key=lambda first: first.pairs, default=None)


def _by_seed(row: Row, quantity: Quantity, first: FirstPairs | None) -> dict[int, float]:
    """The accuracy of each seed, on the `first` test pairs where the row has more."""
    cell = row.at(quantity.threat, quantity.tier) if quantity.threat else None
    if quantity.threat and cell is None:
        return {}
    means = cell.by_seed if cell else row.clean_by_seed
    if first is not None:
        bits = _present(outcomes(row.records, quantity), quantity)
        means = bits[:, : first.pairs].mean(axis=1).tolist()
    return dict(zip(row.seeds, means, strict=True))


def _mean(values: Mapping[int, float], seeds: Sequence[int]) -> float:
    return float(np.mean([values[seed] for seed in seeds]))


def outcomes(records: Sequence[RunRecord], quantity: Quantity) -> Floats | None:
    """`[S, P]`: the share of each pair's two examples that a record has right, for one record a seed; None where there
    is no record, or one without such a result. Of a retained share the robust part."""
    found = []
    for record in records:
        if quantity.part == "certified":
            bits = record.proved(quantity.threat, quantity.tier)
        elif quantity.threat:
            outcome = record.tier(quantity.threat, quantity.tier)
            bits = None if outcome is None else outcome.robust.to_bool()
        else:
            clean = record.clean
            bits = None if clean is None else metrics.correct(clean.labels.to_bool(), clean.scores.to_float())
        if bits is None:
            return None
        found.append(pair_means(bits))
    return np.stack(found) if found else None


def paired(a: Sequence[RunRecord], b: Sequence[RunRecord], wanted: Sequence[Quantity]) -> list[Paired]:
    """The records of two rows on the seeds and test pairs that they share, for each of the clean, robust or certified
    accuracies `wanted` of which both have results. Both must stand in one table, or in tables that may be compared."""
    seeds = sorted({record.seed for record in a} & {record.seed for record in b})
    own, other = on_seeds(a, seeds), on_seeds(b, seeds)
    found = {q: (x, y) for q in wanted if (x := outcomes(own, q)) is not None and (y := outcomes(other, q)) is not None}
    if not found:
        return []
    pairs = min(bits.shape[1] for both in found.values() for bits in both)
    found = {quantity: (x[:, :pairs], y[:, :pairs]) for quantity, (x, y) in found.items()}
    bits = [x - y for x, y in found.values()]
    draws = resampled_means(np.stack(bits, axis=2))
    means = [float(each.mean()) for each in bits]
    p = paired_p(np.array(means), draws).tolist()
    lines = zip(found.items(), estimates(means, draws), p, bits, strict=True)
    return [
        Paired(q, tuple(seeds), float(x.mean()), float(y.mean()), difference, value, each)
        for (q, (x, y)), difference, value, each in lines
    ]


def ranks_of(
    values: Sequence[float], rows: Sequence[Sequence[RunRecord]], wanted: Sequence[Quantity]
) -> tuple[int, ...]:
    """The ranks of `standings`, for each row by its own quantity in `wanted`."""
    return tuple(rank for rank, _ in standings(values, rows, wanted, joint_draws))


def standings(
    values: Sequence[float], rows: Sequence[Sequence[RunRecord]], wanted: Sequence[Wanted], drawn: Drawn[Wanted]
) -> tuple[tuple[int, RankRange], ...]:
    """The shared rank of each row of one table by its value in `values` (`bootstrap.shared_ranks`), and the range of
    its ranks over the same draws; of evasion with `joint_draws`, of attacks on training data with draws of their own.

    `drawn` gives the means `[K]` of rows, each in its own quantity of `wanted`, on common seeds and so many first test
    pairs, and their bootstrap means `[R, K]`, which all rows share.
    """
    order = np.array(values, dtype=np.float64)
    is_better, ranges = _compared(rows, wanted, drawn)
    return tuple(zip(shared_ranks(order, is_better & (order[:, None] > order)), ranges, strict=True))


def rank_ranges(rows: Sequence[Sequence[RunRecord]], wanted: Sequence[Quantity]) -> tuple[RankRange, ...]:
    """The ranges of `standings`, which need no values."""
    return _compared(rows, wanted, joint_draws)[1]


def better(rows: Sequence[Sequence[RunRecord]], wanted: Sequence[Quantity]) -> BoolArray:
    """`[K, K]`: whether row i is better than row j, each in its own quantity of `wanted`, which it must have."""
    return _compared(rows, wanted, joint_draws)[0]


def _compared(
    rows: Sequence[Sequence[RunRecord]], wanted: Sequence[Wanted], drawn: Drawn[Wanted]
) -> tuple[BoolArray, tuple[RankRange, ...]]:
    """Which rows are better than which `[K, K]`, and the range of the ranks of each row over the draws by which this is
    decided.

    All rows share the draws, so the answer for two rows is that of `paired`. Each two are compared on the seeds and
    test pairs that they share. With fewer than three seeds they cannot be told apart, and either may be ahead: `low`
    takes the other for worse, `high` for better, and `best` leaves it out.
    """
    found = np.zeros((len(rows), len(rows)), dtype=bool)
    behind, level = np.zeros((len(rows), DRAWS)), np.zeros((len(rows), DRAWS))
    unknown = np.full(len(rows), len(rows) - 1)
    for own, others, ahead, draws in _differences(rows, wanted, drawn):
        found[own, others] = (ahead > 0) & (paired_p(ahead, draws) <= LEVEL)
        behind[own] += (draws < 0).sum(axis=1)
        level[own] += (draws == 0).sum(axis=1)
        unknown[own] -= len(others)
    return found, tuple(rank_range(*of_row) for of_row in zip(behind, level, unknown.tolist(), strict=True))


def _differences(
    rows: Sequence[Sequence[RunRecord]], wanted: Sequence[Wanted], drawn: Drawn[Wanted]
) -> Iterator[tuple[int, list[int], Floats, Floats]]:
    """A row and others (by their numbers), by how much it is ahead of them `[M]` and in each draw `[R, M]`. Every two
    rows with at least three common seeds are compared once from each side."""
    seeds = [frozenset(record.seed for record in row) for row in rows]
    sizes = list(zip(seeds, map(_pairs_of, rows), strict=True))
    common = [[(own & other, min(p, q)) for other, q in sizes] for own, p in sizes]
    for shared in {shared for line in common for shared in line if len(shared[0]) >= MIN_SEEDS}:
        members = [n for n, (own, size) in enumerate(sizes) if shared[0] <= own and shared[1] <= size]
        means, draws = drawn([on_seeds(rows[n], shared[0]) for n in members], [wanted[n] for n in members], shared[1])
        for place, own in enumerate(members):
            others = [n for n, other in enumerate(members) if other != own and common[own][other] == shared]
            if others:
                ahead, in_draws = means[place] - means[others], draws[:, [place]] - draws[:, others]
                yield own, [members[n] for n in others], ahead, in_draws


def _pairs_of(row: Sequence[RunRecord]) -> int:
    """How many test pairs the records of a row have."""
    return min((record.clean.labels.n // 2 for record in row if record.clean is not None), default=0)


def joint_draws(rows: Sequence[Sequence[RunRecord]], wanted: Sequence[Quantity], pairs: int) -> tuple[Floats, Floats]:
    """The means `[K]` of the rows on the first `pairs` and their bootstrap means `[R, K]`, in one joint bootstrap."""
    bits = np.stack([_present(outcomes(row, q), q)[:, :pairs] for row, q in zip(rows, wanted, strict=True)], axis=2)
    means, draws = bits.mean(axis=(0, 1)), resampled_means(bits)
    retained = [n for n, quantity in enumerate(wanted) if quantity.part == "retained"]
    if retained:
        clean, of_clean = joint_draws([rows[n] for n in retained], [CLEAN] * len(retained), pairs)
        means[retained] = np.divide(means[retained], clean, out=np.zeros_like(clean), where=clean > 0)
        draws[:, retained] = np.divide(draws[:, retained], of_clean, out=np.zeros_like(of_clean), where=of_clean > 0)
    return means, draws


def _present(bits: Floats | None, quantity: Quantity) -> Floats:
    if bits is None:
        raise ValueError(f"a row has no {quantity.words}")
    return bits


def on_seeds(row: Sequence[RunRecord], seeds: Collection[int]) -> list[RunRecord]:
    """The records of some seeds, in order of seed."""
    return sorted((record for record in row if record.seed in seeds), key=lambda record: record.seed)

"""Two rows compared: differences with intervals, p values, and a sentence on each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from recgauntlet.core.card import RANKING_TIER, TIERS, Tier
from recgauntlet.core.errors import RecordError
from recgauntlet.core.names import shown
from recgauntlet.leaderboard.address import RowAt
from recgauntlet.leaderboard.aggregate import pair_means
from recgauntlet.leaderboard.flags import MIN_SEEDS, seed_list
from recgauntlet.leaderboard.schema import Row, TaskTable
from recgauntlet.metrics import ranking as metrics
from recgauntlet.metrics.bootstrap import Estimate, Floats, estimates, resampled_means
from recgauntlet.metrics.significance import LEVEL, crossed_test, flip_test, holm, p_text
from recgauntlet.records.schema import RunRecord

STANDARD = "standard"
"""The defense that is none."""


@dataclass(frozen=True)
class Quantity:
    """A share of right answers: on clean inputs (`threat` is ""), or under a threat at a tier."""

    threat: str = ""
    tier: Tier = RANKING_TIER

    @property
    def words(self) -> str:
        """ "clean accuracy", "robust accuracy under NAME (low tier)"."""
        tier = shown("tier", self.tier)
        return f"robust accuracy under {self.threat} ({tier} tier)" if self.threat else "clean accuracy"


CLEAN = Quantity()


def outcomes(records: Sequence[RunRecord], quantity: Quantity) -> Floats | None:
    """`[S, P]`: the share of each pair's two examples that a record has right, for one record a seed; None where there
    is no record, or one without such a result."""
    found = []
    for record in records:
        outcome = record.tier(quantity.threat, quantity.tier)
        if outcome is not None:
            found.append(pair_means(outcome.robust.to_bool()))
        elif record.clean is not None and not quantity.threat:
            found.append(pair_means(metrics.correct(record.clean.labels.to_bool(), record.clean.scores.to_float())))
    return np.stack(found) if found and len(found) == len(records) else None


def quantities(table: TaskTable, tiers: Sequence[Tier] = (RANKING_TIER,)) -> tuple[Quantity, ...]:
    """Clean accuracy and every threat of the table at each of `tiers`."""
    order: list[Tier] = [tier for tier in TIERS if tier in tiers]
    return (CLEAN, *(Quantity(column.id, tier) for column in table.threats for tier in order))


def differences(a: Sequence[RunRecord], b: Sequence[RunRecord], quantity: Quantity) -> Floats | None:
    """`[S, P]`: the outcomes of `a` less those of `b` over their common seeds; None where there is none or one of them
    has no such result. Both must stand in tables that may be compared (`check_comparable`)."""
    seeds = {record.seed for record in a} & {record.seed for record in b}
    first, second = (outcomes([record for record in row if record.seed in seeds], quantity) for row in (a, b))
    return None if first is None or second is None else first - second


def check_comparable(a: RowAt, b: RowAt) -> None:
    """Whether two rows were measured on the same: task, version, track, card, data, suite and test examples.

    Raises RecordError naming all that differs.
    """
    unlike = a.table.setting.unlike(b.table.setting)
    if unlike:
        raise RecordError(
            f"cannot be compared with {b.address}: {', '.join(unlike)}",
            where=a.address,
            remedy="compare rows that were measured on the same task, data, suite and examples",
        )


def twin_of(table: TaskTable, row: Row) -> Row | None:
    """The undefended twin of `row`: the same model with the same options, trained plainly; None for the twin itself,
    and where there is none or more than one."""
    if row.defense.name == STANDARD:
        return None
    twins = [other for other in table.named(row.model.name, STANDARD) if other.model.key == row.model.key]
    return twins[0] if len(twins) == 1 else None


@dataclass(frozen=True)
class Difference:
    """One quantity of two rows, shares between 0 and 1.

    `difference` is a less b with its bootstrap interval over seeds and pairs. `p_models` is for these trained models
    (`significance.flip_test`), `p_trainings` for new trainings too (`significance.crossed_test`; None with one common
    seed). `holm_models` and `holm_trainings` are corrected for all quantities of the comparison.
    """

    quantity: Quantity
    a: float
    b: float
    difference: Estimate
    p_models: float
    holm_models: float
    p_trainings: float | None
    holm_trainings: float | None

    @property
    def p(self) -> float:
        """The corrected p that a sentence rests on: over new trainings where there are several, else of the models."""
        return self.holm_models if self.holm_trainings is None else self.holm_trainings

    @property
    def significant(self) -> bool:
        """Whether `p` is below 0.05."""
        return self.p < LEVEL


@dataclass(frozen=True)
class Comparison:
    """Two rows on `examples` test examples and their common `seeds`; `cautions` are sentences to read first."""

    a: RowAt
    b: RowAt
    examples: int
    seeds: tuple[int, ...]
    differences: tuple[Difference, ...]
    cautions: tuple[str, ...]


def compare(a: RowAt, b: RowAt, *, threats: Sequence[str] = (), tiers: Sequence[Tier] = (RANKING_TIER,)) -> Comparison:
    """Compare row `a` with row `b` on clean inputs and under `threats` (all that both have, where none is named).

    Raises RecordError where the rows were not measured on the same task, data, suite and examples; where they have no
    seed in common; where a threat is unknown, or both rows are the same.
    """
    check_comparable(a, b)
    if a.anchor == b.anchor:
        raise RecordError("is compared with itself", where=a.address, remedy="give two different rows")
    seeds = tuple(sorted({*a.row.seeds} & {*b.row.seeds}))
    if not seeds:
        raise RecordError(
            f"has no seed in common with {b.address} ({seed_list(a.row.seeds)} and {seed_list(b.row.seeds)})",
            where=a.address,
            remedy="run the missing seeds: the same seed starts both trainings alike, which is what makes a pair",
        )
    known = {column.id for column in a.table.threats}
    for threat in threats:
        if threat not in known:
            raise RecordError(
                f"there is no threat {threat!r}", field="--threat", remedy=f"give one of: {', '.join(sorted(known))}"
            )
    wanted = [q for q in quantities(a.table, tiers) if not q.threat or not threats or q.threat in threats]
    own, other = ([record for record in row.records if record.seed in seeds] for row in (a, b))
    found = {q: (x, y) for q in wanted if (x := outcomes(own, q)) is not None and (y := outcomes(other, q)) is not None}
    missing = [q for q in wanted if q not in found]
    paired = [x - y for x, y in found.values()]
    means = estimates([float(d.mean()) for d in paired], resampled_means(np.stack(paired, axis=2)))
    models = [flip_test(d) for d in paired]
    trainings = [crossed_test(d).p for d in paired] if len(seeds) > 1 else []
    corrected, corrected_trainings = holm(models), holm(trainings)
    lines = tuple(
        Difference(
            quantity,
            a=float(x.mean()),
            b=float(y.mean()),
            difference=means[n],
            p_models=models[n],
            holm_models=corrected[n],
            p_trainings=trainings[n] if trainings else None,
            holm_trainings=corrected_trainings[n] if trainings else None,
        )
        for n, (quantity, (x, y)) in enumerate(found.items())
    )
    return Comparison(a, b, a.table.examples, seeds, lines, tuple(_cautions(a, b, seeds, missing)))


def sentence(comparison: Comparison, line: Difference) -> str:
    """`line` as a sentence: "A keeps 2.3 points more than B under ..."."""
    name, other = _names(comparison)
    points, low, high = (100 * x for x in (line.difference.value, line.difference.low, line.difference.high))
    if points < 0:
        points, low, high, word = -points, -high, -low, "less"
    else:
        word = "more"
    same = f"{points:.1f}" == "0.0"
    if line.quantity.threat:
        much = f"as much as {other}" if same else f"{points:.1f} points {word} than {other}"
        what = f"keeps {much} under {line.quantity.threat} ({shown('tier', line.quantity.tier)} tier; "
    else:
        much = "the same clean accuracy as" if same else f"{points:.1f} points {word} clean accuracy than"
        what = f"has {much} {other} ("
    count = len(comparison.differences)
    parts = [
        f"{100 * line.a:.1f} % against {100 * line.b:.1f} %",
        f"95 % interval of the difference {low:.1f} to {high:.1f}",
        p_text(line.p) + (f", corrected for {count} comparisons" if count > 1 else ""),
        *([] if line.significant else ["this may be chance"]),
    ]
    return f"{name} {what}{'; '.join(parts)})."


def _names(comparison: Comparison) -> tuple[str, str]:
    """What to call the rows: the defenses where the models are the same, and the whole address where that is."""
    a, b = comparison.a, comparison.b
    same_model = a.row.model.key == b.row.model.key
    defenses = [shown("defense", at.row.defense.name) for at in (a, b)]
    models = ("", "") if same_model else (f"{a.row.model.name} + ", f"{b.row.model.name} + ")
    first, second = (model + defense for model, defense in zip(models, defenses, strict=True))
    return (first, second) if first != second else (a.address, b.address)


def _cautions(a: RowAt, b: RowAt, seeds: Sequence[int], missing: Sequence[Quantity]) -> list[str]:
    cautions = []
    for at in (a, b):
        cautions += [f"{at.address} is not ranked: {f.title}. {f.explanation}" for f in at.row.flags if f.blocks_rank]
        left = sorted(set(at.row.seeds) - set(seeds))
        if left:
            cautions.append(f"{seed_list(left)} of {at.address} are left out: the other row has no such seed.")
    if not a.table.ranked:
        cautions.append("This is the demo track, or simulated data: a difference here is no result.")
    if len(seeds) == 1:
        cautions.append(
            "One common seed: intervals and p hold for these two trained models only. New trainings may differ."
        )
    elif len(seeds) < MIN_SEEDS:
        cautions.append("Fewer than three common seeds: the variation between trainings is a guess.")
    if any(not column.ranked for column in a.table.threats) and a.row.model.name != b.row.model.name:
        cautions.append("Embedding threats cannot be compared across models: budgets are relative to each model's own.")
    if missing:
        cautions.append(f"Not compared, because a row has no such result: {', '.join(q.words for q in missing)}.")
    return cautions

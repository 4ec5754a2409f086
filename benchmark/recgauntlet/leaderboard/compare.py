"""Two rows compared: differences with intervals, p values, and a sentence on each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from recgauntlet.core.card import RANKING_TIER, Tier
from recgauntlet.core.errors import RecordError
from recgauntlet.core.names import shown
from recgauntlet.leaderboard.address import Board, RowAt, row_id
from recgauntlet.leaderboard.flags import MIN_SEEDS, seed_list
from recgauntlet.leaderboard.paired import Paired, Quantity, fewest_pairs, paired, quantities, twin_of
from recgauntlet.leaderboard.schema import TaskTable
from recgauntlet.metrics.significance import LEVEL, crossed_test, flip_test, holm, p_text

PValues = dict[tuple[str, Quantity], float]
"""The p of the paired test, by the row's id and the quantity."""


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


@dataclass(frozen=True)
class Difference(Paired):
    """One quantity of two rows, shares between 0 and 1: the board's paired test (`p`), and two more tests.

    `p_models` is for these trained models (`significance.flip_test`), `p_trainings` for new trainings too
    (`significance.crossed_test`; None with one common seed). `holm_models` and `holm_trainings` are corrected for all
    quantities of the comparison.
    """

    p_models: float
    holm_models: float
    p_trainings: float | None
    holm_trainings: float | None


@dataclass(frozen=True)
class Comparison:
    """Two rows on the `examples` test examples and the `seeds` that they share; `cautions` are sentences to read
    first."""

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
    found = paired(a.records, b.records, wanted)
    missing = [q for q in wanted if q not in {line.quantity for line in found}]
    models = [flip_test(line.bits) for line in found]
    trainings = [crossed_test(line.bits).p for line in found] if len(seeds) > 1 else []
    corrected, corrected_trainings = holm(models), holm(trainings)
    lines = tuple(
        Difference(
            **vars(line),
            p_models=models[n],
            holm_models=corrected[n],
            p_trainings=trainings[n] if trainings else None,
            holm_trainings=corrected_trainings[n] if trainings else None,
        )
        for n, line in enumerate(found)
    )
    cautions = _cautions(a, b, seeds, missing, lines)
    first = fewest_pairs(a.row, b.row)
    examples = a.table.examples if first is None else 2 * first.pairs
    return Comparison(a, b, examples, seeds, lines, tuple(cautions))


def against_twins(board: Board, table: TaskTable, shown: TaskTable, wanted: Sequence[Quantity]) -> PValues:
    """The p of each `shown` row and `wanted` quantity against the undefended twin in the whole `table`, by the test of
    the board's ranks on the common seeds (`paired.paired`). There is no p for twins, rows without a twin, and fewer
    than three common seeds."""
    found: PValues = {}
    for row in shown.rows:
        twin = twin_of(table, row)
        if twin is not None:
            own, other = RowAt(board, table, row).records, RowAt(board, table, twin).records
            lines = [line for line in paired(own, other, wanted) if len(line.seeds) >= MIN_SEEDS]
            found |= {(row_id(table, row), line.quantity): line.p for line in lines}
    return found


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
    parts = [
        f"{100 * line.a:.1f} % against {100 * line.b:.1f} %",
        f"95 % interval of the difference {low:.1f} to {high:.1f}",
        p_text(line.p),
        *([] if line.told_apart else ["this may be chance"]),
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


def _cautions(
    a: RowAt, b: RowAt, seeds: Sequence[int], missing: Sequence[Quantity], lines: Sequence[Difference]
) -> list[str]:
    cautions = []
    for at in (a, b):
        cautions += [f"{at.address} is not ranked: {f.title}. {f.explanation}" for f in at.row.flags if f.blocks_rank]
        first = fewest_pairs(a.row, b.row)
        if first != at.row.first_pairs and first is not None:
            cautions.append(
                f"{at.address} is compared on its first {first.pairs:,} test pairs: the other row has no more."
            )
        left = sorted(set(at.row.seeds) - set(seeds))
        if left:
            cautions.append(f"{seed_list(left)} of {at.address} are left out: the other row has no such seed.")
    if not a.table.ranked:
        cautions.append("This is the demo track, or simulated data: a difference here is no result.")
    if len(seeds) == 1:
        cautions.append(
            "One common seed: intervals and p hold for these two trained models only, and the rows are not told apart."
        )
    elif len(seeds) < MIN_SEEDS:
        cautions.append(
            "Fewer than three common seeds: how trainings vary is a guess, and the rows are not told apart."
        )
    if any(not column.ranked for column in a.table.threats) and a.row.model.name != b.row.model.name:
        cautions.append("Embedding threats cannot be compared across models: budgets are relative to each model's own.")
    unsure = [line.quantity.words for line in lines if line.told_apart and (line.holm_trainings or 0.0) > LEVEL]
    if unsure:
        cautions.append(
            f"The t test over trainings does not confirm the difference in {', '.join(unsure)}: run more seeds before "
            "you claim it of new trainings."
        )
    if missing:
        cautions.append(f"Not compared, because a row has no such result: {', '.join(q.words for q in missing)}.")
    return cautions

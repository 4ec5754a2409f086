"""Generated tables of pretrained models: what they keep, from the records of the season that is being run, and what a
training step costs under each defense."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from markdown_table import DOCS, per_cent, table
from measured_tables import figures

from recgauntlet.core.names import shown
from recgauntlet.core.spec import TWIN
from recgauntlet.leaderboard.build import build_table
from recgauntlet.leaderboard.paired import CLEAN, Paired, Quantity, paired, twin_of
from recgauntlet.leaderboard.schema import Row, TaskTable
from recgauntlet.records.io import read_records
from recgauntlet_site.families import defense_family
from recgauntlet_site.findings import CLAIMED_OF, ndcg_difference, sure

SEASON = DOCS.parent / "results" / "season-one"
MODELS = ("bert", "gpt", "two-tower", "nrms")
EMBEDDINGS = Quantity("embedding")


@cache
def season() -> tuple[TaskTable, ...]:
    return tuple(build_table(read_records(SEASON)))


def pretrained() -> str:
    """What the models keep at the medium tier, and the differences of defended rows from their undefended twins, on the
    seeds and test pairs that both have."""
    rows = [
        _line(found, row)
        for model in MODELS
        for found in season()
        for row in sorted(found.rows, key=lambda row: (row.defense.name != TWIN, row.defense.name))
        if row.model.name == model
    ]
    head = ["model", "task", "defense", "seeds", "pairs", "clean", "worst ranked threat", "robust", "embeddings"]
    return table([*head, "FLOPs ×"], rows)


def _line(found: TaskTable, row: Row) -> list[str]:
    twin = twin_of(found, row)
    worst = Quantity(row.worst) if row.worst else None
    wanted = [CLEAN, *([worst] if worst else []), EMBEDDINGS]
    beside = {} if twin is None else {line.quantity: line for line in paired(row.records, twin.records, wanted)}

    def value(quantity: Quantity | None) -> str:
        if quantity is None:
            return ""
        cell = row.at(quantity.threat, quantity.tier) if quantity.threat else None
        estimate = row.clean if not quantity.threat else None if cell is None else cell.robust
        line = beside.get(quantity)
        points = (
            ""
            if line is None
            else " (" + _points(line.difference.value, line.difference.low, line.difference.high) + ")"
        )
        return per_cent(estimate.value) + points if estimate else ""

    ratio = row.cost.flops_ratio if row.cost else None
    return [
        f"`{row.model.name}`",
        found.task,
        f"`{shown('defense', row.defense.name)}`",
        str(len(row.seeds)),
        str(found.examples_of(row) // 2),
        value(CLEAN),
        row.worst or "",
        value(worst),
        value(EMBEDDINGS),
        "" if ratio is None else f"{ratio:.2f}",
    ]


def _points(value: float, low: float, high: float) -> str:
    text = f"{100 * value:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]"
    return text.replace("-", "−")


def claims() -> str:
    """How often adversarial training does what is claimed of it: rows that are clearly better, and clearly worse, than
    their undefended twin by the paired test of the ranks, of all rows that have one."""
    rows = []
    for model in MODELS:
        found = [_claimed(table, row) for table in season() for row in table.rows if _is_trained(row, model)]
        judged = [lines for lines in found if lines]
        rows.append([f"`{model}`", str(len(judged)), *(_counts([lines[at] for lines in judged]) for at in range(3))])
    return table(["model", "rows", "more robust", "more accurate", "generalizes better"], rows)


def _is_trained(row: Row, model: str) -> bool:
    return row.model.name == model and defense_family(row.defense) == CLAIMED_OF


def _claimed(found: TaskTable, row: Row) -> list[Paired | None]:
    """The differences from the twin: under its worst ranked threat, clean, and of nDCG@10 on clean impressions; nothing
    where there is no twin."""
    twin = twin_of(found, row)
    if twin is None:
        return []
    wanted = [CLEAN, *([Quantity(twin.worst)] if twin.worst else [])]
    lines = {line.quantity: line for line in paired(row.records, twin.records, wanted)}
    worst = lines.get(Quantity(twin.worst)) if twin.worst else None
    return [worst, lines.get(CLEAN), ndcg_difference(row, twin, least_seeds=1)]


def _counts(lines: Sequence[Paired | None]) -> str:
    signs = [sure(line) for line in lines if line is not None]
    return f"{signs.count(1)} yes, {signs.count(-1)} no, {signs.count(0)} open" if signs else ""


def steps(model: str) -> str:
    """What a training step costs under each defense, relative to plain training."""
    rows = [
        [f"`{shown('defense', own['defense'])}`", f"{own['flops_ratio']:.2f}", f"{own['seconds_ratio']:.2f}"]
        for own in figures("steps")
        if own["model"] == model
    ]
    return table(["defense", "FLOPs", "processor time"], rows, right=2)

"""The columns of a task's table: one list for the page and its column chooser."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from recgauntlet.core.card import RANKING_TIER, TIERS, Tier
from recgauntlet.leaderboard.schema import Row, TaskTable, ThreatColumn
from recgauntlet.metrics.bootstrap import Estimate
from recgauntlet_site.format import percent, seconds, size, times


@dataclass(frozen=True)
class Content:
    """A cell: its `value`, a `small` line below it, the key to `sort` by (empty values come last), and a `mark`: "none"
    where there is no value, "worst" where the row is ranked by this value."""

    value: str
    small: str = ""
    sort: str = ""
    mark: str = ""


@dataclass(frozen=True)
class Column:
    """A column: its `key` in the address, its head with a `note`, its `group` in the column chooser, and its cell of a
    row. Columns that are `shown` are visible at first; `threat` and `tier` are empty for columns without a threat."""

    key: str
    head: str
    note: str
    group: str
    content: Callable[[Row], Content]
    shown: bool = False
    threat: str = ""
    tier: str = ""


def columns_of(table: TaskTable) -> tuple[Column, ...]:
    """All columns of a table between the names and the flags, in order."""
    return (*_accuracies(table), *_costs(), *_qualities(), *_runs())


def _accuracies(table: TaskTable) -> Iterator[Column]:
    yield Column("clean", "Clean", "", "accuracy", lambda row: _share(row.clean), shown=True)
    for number, column in enumerate(table.threats):
        for tier in TIERS:
            standard = tier == RANKING_TIER
            note = f"{tier}, {'ranked' if column.ranked and standard else 'diagnostic' if standard else 'not ranked'}"
            yield Column(
                f"t{number}{tier[0]}", column.id, note, "robust accuracy", _robust(table, column, tier),
                shown=standard, threat=column.id, tier=tier,
            )  # fmt: skip
            if table.certifies(column.id, tier):
                yield Column(
                    f"c{number}{tier[0]}", column.id, f"{tier}, certified", "robust accuracy", _certified(column, tier),
                    shown=standard, threat=column.id, tier=tier,
                )  # fmt: skip
    yield Column("retained", "Retained", "worst ranked threat", "accuracy", _retained, shown=True)


def _costs() -> Iterator[Column]:
    yield Column("seconds", "Training time", "relative to the twin", "cost", _ratio("seconds_ratio"), shown=True)
    yield Column("flops", "Training FLOPs", "relative to the twin", "cost", _ratio("flops_ratio"), shown=True)
    yield Column("time", "Training time", "", "cost", _cost("training_seconds", seconds))
    yield Column("operations", "Training FLOPs", "", "cost", _cost("training_flops", size))
    yield Column("memory", "Peak memory", "of training", "cost", _cost("peak_memory_bytes", _bytes))
    yield Column("parameters", "Parameters", "", "cost", _cost("parameters", size))
    yield Column("inference", "Scoring", "1,000 candidates", "cost", _cost("inference_ms_per_1000", _milliseconds))
    yield Column("attacks", "Attack time", "all attacks", "cost", _cost("attack_seconds", seconds))


def _qualities() -> Iterator[Column]:
    heads = {
        "auc": ("AUC", "all candidates"),
        "gauc": ("gAUC", "by user"),
        "impression_auc": ("AUC", "by impression"),
        "mrr": ("MRR", ""),
        "ndcg5": ("nDCG@5", ""),
        "ndcg10": ("nDCG@10", ""),
    }
    for name, (head, note) in heads.items():
        yield Column(name.replace("_", "-"), head, note, "clean ranking quality", _quality(name))


def _runs() -> Iterator[Column]:
    yield Column("seeds", "Seeds", "", "run", lambda row: Content(str(len(row.seeds)), sort=str(len(row.seeds))))
    yield Column("device", "Device", "", "run", lambda row: Content(device(row), sort=device(row)))


def device(row: Row) -> str:
    """The devices of the row's runs."""
    return "; ".join(sorted({source.device for source in row.sources}))


def device_kind(row: Row) -> str:
    """CPU, GPU or both, by the names of the devices."""
    kinds = {"CPU" if source.device.lower().startswith("cpu") else "GPU" for source in row.sources}
    return " and ".join(sorted(kinds))


NOTHING = Content("not applicable", mark="none")
NO_RESULT = Content("no result", mark="none")


def _share(estimate: Estimate, mark: str = "") -> Content:
    interval = f"{percent(estimate.low)}–{percent(estimate.high)}"
    return Content(percent(estimate.value), interval, f"{estimate.value:.6g}", mark)


def _robust(table: TaskTable, column: ThreatColumn, tier: Tier) -> Callable[[Row], Content]:
    def content(row: Row) -> Content:
        cells = row.under(column.id)
        cell = cells.at(tier) if cells else None
        if cell is None:
            return NO_RESULT if cells and cells.applicable else NOTHING
        worst = table.ranked and tier == RANKING_TIER and row.worst == column.id
        return _share(cell.robust, "worst" if worst else "")

    return content


def _certified(column: ThreatColumn, tier: Tier) -> Callable[[Row], Content]:
    def content(row: Row) -> Content:
        cells = row.under(column.id)
        cell = cells.at(tier) if cells else None
        return _share(cell.certified) if cell is not None and cell.certified is not None else NOTHING

    return content


def _retained(row: Row) -> Content:
    return _share(row.worst_cell.retained) if row.worst_cell is not None else NOTHING


def _ratio(name: str) -> Callable[[Row], Content]:
    def content(row: Row) -> Content:
        value: float | None = getattr(row.cost, name)
        twin = "the twin" if value is None and row.defense.name == "standard" else ""
        return Content(times(value), twin, f"{1.0 if value is None else value:.6g}")

    return content


def _cost(name: str, text: Callable[[float], str]) -> Callable[[Row], Content]:
    def content(row: Row) -> Content:
        value = float(getattr(row.cost, name))
        return Content(text(value), sort=f"{value:.6g}")

    return content


def _quality(name: str) -> Callable[[Row], Content]:
    def content(row: Row) -> Content:
        value = float(getattr(row.quality, name))
        return Content(f"{value:.4f}", sort=f"{value:.6g}")

    return content


def _bytes(value: float) -> str:
    return size(value, "B")


def _milliseconds(value: float) -> str:
    return f"{value:.3g} ms"

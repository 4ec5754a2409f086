"""The tables as files for other programs: one CSV of all rows, and a JSON of everything on the page."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict, fields

from pydantic import BaseModel

from recgauntlet.card import TIERS
from recgauntlet.rows import Row, TaskTable, ThreatCells
from recgauntlet.stats import LEVEL, Estimate

Value = str | int | float | None
FORMAT = "recgauntlet-tables-1"
COLUMNS = {
    "impressions": "attacked_impressions",
    "ndcg10_before": "ndcg@10_before",
    "ndcg10_after": "ndcg@10_after",
    "rank_before": "target_rank_before",
    "rank_after": "target_rank_after",
    "overlap": "rank_biased_overlap",
    "jaccard": "top10_jaccard",
    "items": "promoted_items",
    "users": "held_out_users",
    "exposure10_before": "exposure@10_before",
    "exposure10_after": "exposure@10_after",
    "exposure50_before": "exposure@50_before",
    "exposure50_after": "exposure@50_after",
}
"""What the CSV calls a field of a ranking or a promotion."""


def to_json(tables: Sequence[TaskTable]) -> bytes:
    """Everything in the tables, unrounded; shares are between 0 and 1."""
    content = {"format": FORMAT, "interval": LEVEL, "tables": [asdict(table) for table in tables]}
    return (json.dumps(content, indent=1, sort_keys=True, default=_fields) + "\n").encode()


def to_csv(tables: Sequence[TaskTable]) -> bytes:
    """One line a row of any table; a column that a row has no value for is empty."""
    lines = [_line(table, row) for table in tables for row in table.rows]
    fields: dict[str, None] = {}
    for line in lines:
        fields.update(dict.fromkeys(line))
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, fields, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: _plain(value) for key, value in line.items()} for line in lines)
    return out.getvalue().encode("utf-8", "backslashreplace")


def _fields(part: object) -> object:
    if isinstance(part, BaseModel):
        return part.model_dump(mode="json")
    raise TypeError(f"{type(part).__name__} has no place in a table")


def _line(table: TaskTable, row: Row) -> dict[str, Value]:
    quality, cost = row.quality, row.cost
    line: dict[str, Value] = {
        "task": table.task,
        "version": table.version,
        "track": table.track,
        "simulated": str(table.simulated).lower(),
        "suite": table.suite.id,
        "rank": row.rank,
        "model": row.model.name,
        "model_version": row.model.version,
        "model_hyperparameters": json.dumps(row.model.hyperparameters, sort_keys=True),
        "defense": row.defense.name,
        "defense_version": row.defense.version,
        "defense_hyperparameters": json.dumps(row.defense.hyperparameters, sort_keys=True),
        "seeds": " ".join(map(str, row.seeds)),
        "examples": table.examples,
        "flags": "; ".join(flag.title for flag in row.flags),
        **_interval("clean_accuracy", row.clean),
        "worst_threat": row.worst,
    }
    for tier in TIERS:
        for cells in row.threats:
            cell = cells.at(tier)
            if cell is not None:
                line |= _interval(f"robust_accuracy:{cells.threat}:{tier}", cell.robust)
                line |= _interval(f"retained:{cells.threat}:{tier}", cell.retained)
            elif not cells.applicable:
                line[f"robust_accuracy:{cells.threat}:{tier}"] = "not applicable"
    for cells in row.threats:
        line |= _further(cells)
    return line | {
        "auc": quality.auc,
        "gauc": quality.gauc,
        "impression_auc": quality.impression_auc,
        "mrr": quality.mrr,
        "ndcg@5": quality.ndcg5,
        "ndcg@10": quality.ndcg10,
        "training_seconds": cost.training_seconds,
        "training_seconds_ratio": cost.seconds_ratio,
        "training_flops": cost.training_flops,
        "training_flops_ratio": cost.flops_ratio,
        "training_forwards": cost.forwards,
        "training_backwards": cost.backwards,
        "peak_memory_bytes": cost.peak_memory_bytes,
        "parameters": cost.parameters,
        "inference_ms_per_1000": cost.inference_ms_per_1000,
        "attack_seconds": cost.attack_seconds,
    }


def _further(cells: ThreatCells) -> dict[str, Value]:
    """Curve, ranking under attack and exposure; nothing where the row has none."""
    line: dict[str, Value] = {}
    for point in cells.curve:
        characters = f"/{point.characters}" if point.characters else ""
        line |= _interval(f"curve_accuracy:{cells.threat}:{point.amount:g}{characters}", point.accuracy)
    for part in (cells.ranking, cells.promotion):
        if part is not None:
            for field in fields(part):
                value = getattr(part, field.name)
                name = f"{COLUMNS.get(field.name, field.name)}:{cells.threat}"
                line |= _interval(name, value) if isinstance(value, Estimate) else {name: value}
    return line


def _interval(name: str, estimate: Estimate) -> dict[str, Value]:
    return {name: estimate.value, f"{name}:low": estimate.low, f"{name}:high": estimate.high}


def _plain(value: Value) -> Value:
    """A spreadsheet takes a text that begins so for a formula; a quotation mark in front keeps it a text."""
    return f"'{value}" if isinstance(value, str) and value[:1] in {"=", "+", "-", "@", "\t", "\r"} else value

"""The tables as CSV for other programs: one line a row, numbers unrounded, the same on the page and from a command."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import fields

from recgauntlet.core.card import TIERS
from recgauntlet.core.escape import csv_cell
from recgauntlet.leaderboard.address import row_id
from recgauntlet.leaderboard.schema import Row, TaskTable, ThreatCells
from recgauntlet.metrics.bootstrap import Estimate

Value = str | int | float | None
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


IDENTITY = (
    "task",
    "version",
    "track",
    "simulated",
    "suite",
    "model",
    "model_version",
    "model_hyperparameters",
    "defense",
    "defense_version",
    "defense_hyperparameters",
    "seeds",
    "examples",
)
"""What every line says, whichever columns are chosen."""


def to_csv(
    tables: Sequence[TaskTable],
    *,
    columns: Collection[str] | None = None,
    further: Mapping[str, Mapping[str, Value]] | None = None,
) -> bytes:
    """One line a row of any table; a column that a row has no value for is empty.

    `columns` keeps those whose name before the first colon is in it, beside IDENTITY. `further` has more values of a
    row, by its id (`board.row_id`).
    """
    lines = []
    for table in tables:
        for row in table.rows:
            line = _line(table, row)
            if further is not None:
                line |= further.get(row_id(table, row), {})
            lines.append(
                {k: v for k, v in line.items() if columns is None or k.partition(":")[0] in {*columns, *IDENTITY}}
            )
    names: dict[str, None] = {}
    for line in lines:
        names.update(dict.fromkeys(line))
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([csv_cell(name) for name in names])
    writer.writerows([csv_cell(line.get(name)) for name in names] for line in lines)
    return out.getvalue().encode()


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
                if cell.certified is not None:
                    line |= _interval(f"certified_accuracy:{cells.threat}:{tier}", cell.certified)
                elif table.certifies(cells.threat, tier):
                    line[f"certified_accuracy:{cells.threat}:{tier}"] = "not applicable"
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

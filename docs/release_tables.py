"""Generated tables and numbers that come from the records of the committed release."""

from __future__ import annotations

import json
from collections import defaultdict
from functools import cache

import numpy as np
import pandas as pd
from markdown_table import DOCS, per_cent, table

import recgauntlet
from recgauntlet.core.files import CURRENT
from recgauntlet.leaderboard.address import row_id
from recgauntlet.leaderboard.build import build_table
from recgauntlet.leaderboard.paired import CLEAN, Quantity, beside, twin_of
from recgauntlet.leaderboard.schema import Row, TaskTable
from recgauntlet.records.io import read_records
from recgauntlet.records.schema import RunRecord
from recgauntlet.training.tuned import tuned_for

RESULTS = DOCS.parent / "results" / CURRENT
TIER = "standard"
RANKED = {
    "video-watch": "history-perturbation",
    "ecommerce-purchase": "title-stuffing",
    "news-click": "headline-tampering",
}
SHORT = {"histories": "history-perturbation", "titles": "title-stuffing", "headlines": "headline-tampering"} | {
    "embeddings": "embedding"
}
PUBLISHED = (
    ("NRMS, published", "MINDdemo, 5,000 readers", "0.613", "", "", ""),
    ("NAML, published", "MINDdemo, 5,000 readers", "0.627", "", "", ""),
    ("NRMS, published", "MIND-small, 50,000 readers", "0.666", "0.319", "0.352", "0.415"),
    ("NAML, published", "MIND-small, 50,000 readers", "0.662", "0.321", "0.354", "0.416"),
)


@cache
def records() -> tuple[RunRecord, ...]:
    return tuple(read_records(RESULTS))


@cache
def results() -> pd.DataFrame:
    """The finished cells of the release at the medium tier, one row a cell and threat."""
    frame = recgauntlet.load(RESULTS)
    return frame[(frame.tier == TIER) & (frame.status == "ok")]


def rows_of(task: str, model: str, defense: str) -> list[pd.DataFrame]:
    """The cells of each row of a method: rows with most seeds first, then those with tuned values."""
    frame = results()
    cells = frame[(frame.task == task) & (frame.model == model) & (frame.defense == defense)]
    rows = [own for _, own in cells.groupby("row")]
    return sorted(rows, key=lambda own: (-own.seed.nunique(), not is_tuned(own), own.row.iloc[0]))


def is_tuned(cells: pd.DataFrame) -> bool:
    """Whether the defense of a row has the tuned values."""
    task, track, model, defense = cells[["task", "track", "model", "defense"]].iloc[0]
    found = tuned_for("defense", defense, task=task, track=track, model=model)
    return found is not None and found[0].values.items() <= json.loads(cells.defense_hyperparameters.iloc[0]).items()


@cache
def tables() -> tuple[TaskTable, ...]:
    return tuple(build_table(records()))


def row_of(own: str) -> tuple[TaskTable, Row]:
    """The leaderboard's row with an id, and its table."""
    return next((table, row) for table in tables() for row in table.rows if row_id(table, row) == own)


def gain(cells: pd.DataFrame, wanted: Quantity) -> float:
    """The difference of a row from its undefended twin on their common seeds."""
    table, row = row_of(cells.row.iloc[0])
    twin = twin_of(table, row)
    both = None if twin is None else beside(row, twin, wanted)
    if both is None:
        raise SystemExit(f"{row.model.name} {row.defense.name} on {table.task} has no undefended twin of its seeds")
    return both[0] - both[1]


def mean(cells: pd.DataFrame, column: str) -> float:
    """The mean over seeds of a column that belongs to the cell."""
    return float(cells.drop_duplicates("record")[column].mean())


def under(cells: pd.DataFrame, threat: str, column: str = "robust_accuracy") -> float | None:
    """The mean over seeds of a column under a threat; None where it is missing."""
    value = cells[(cells.threat == threat) & cells.applicable.fillna(False)][column].mean()
    return None if pd.isna(value) else float(value)


def options(cells: pd.DataFrame, others: list[pd.DataFrame]) -> str:
    """The hyper-parameters in which a row differs from others of the same method."""
    own, *rest = (json.loads(rows.defense_hyperparameters.iloc[0]) for rows in (cells, *others))
    differing = {name: value for name, value in own.items() if any(other.get(name) != value for other in rest)}
    return ", ".join(f"{name}={value}" for name, value in differing.items())


def seeds_of(cells: pd.DataFrame) -> str:
    return str(cells.seed.nunique())


def models() -> str:
    frame = results()
    films = frame[(frame.defense == "standard") & (frame.task == "video-watch")]
    rows = [
        [
            f"`{own.model.iloc[0]}`",
            seeds_of(own),
            per_cent(mean(own, "clean_accuracy")),
            *(per_cent(under(own, threat)) for threat in ("history-perturbation", "embedding")),
            f"{mean(own, 'auc'):.3f}",
            f"{mean(own, 'ndcg10'):.3f}",
            f"{mean(own, 'parameters'):,.0f}",
            f"{mean(own, 'training_seconds'):.0f}",
        ]
        for own in sorted((own for _, own in films.groupby("row")), key=lambda own: -mean(own, "clean_accuracy"))
    ]
    head = ["model", "seeds", "clean", "histories", "embeddings", "AUC", "nDCG@10", "parameters", "training, s"]
    return table(head, rows, right=8)


def defenses() -> str:
    frame = results()
    films = frame[(frame.model == "nrms") & (frame.task == "video-watch")]
    found = [own for _, own in films.groupby("row")]
    rows = []
    for own in sorted(found, key=lambda own: -(under(own, "embedding") or 0.0)):
        name = own.defense.iloc[0]
        differing = options(own, [other for other in found if other.defense.iloc[0] == name and other is not own])
        ratio = mean(own, "flops_ratio")
        rows.append(
            [
                f"`{name}`" + (f" ({differing})" if differing else ""),
                seeds_of(own),
                per_cent(mean(own, "clean_accuracy")),
                per_cent(under(own, "history-perturbation")),
                per_cent(under(own, "embedding")),
                per_cent(under(own, "history-perturbation", "certified_accuracy")),
                "1" if pd.isna(ratio) else f"{ratio:.2f}",
            ]
        )
    head = ["defense", "seeds", "clean", "histories", "embeddings", "certified", "FLOPs ×"]
    return table(head, rows, right=6)


def tasks() -> str:
    """The defenses with three seeds on every task: clean accuracy, and robust accuracy under the ranked threat."""
    rows = []
    for defense in sorted(results().defense.unique()):
        own = [rows_of(task, "nrms", defense)[:1] for task in RANKED]
        if all(found and found[0].seed.nunique() >= 3 for found in own):
            values = [
                per_cent(value)
                for (cells,), threat in zip(own, RANKED.values(), strict=True)
                for value in (mean(cells, "clean_accuracy"), under(cells, threat))
            ]
            rows.append([f"`{defense}`", *values])
    head = ["defense", *(name for pair in RANKED.items() for name in (f"{pair[0]}, clean", pair[1]))]
    return table(head, rows, right=6)


def news() -> str:
    """Ranking quality on MIND as publications measure it, beside theirs."""
    plain = [r for r in records() if r.task.id == "news-click" and r.defense.name == "standard" and r.status == "ok"]
    rows = [
        [
            f"`{row.model.name}`",
            f"`news-click`, {len(row.seeds)} seed{'s' if len(row.seeds) > 1 else ''}",
            *(f"{getattr(row.quality, name):.3f}" for name in ("impression_auc", "mrr", "ndcg5", "ndcg10")),
        ]
        for found in build_table(plain)
        for row in sorted(found.rows, key=lambda row: -row.quality.impression_auc)
    ]
    return table(["", "data", "AUC by impression", "MRR", "nDCG@5", "nDCG@10"], [*rows, *PUBLISHED], right=4)


def ablation() -> str:
    """What attacks break of the subset, mean over records: together, and for each attack alone (and no other)."""
    found: dict[str, dict[str, list[tuple[float, float]]]] = defaultdict(lambda: defaultdict(list))
    together: dict[str, list[float]] = defaultdict(list)
    for record in records():
        for threat in record.threats:
            broken = {own.attack: own.broken.to_bool() for own in threat.alone if own.tier == TIER}
            if not broken:
                continue
            count = np.sum(list(broken.values()), axis=0)
            together[threat.id].append(float((count > 0).mean()))
            for attack, bits in broken.items():
                found[threat.id][attack].append((float(bits.mean()), float((bits & (count == 1)).mean())))
    rows = []
    for name, attacks in sorted(found.items()):
        cells = []
        for attack, shares in sorted(attacks.items()):
            alone, only = np.mean(shares, axis=0)
            cells.append(f"`{attack}` {per_cent(alone)}" + (f" ({per_cent(only)})" if only >= 0.0005 else ""))
        rows.append([name, per_cent(float(np.mean(together[name]))), ", ".join(cells)])
    return table(["threat", "all together", "each attack alone (and by no other, where not 0.0)"], rows)


def quantity(text: str) -> str:
    """A number in the text: `[+]MODEL DEFENSE[~] TASK NAME`, with `+` as the difference from the undefended twin on the
    common seeds.

    NAME is one of `SHORT`, `clean` and, without `+`, `certified`, `operations` (FLOPs ratio). Of several rows of a
    method the one with most seeds and tuned values is meant, with `~` the last one.
    """
    model, defense, task, name = text.removeprefix("+").split()
    cells = rows_of(task, model, defense.removesuffix("~"))[-1 if defense.endswith("~") else 0]

    def value(of: pd.DataFrame) -> float:
        if name in SHORT:
            return under(of, SHORT[name]) or 0.0
        if name == "certified":
            return under(of, RANKED[task], "certified_accuracy") or 0.0
        return mean(of, {"clean": "clean_accuracy", "operations": "flops_ratio"}[name])

    if text.startswith("+"):
        wanted = CLEAN if name == "clean" else Quantity(SHORT[name])
        return f"{100 * gain(cells, wanted):+.1f}".replace("-", "−")
    return f"{value(cells):.2f}" if name == "operations" else per_cent(value(cells))

"""Tables for figures: forty rows like those of a release, hundreds of rows, and odd ones."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
from synthetic_records import failed_gate, make_record

from recgauntlet.leaderboard.build import build_table
from recgauntlet.leaderboard.flags import Flag
from recgauntlet.leaderboard.schema import Row, TaskTable, ThreatCells
from recgauntlet.metrics.bootstrap import Estimate, shared_ranks
from recgauntlet_site.families import DEFENSES, MODELS, OURS

HEBREW = "שלום"
HOSTILE = "_$<script>&\"'"
REVERSED = "pgd\u202etxet"
LONG = "w" * 100


def table_of(*options: dict[str, object], seeds: int = 3) -> TaskTable:
    """The one table of records made with each of `options`, over several seeds."""
    records = [make_record(seed=seed, **given) for given in options for seed in range(seeds)]  # type: ignore[arg-type]
    (table,) = build_table(records)
    return table


def few_rows() -> TaskTable:
    """The undefended twin, two defenses, and a fourth row that is not ranked."""
    return table_of(
        {"further": True},
        {
            "defense": "fgm",
            "ratio": 1.2,
            "clean": 0.8,
            "threats": {"stuffing": (0.7, 0.62, 0.6), "embedding": (0.6, 0.5, 0.4)},
            "further": True,
        },
        {"defense": "pgd", "ratio": 1.5, "clean": 0.7, "further": True},
        {"defense": "flat", "ratio": 1.1, "clean": 0.5, "gates": (failed_gate(),), "further": True},
    )


def many_rows(foreign: int = 0) -> TaskTable:
    """All our models undefended, all our defenses on one model, and `foreign` defenses of another distribution: two
    rows of records, renamed and shifted."""
    base = table_of(
        {"further": True, "threats": {"swap": (0.68, 0.6, 0.4), "embedding": (0.6, 0.5, 0.2)}},
        {
            "defense": "pgd",
            "ratio": 1.5,
            "further": True,
            "threats": {"swap": (0.7, 0.62, 0.5), "embedding": (0.7, 0.6, 0.4)},
        },
    )
    plain, defended = sorted(base.rows, key=lambda row: row.defense.name == "pgd")
    names = [("nrms", name) for family in DEFENSES.values() for name in family]
    names += [(name, "standard") for family in MODELS.values() for name in family if name != "nrms"]
    names += [("nrms", f"theirs-{number}") for number in range(foreign)]
    rng = random.Random(7)
    rows = [_renamed(plain if name == "standard" else defended, model, name, rng) for model, name in names]
    rows = [replace(row, flags=(_FLAG,)) if number % 9 == 4 else row for number, row in enumerate(rows)]
    return replace(base, rows=_ranked(rows))


_FLAG = Flag("failed-gate", "failed check: x", "It failed.", True)


def _renamed(row: Row, model: str, defense: str, rng: random.Random) -> Row:
    moved = 0.0 if (model, defense) == ("nrms", "standard") else rng.uniform(-0.12, 0.06)
    lost = 0.0 if (model, defense) == ("nrms", "standard") else rng.uniform(-0.35 if model != "nrms" else -0.1, 0.12)
    ratio = None if defense == "standard" else round(rng.choice([1.0, 1.0, 1.1, 1.3, 1.7, 2.4, 4.1, 9.5]), 2)
    return replace(
        row,
        model=row.model.model_copy(update={"name": model}),
        defense=row.defense.model_copy(
            update={"name": defense, "distribution": "theirs" if defense.startswith("theirs") else OURS}
        ),
        clean=_moved(row.clean, moved),
        clean_by_seed=tuple(_inside(value + moved) for value in row.clean_by_seed),
        threats=tuple(_threat(cells, lost, model) for cells in row.threats),
        cost=replace(row.cost, flops_ratio=ratio, seconds_ratio=ratio),
    )


def _threat(cells: ThreatCells, by: float, model: str) -> ThreatCells:
    if cells.threat == "embedding" and model in MODELS["collaborative"]:
        return replace(cells, applicable=False, cells=(), curve=())
    return replace(
        cells,
        cells=tuple(
            replace(cell, robust=_moved(cell.robust, by), by_seed=tuple(_inside(v + by) for v in cell.by_seed))
            for cell in cells.cells
        ),
        curve=tuple(replace(p, accuracy=_moved(p.accuracy, by if n else 0.0)) for n, p in enumerate(cells.curve)),
    )


def _moved(estimate: Estimate, by: float) -> Estimate:
    return Estimate(_inside(estimate.value + by), _inside(estimate.low + by), _inside(estimate.high + by))


def _inside(share: float) -> float:
    return min(1.0, max(0.0, share))


def _ranked(rows: list[Row]) -> tuple[Row, ...]:
    able = [row for row in rows if not row.flags]
    worst = [row.worst_cell.robust for row in able if row.worst_cell is not None]
    values = np.array([estimate.value for estimate in worst])
    better = np.array([[own.low > other.high for other in worst] for own in worst])
    ranked = [replace(row, rank=rank) for row, rank in zip(able, shared_ranks(values, better), strict=True)]
    return (*sorted(ranked, key=lambda row: row.rank or 0), *(replace(row, rank=None) for row in rows if row.flags))


def _costing(table: TaskTable, ratios: dict[str, float]) -> TaskTable:
    costs = {row.defense.name: replace(row.cost, flops_ratio=ratios.get(row.defense.name)) for row in table.rows}
    return replace(table, rows=tuple(replace(row, cost=costs[row.defense.name]) for row in table.rows))


def odd_tables() -> dict[str, TaskTable]:
    """Tables with little in them, or with values and names at the ends of what there can be."""
    swapped: dict[str, object] = {"model": HEBREW, "further": True}
    return {
        "no row": table_of({"failure": "lost"}),
        "one row": table_of({"further": True}),
        "all unranked": table_of({"further": True}, {"defense": "pgd", "ratio": 1.4, "further": True}, seeds=1),
        "values 0 and 1": table_of(
            {"clean": 1.0, "threats": {"stuffing": (1, 1, 1), "embedding": (1, 1, 1)}, "further": True},
            {
                "defense": "pgd",
                "clean": 0.0,
                "ratio": 40.0,
                "threats": {"stuffing": (0, 0, 0), "embedding": (0, 0, 0)},
                "further": True,
            },
        ),
        "costs": _costing(few_rows(), {"fgm": 1e300, "pgd": 1e-300, "flat": 2.0}),
        "names": table_of(
            swapped,
            *(
                {**swapped, "defense": name, "ratio": 1.5}
                for name in (HOSTILE, REVERSED, LONG, f"{HEBREW}_x", "漢字" * 50)
            ),
            {"model": HOSTILE, "threats": {"stuffing": None, "embedding": (0.6, 0.5, 0.4)}},
        ),
    }

"""The tables as CSV: one line a row, numbers unrounded, the same for the page and for `recgauntlet table`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING

from recgauntlet.core.card import TIERS
from recgauntlet.core.errors import RecordError
from recgauntlet.core.escape import csv_cell
from recgauntlet.leaderboard.address import Board, row_id
from recgauntlet.leaderboard.compare import against_twins
from recgauntlet.leaderboard.paper_table import CATALOG, NUMBERS, POPULAR, quantities_of
from recgauntlet.leaderboard.schema import Row, TaskTable, ThreatCells
from recgauntlet.leaderboard.selection import Selection, select
from recgauntlet.metrics.bootstrap import Estimate

if TYPE_CHECKING:
    import pandas as pd

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
"""Column name of a field of a ranking or a promotion, where it differs from the field's name."""
_PLUGINS = [f"{plugin}{part}" for plugin in ("model", "defense") for part in ("", "_version", "_hyperparameters")]
_TABLE = ("task", "version", "track", "simulated", "suite")
IDENTITY = (*_TABLE, *_PLUGINS, "seeds", "examples", "release", "release_sha256")
"""Columns that every CSV has, whichever columns are chosen."""


def to_csv(tables: Sequence[TaskTable]) -> bytes:
    """One line a row of any table; a column is empty for a row that has no value in it."""
    return _written(_frame(tables, {}))


def csv_of(board: Board, chosen: Selection, columns: Sequence[str] | None = None) -> bytes:
    """The chosen rows as CSV, with all tiers where none is chosen.

    Beside the page's columns it has the release and `p_twin`: the p of the paired test of `against_twins` for
    every accuracy in it. `columns` keeps the columns whose name before the first colon is in it, beside `IDENTITY`.

    Raises RecordError where one of `columns` does not exist, or no row is chosen.
    """
    tables = {table.setting: table for table in board.tables}
    shown = select(board.tables, chosen)
    tiers = chosen.shown_tiers if chosen.tiers else TIERS
    further: dict[str, dict[str, Value]] = {}
    for table in shown:
        wanted = quantities_of(table, tiers, ("clean_accuracy", "robust_accuracy"))
        for (own, quantity), p in against_twins(board, tables[table.setting], table, wanted).items():
            name = f"{quantity.threat}:{quantity.tier}" if quantity.threat else "clean"
            further.setdefault(own, {})[f"p_twin:{name}"] = p
        for row in table.rows:
            further.setdefault(row_id(table, row), {}).update(release=board.name, release_sha256=board.digest)
    frame = _frame(shown, further)
    names = frame.columns.str.partition(":").get_level_values(0)
    for name in columns or ():
        if name not in names:
            known = ", ".join(sorted(set(names)))
            raise RecordError(f"there is no column {name!r}", field="--columns", remedy=f"there are: {known}")
    return _written(frame if columns is None else frame.loc[:, names.isin([*columns, *IDENTITY])])


def _frame(tables: Sequence[TaskTable], further: Mapping[str, Mapping[str, Value]]) -> pd.DataFrame:
    """The rows with their values, as they are written; `further` has more values of a row, by its id (`row_id`)."""
    import pandas as pd

    lines = [{**_line(table, row), **further.get(row_id(table, row), {})} for table in tables for row in table.rows]
    cells = [{csv_cell(name): csv_cell(value) for name, value in line.items()} for line in lines]
    return pd.DataFrame(cells, dtype=object)  # object: whole numbers stay whole in columns with empty cells


def _written(frame: pd.DataFrame) -> bytes:
    text: str = frame.to_csv(index=False, lineterminator="\n")
    return text.encode()


def _line(table: TaskTable, row: Row) -> dict[str, Value]:
    line: dict[str, Value] = {
        "task": table.task,
        "version": table.version,
        "track": table.track,
        "simulated": str(table.simulated).lower(),
        "suite": table.suite.id,
        "rank": row.rank,
        "rank:low": row.rank_range.low if row.rank_range else None,
        "rank:high": row.rank_range.high if row.rank_range else None,
        "p_best": row.rank_range.best if row.rank_range else None,
        "model": row.model.name,
        "model_version": row.model.version,
        "model_hyperparameters": json.dumps(row.model.hyperparameters, sort_keys=True),
        "defense": row.defense.name,
        "defense_version": row.defense.version,
        "defense_hyperparameters": json.dumps(row.defense.hyperparameters, sort_keys=True),
        "seeds": " ".join(map(str, row.seeds)),
        "examples": table.examples_of(row),
        "flags": "; ".join(flag.title for flag in row.flags),
        **_interval("clean_accuracy", row.clean),
        "worst_threat": row.worst,
    }
    if row.worst_cell is not None:
        line |= _interval("worst_robust_accuracy", row.worst_cell.robust)
    for tier in TIERS:
        for cells in row.threats:
            cell = cells.at(tier)
            if cell is not None:
                line |= _interval(f"robust_accuracy:{cells.threat}:{tier}", cell.robust)
                line |= _interval(f"retained:{cells.threat}:{tier}", cell.retained)
                if cell.attack_success is not None:
                    line |= _interval(f"attack_success:{cells.threat}:{tier}", cell.attack_success)
                if cell.certified is not None:
                    line |= _interval(f"certified_accuracy:{cells.threat}:{tier}", cell.certified)
                elif table.certifies(cells.threat, tier):
                    line[f"certified_accuracy:{cells.threat}:{tier}"] = "not applicable"
            elif not cells.applicable:
                line[f"robust_accuracy:{cells.threat}:{tier}"] = "not applicable"
    for cells in row.threats:
        line |= _further(cells)
        line |= _naturalness(cells)
    line |= _ads(row)
    line |= _poisoning(row)
    numbers = NUMBERS | (POPULAR if row.popular_quality else {}) | (CATALOG if row.catalog_quality else {})
    return line | {name: value_of(row) for name, (_, value_of, _) in numbers.items()}


def _further(cells: ThreatCells) -> dict[str, Value]:
    """Curve, ranking under attack and exposure; empty where the row has none."""
    line: dict[str, Value] = {}
    for point in cells.curve:
        characters = f"/{point.characters}" if point.characters else ""
        line |= _interval(f"curve_accuracy:{cells.threat}:{point.amount:g}{characters}", point.accuracy)
    for part in (cells.ranking, cells.promotion):
        if part is not None:
            for field in fields(part):
                value = getattr(part, field.name)
                if field.name == "catalog":
                    continue
                name = f"{COLUMNS.get(field.name, field.name)}:{cells.threat}"
                line |= _interval(name, value) if isinstance(value, Estimate) else {name: value}
    if cells.promotion is not None and (among_all := cells.promotion.catalog) is not None:
        for part_of, name in COLUMNS.items():
            if part_of.startswith("exposure"):
                line |= _interval(f"{name}_catalog:{cells.threat}", getattr(among_all, part_of))
    return line


def _naturalness(cells: ThreatCells) -> dict[str, Value]:
    """How natural the edits of texts are; empty where the row has none."""
    natural = cells.naturalness
    if natural is None:
        return {}
    line: dict[str, Value] = {}
    for name, stay in (("stay_broken", natural.of_any), ("stay_broken_as_found", natural.found)):
        if stay is not None and stay.share is not None:
            line |= _interval(f"{name}:{cells.threat}:{natural.tier}", stay.share)
    for attack in natural.attacks:
        place = f"{cells.threat}:{natural.tier}:{attack.attack}"
        line[f"edits:{place}"] = attack.edits
        line[f"words_changed:{place}"] = attack.words
        line[f"characters_changed:{place}"] = attack.characters
        if natural.of_any is not None:
            line[f"perplexity_ratio:{place}"] = attack.perplexity_ratio
            line[f"cosine:{place}"] = attack.cosine
            line[f"natural_edits:{place}"] = attack.natural
    return line


def _ads(row: Row) -> dict[str, Value]:
    """The exposure of simulated ads that is kept; empty where the row has none."""
    line: dict[str, Value] = {}
    for tier in row.ads.tiers if row.ads else ():
        line |= _interval(f"exposure_kept:{row.ads.threat}:{tier.tier}", tier.exposure) if row.ads else {}
    return line


def _poisoning(row: Row) -> dict[str, Value]:
    """Robust accuracy and win rates under attacks on training data; empty where the row has none."""
    spread, line = row.poisoning_range, dict[str, Value]()
    if row.poisoning:
        line = {
            "poisoning_rank": row.poisoning_rank,
            "poisoning_rank:low": spread.low if spread else None,
            "poisoning_rank:high": spread.high if spread else None,
            "poisoning_p_best": spread.best if spread else None,
        }
    for one in row.poisoning:
        for tier in TIERS:
            at = one.at(tier)
            name = f"poisoned_accuracy:{one.threat}:{tier}"
            line |= {name: "not run"} if one.reason else _interval(name, at.robust) if at is not None else {}
        for training in one.trainings:
            place = f"{one.threat}:{training.attack}:{training.tier}"
            for found in training.sets:
                line |= _interval(f"poisoned_exposure@10:{place}:{found.targets}", found.exposure10.value)
                line |= _interval(f"poisoned_exposure@50:{place}:{found.targets}", found.exposure50.value)
                line |= _interval(f"poisoned_win_rate:{place}:{found.targets}", found.win_rate.value)
            line |= _interval(f"poisoned_clean_accuracy:{place}", training.accuracy.value)
            line |= _interval(f"poisoned_ndcg@10:{place}", training.ndcg10.value)
    return line


def _interval(name: str, estimate: Estimate) -> dict[str, Value]:
    return {name: estimate.value, f"{name}:low": estimate.low, f"{name}:high": estimate.high}

"""A table for a paper: chosen rows and columns of a leaderboard table, with what is best, tied and significant marked.

Built from the same `TaskTable` as the page; `paper_table_text` writes it in LaTeX, Markdown and HTML.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import cast

from recgauntlet.core.card import Tier
from recgauntlet.core.escape import shortened
from recgauntlet.core.names import shown as shown_name
from recgauntlet.leaderboard.absence import absence
from recgauntlet.leaderboard.address import Board, RowAt, row_id
from recgauntlet.leaderboard.compare import PValues, against_twins
from recgauntlet.leaderboard.paired import CLEAN, Part, Quantity, quantities, ranks_of
from recgauntlet.leaderboard.schema import Cell, Row, TaskTable
from recgauntlet.leaderboard.selection import Selection, select
from recgauntlet.metrics.bootstrap import Estimate
from recgauntlet.metrics.significance import stars
from recgauntlet.records.schema import RunRecord

Number = Callable[[Row], float | None]
NUMBERS: dict[str, tuple[str, Number, str]] = {
    "auc": ("AUC", lambda row: row.quality.auc, "{:.4f}"),
    "gauc": ("gAUC", lambda row: row.quality.gauc, "{:.4f}"),
    "impression_auc": ("AUC by impression", lambda row: row.quality.impression_auc, "{:.4f}"),
    "mrr": ("MRR", lambda row: row.quality.mrr, "{:.4f}"),
    "ndcg@5": ("nDCG@5", lambda row: row.quality.ndcg5, "{:.4f}"),
    "ndcg@10": ("nDCG@10", lambda row: row.quality.ndcg10, "{:.4f}"),
    "training_seconds": ("training, s", lambda row: row.cost.training_seconds, "{:.0f}"),
    "training_seconds_ratio": ("time ratio", lambda row: row.cost.seconds_ratio, "{:.2f}"),
    "training_flops": ("training, FLOPs", lambda row: row.cost.training_flops, "{:.3g}"),
    "training_flops_ratio": ("FLOPs ratio", lambda row: row.cost.flops_ratio, "{:.2f}"),
    "training_forwards": ("forward passes", lambda row: row.cost.forwards, "{:.3g}"),
    "training_backwards": ("backward passes", lambda row: row.cost.backwards, "{:.3g}"),
    "peak_memory_bytes": ("memory, bytes", lambda row: row.cost.peak_memory_bytes, "{:.3g}"),
    "parameters": ("parameters", lambda row: row.cost.parameters, "{:.3g}"),
    "inference_ms_per_1000": ("scoring 1,000, ms", lambda row: row.cost.inference_ms_per_1000, "{:.3g}"),
    "attack_seconds": ("attacks, s", lambda row: row.cost.attack_seconds, "{:.0f}"),
}
"""Columns of plain numbers: heading, value, format. Names are those of the CSV."""


def _popular(field: str) -> Number:
    return lambda row: None if row.popular_quality is None else getattr(row.popular_quality, field)


POPULAR: dict[str, tuple[str, Number, str]] = {
    "auc_popular": ("AUC, popular", _popular("auc"), "{:.4f}"),
    "gauc_popular": ("gAUC, popular", _popular("gauc"), "{:.4f}"),
    "impression_auc_popular": ("AUC by impression, popular", _popular("impression_auc"), "{:.4f}"),
    "mrr_popular": ("MRR, popular", _popular("mrr"), "{:.4f}"),
    "ndcg@5_popular": ("nDCG@5, popular", _popular("ndcg5"), "{:.4f}"),
    "ndcg@10_popular": ("nDCG@10, popular", _popular("ndcg10"), "{:.4f}"),
}
"""The same with unclicked candidates drawn by popularity, of tasks that have such."""


def _among_all(field: str) -> Number:
    return lambda row: None if row.catalog_quality is None else getattr(row.catalog_quality, field)


CATALOG: dict[str, tuple[str, Number, str]] = {
    "recall@10_catalog": ("recall@10, all items", _among_all("recall10"), "{:.4f}"),
    "ndcg@10_catalog": ("nDCG@10, all items", _among_all("ndcg10"), "{:.4f}"),
    "mrr_catalog": ("MRR, all items", _among_all("mrr"), "{:.4f}"),
}
"""The same among all items that the user never took, of tasks whose unclicked candidates are drawn."""
COLUMNS = (
    "rank",
    "p_best",
    "clean_accuracy",
    "robust_accuracy",
    "certified_accuracy",
    "retained",
    "attack_success",
    *NUMBERS,
    *POPULAR,
    *CATALOG,
)
DEFAULT = ("rank", "p_best", "clean_accuracy", "robust_accuracy", "training_flops_ratio")


@dataclass(frozen=True)
class Heading:
    """A column: its group (a threat's id, or "") and its heading."""

    group: str
    title: str


@dataclass(frozen=True)
class TableCell:
    """A cell: a text, or a number with its interval and marks. `tied` entries share its rank."""

    text: str
    low: str = ""
    high: str = ""
    best: bool = False
    tied: bool = False
    stars: str = ""


@dataclass(frozen=True)
class TableLine:
    """A row: its two names, what tells it from rows of the same names, whether the board refuses to rank it, and its
    cells."""

    model: str
    defense: str
    options: str
    unranked: bool
    entries: tuple[TableCell, ...]


@dataclass(frozen=True)
class PaperTable:
    """One table. `notes` are sentences for its caption, in which `@best` and `@tied` stand for how a renderer marks
    those. Nothing here is escaped."""

    release: str
    digest: str
    title: str
    label: str
    heads: tuple[Heading, ...]
    lines: tuple[TableLine, ...]
    notes: tuple[str, ...]


def build_paper_tables(board: Board, chosen: Selection, columns: Sequence[str] = DEFAULT) -> tuple[PaperTable, ...]:
    """One paper table for each table of the board in which something is chosen; RecordError where nothing is.

    In each column of accuracies the best is marked, and entries that share its rank by the rule of the leaderboard's
    ranks (`paired.ranks_of`). Rows that the board refuses to rank (a failed check, too few seeds) are shown
    and compete for nothing.
    """
    tables = {table.setting: table for table in board.tables}
    return tuple(
        _paper_table(board, tables[shown.setting], shown, chosen, columns) for shown in select(board.tables, chosen)
    )


def quantities_of(table: TaskTable, tiers: Sequence[Tier], columns: Collection[str]) -> tuple[Quantity, ...]:
    """The accuracies that `columns` show."""
    return tuple(
        q for q in quantities(table, tiers) if ("robust_accuracy" if q.threat else "clean_accuracy") in columns
    )


def options_apart(row: Row, table: TaskTable) -> list[str]:
    """What tells a row from others of the same model and defense: the options in which they differ."""
    alike = table.named(row.model.name, row.defense.name)
    found = []
    for own, others in ((row.model, [o.model for o in alike]), (row.defense, [o.defense for o in alike])):
        if len({(other.distribution, other.version) for other in others}) > 1:
            found.append(f"{own.distribution} {own.version}")
        for name, value in sorted(own.hyperparameters.items()):
            if any(other.hyperparameters.get(name) != value for other in others):
                found.append(f"{name} = {f'{value:g}' if isinstance(value, float) else value}")
    return found


def _paper_table(
    board: Board, table: TaskTable, shown: TaskTable, chosen: Selection, columns: Sequence[str]
) -> PaperTable:
    tiers = chosen.shown_tiers
    p_values = against_twins(board, table, shown, quantities_of(shown, tiers, columns))
    unranked = [table.ranked and any(flag.blocks_rank for flag in row.flags) for row in shown.rows]
    filled = [column for name in columns for column in _columns(name, board, shown, tiers, p_values, unranked)]
    lines = tuple(
        TableLine(
            model=row.model.name,
            defense=shown_name("defense", row.defense.name),
            options=", ".join(options_apart(row, shown)),
            unranked=out,
            entries=tuple(entries[place] for _, entries in filled),
        )
        for place, (row, out) in enumerate(zip(shown.rows, unranked, strict=True))
    )
    return PaperTable(
        release=board.name,
        digest=board.digest,
        title=f"{shortened(table.task)} (version {table.version}, {table.track} track)",
        label=f"tab:recgauntlet-{table.task}-{table.track}",
        heads=tuple(head for head, _ in filled),
        lines=lines,
        notes=_notes(board, shown, tiers, columns, tests=len(p_values), unranked=any(unranked)),
    )


def _columns(
    name: str, board: Board, shown: TaskTable, tiers: Sequence[Tier], p_values: PValues, unranked: Sequence[bool]
) -> list[tuple[Heading, list[TableCell]]]:
    """The column `name`, or the columns where there is one a threat and tier."""
    rows = shown.rows
    records = [RowAt(board, shown, row).records for row in rows]
    if name == "rank":
        return [(Heading("", "rank"), [_rank(row, shown) for row in rows])]
    if name == "p_best":
        places = [row.rank_range for row in rows]
        return [(Heading("", "P(best)"), [TableCell(place.best_percent if place else "–") for place in places])]
    if name == "clean_accuracy":
        marks = _stars(rows, shown, CLEAN, p_values)
        return [(Heading("", "clean"), _accuracies([row.clean for row in rows], records, CLEAN, marks, unranked))]
    plain = NUMBERS | POPULAR | CATALOG
    if name in plain:
        title, value_of, form = plain[name]
        return [
            (Heading("", title), [TableCell("–" if (v := value_of(row)) is None else form.format(v)) for row in rows])
        ]
    found = []
    for threat in shown.threats:
        for tier in tiers:
            if name == "certified_accuracy" and not shown.certifies(threat.id, tier):
                continue
            cells = [None if (under := row.under(threat.id)) is None else under.at(tier) for row in rows]
            if name == "attack_success":
                found.append((Heading(threat.id, f"{shown_name('tier', tier)}, attack success"), _successes(cells)))
                continue
            quantity = Quantity(threat.id, tier, cast("Part", name.removesuffix("_accuracy")))
            estimates = [getattr(cell, quantity.part) if cell else None for cell in cells]
            robust = quantity.part == "robust"
            marks = _stars(rows, shown, quantity, p_values) if robust else [""] * len(rows)
            absent = ["n/a" if quantity.part == "certified" else _absent(row, threat.id) for row in rows]
            filled = zip(_accuracies(estimates, records, quantity, marks, unranked), absent, strict=True)
            entries = [entry if entry.text else TableCell(text) for entry, text in filled]
            title = shown_name("tier", tier) if robust else f"{shown_name('tier', tier)}, {quantity.part}"
            found.append((Heading(threat.id, title), entries))
    return found


def _stars(rows: Sequence[Row], table: TaskTable, quantity: Quantity, p_values: PValues) -> list[str]:
    return [stars(p_values.get((row_id(table, row), quantity), 1.0)) for row in rows]


def _accuracies(
    values: Sequence[Estimate | None],
    records: Sequence[Sequence[RunRecord]],
    quantity: Quantity,
    marks: Sequence[str],
    unranked: Sequence[bool],
) -> list[TableCell]:
    """Cells of one column in per cent, the best among the rows that compete marked."""
    able = {n: value for n, value in enumerate(values) if value is not None and not unranked[n]}
    shares = [value.value for value in able.values()]
    found = ranks_of(shares, [records[n] for n in able], [quantity] * len(able))
    ranks = dict(zip(able, found, strict=True)) if len(able) > 1 else {}
    top = max((value.value for value in able.values()), default=None)
    if all(value.value == top for value in able.values()):
        ranks = {}  # no entry is best where all are equal
    return [
        TableCell("")
        if value is None
        else TableCell(
            _percent(value.value),
            _percent(value.low),
            _percent(value.high),
            best=ranks.get(place) == 1 and value.value == top,
            tied=ranks.get(place) == 1 and value.value != top,
            stars=mark,
        )
        for place, (value, mark) in enumerate(zip(values, marks, strict=True))
    ]


def _notes(
    board: Board, table: TaskTable, tiers: Sequence[Tier], columns: Collection[str], *, tests: int, unranked: bool
) -> tuple[str, ...]:
    seeds = sorted({len(row.seeds) for row in table.rows})
    examples = sorted({table.examples_of(row) for row in table.rows}, reverse=True)
    count = "one seed" if seeds == [1] else f"{' to '.join(map(str, dict.fromkeys((seeds[0], seeds[-1]))))} seeds"
    notes = [
        "Accuracy in per cent with 95 % intervals (bootstrap over seeds and pairs); "
        f"{' or '.join(map(str, examples))} test examples, {count}."
    ]
    if "robust_accuracy" in columns and len(tiers) == 1:
        notes.append(f"Threats at the {shown_name('tier', tiers[0])} tier.")
    if table.ranked and any(row.rank for row in table.rows) and not {"rank", "p_best"}.isdisjoint(columns):
        notes.append(
            "Rank among all ranked rows of the task; below or beside it its range (2.5 % to 97.5 % of the bootstrap's "
            "draws). P(best): the draws in which the row is first, in per cent."
        )
    diagnostic = [shortened(threat.id) for threat in table.threats if not threat.ranked]
    if diagnostic and "robust_accuracy" in columns:
        notes.append(f"Not ranked: {', '.join(diagnostic)}.")
    if not table.ranked:
        notes.append(f"{'Simulated data' if table.simulated else 'Demo track'}: never ranked, and no result.")
    if len(table.rows) > 1:
        notes.append("@best: the highest of its column; @tied: not told from the highest by the paired test.")
    if tests:
        notes.append(
            "*, **, ***: differs from its undefended twin, p at most 0.05, 0.01, 0.001 (paired bootstrap over seeds "
            f"and pairs, the test of the ranks; not corrected for the {tests} comparisons of this table)."
        )
    if unranked:
        notes.append("†: not ranked by the board, whose flags say why; competes for nothing here.")
    state = f"release {board.name}" if board.frozen else f"records of {board.name} (not a frozen release)"
    notes.append(f"RecGauntlet, suite {table.suite.id} {table.suite.version}, {state}, SHA-256 {board.digest[:16]}.")
    return tuple(notes)


def _successes(cells: Sequence[Cell | None]) -> list[TableCell]:
    """Attack success on what was attackable, in per cent; nothing is marked, because less is better."""
    found = [cell.attack_success if cell else None for cell in cells]
    return [TableCell(_percent(s.value), _percent(s.low), _percent(s.high)) if s else TableCell("–") for s in found]


def _rank(row: Row, table: TaskTable) -> TableCell:
    """The rank with its range."""
    if row.rank is None or row.rank_range is None:
        return TableCell("–")
    shared = "=" if sum(other.rank == row.rank for other in table.rows) > 1 else ""
    return TableCell(f"{row.rank}{shared}", str(row.rank_range.low), str(row.rank_range.high))


def _absent(row: Row, threat: str) -> str:
    why = absence(row, threat)
    return "n/a" if why == "not applicable" else why


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"

"""What the pages of one table show: the table, its columns and filters, its pictures, and attacks that were found."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import Any

from recgauntlet.core.card import RANKING_TIER, TaskCard, TrackCard
from recgauntlet.leaderboard.address import row_anchor, slug
from recgauntlet.leaderboard.flags import Flag
from recgauntlet.leaderboard.paper_table import options_apart
from recgauntlet.leaderboard.schema import Row, TaskTable, ThreatCells, ThreatColumn
from recgauntlet.records.schema import Evidence, RunRecord
from recgauntlet_site import words
from recgauntlet_site.columns import Column, columns_of, device_kind
from recgauntlet_site.families import defense_family, model_family
from recgauntlet_site.pictures import Picture, pictures_of
from recgauntlet_site.pictures.palette import SERIES
from recgauntlet_site.pictures.security_curves import axis, budgets, curves, point_at

MOST_EXAMPLES = 8
"""Attacks that a task's page shows."""
MANY = 300
"""Rows from which on a browser lays out only those of a table that are on the screen, in columns of fixed widths."""
FACTS = ("models", "defenses", "device", "notes")
"""What rows are filtered by, in the order in which a row says it."""


@dataclass(frozen=True)
class Filter:
    """A choice that hides rows: its `name` in the address, its title, and what may be chosen. `fact` is the place of
    what it compares in a row's facts; None where it chooses among tables."""

    name: str
    title: str
    choices: tuple[str, ...]
    fact: int | None


@dataclass(frozen=True)
class Example:
    """An attack that was found: the input before and after, in parts of which some are marked as removed or added."""

    threat: str
    tier: str
    attack: str
    model: str
    defense: str
    clean_score: float
    score: float
    candidate: str
    joint: str
    before: tuple[tuple[str, bool], ...]
    after: tuple[tuple[str, bool], ...]


@dataclass(frozen=True)
class Place:
    """Where a table is shown: its anchor on the start page and the path of its own."""

    anchor: str
    path: str


@dataclass(frozen=True)
class Section:
    """One table's part of the site. `card` is None where the task is not installed (or has changed since)."""

    number: int
    anchor: str
    table: TaskTable
    card: TaskCard | None
    headline: str
    examples: tuple[Example, ...]
    apart: tuple[tuple[Place, str], ...] = ()
    """Other tables of the same task and track, each with why it is not one table with this."""

    @property
    def path(self) -> str:
        """The path of the task's page."""
        return f"tasks/{self.anchor}.html"

    @property
    def downloads(self) -> str:
        """The path of the table's files, without their ending."""
        return f"downloads/{self.anchor}"

    @property
    def title(self) -> str:
        """The card's title."""
        return self.card.title if self.card else self.table.task

    @property
    def track(self) -> TrackCard | None:
        """The card's words on the track."""
        return self.card.track(self.table.track) if self.card else None

    @property
    def models(self) -> list[str]:
        """The models' names, each once."""
        return sorted({row.model.name for row in self.table.rows})

    @property
    def defenses(self) -> list[str]:
        """The defenses' names, each once."""
        return sorted({row.defense.name for row in self.table.rows})

    @property
    def seeds(self) -> list[int]:
        """All seeds of the rows."""
        return sorted({seed for row in self.table.rows for seed in row.seeds})

    @cached_property
    def columns(self) -> tuple[Column, ...]:
        """The columns of the task's table."""
        return columns_of(self.table)

    @property
    def groups(self) -> list[tuple[str, list[Column]]]:
        """The columns as they are chosen."""
        order = list(dict.fromkeys(column.group for column in self.columns))
        return [(group, [column for column in self.columns if column.group == group]) for group in order]

    @property
    def sorts(self) -> list[tuple[str, str]]:
        """What a table on a narrow screen, which has no heads, can be sorted by."""
        return [(column.key, f"{column.head} {column.note}".strip()) for column in self.columns if column.shown]

    @property
    def filters(self) -> tuple[Filter, ...]:
        """What hides rows of this table."""
        return filters_of([self])

    def row_path(self, row: Row) -> str:
        """The path of the row's page."""
        return f"rows/{self.anchor_of(row)}.html"

    def anchor_of(self, row: Row) -> str:
        """The row's permanent anchor."""
        return self._anchors[id(row)]

    @cached_property
    def _anchors(self) -> dict[int, str]:
        """The anchor of each row of the table, by its identity: pages ask for one hundreds of times."""
        return {id(row): row_anchor(self.table, row) for row in self.table.rows}

    @property
    def many(self) -> bool:
        """Whether the table is too long to be laid out whole."""
        return len(self.table.rows) >= MANY

    def options_of(self, row: Row) -> list[str]:
        """What tells the row from others of its names."""
        return self._options[id(row)]

    @cached_property
    def _options(self) -> dict[int, list[str]]:
        """The options of each row of the table, by its identity: pages ask for them hundreds of times."""
        return {id(row): options_apart(row, self.table) for row in self.table.rows}

    @property
    def several_ranked(self) -> bool:
        """Whether rows may be ranked by different threats."""
        return sum(column.ranked for column in self.table.threats) > 1

    @cached_property
    def pictures(self) -> tuple[Picture, ...]:
        """All pictures of the table, drawn when they are asked for."""
        return pictures_of(self.table, prefix=self.anchor)

    @property
    def curves(self) -> list[Picture]:
        """The security curves."""
        return [picture for picture in self.pictures if picture.kind == "security-curves"]

    @property
    def plots(self) -> list[Picture]:
        """All other pictures."""
        return [picture for picture in self.pictures if picture.kind != "security-curves"]

    def column(self, threat: str) -> ThreatColumn:
        """The threat of the table with this id."""
        return next(column for column in self.table.threats if column.id == threat)

    @property
    def curve_data(self) -> dict[str, Any]:
        """The security curves for a script: accuracies in per cent by threat and row."""
        threats = []
        for column in self.table.threats:
            steps = budgets(self.table, column)
            if not steps:
                continue
            by_characters = not any(step.amount for step in steps)
            rows = {}
            for row, points in curves(self.table, column):
                at = [point_at(points, step) for step in steps]
                rows[row_anchor(self.table, row)] = [p and round(100 * p.accuracy.value, 2) for p in at]
            amounts = [float(step.characters if by_characters else step.amount) for step in steps]
            threats.append({"axis": axis(column, by_characters), "amounts": amounts, "rows": rows})
        names = {row_anchor(self.table, row): words.visible(words.row_name(row)) for row in self.table.rows}
        return {"threats": threats, "names": names, "colours": SERIES}

    @property
    def ranked_lists(self) -> list[tuple[ThreatColumn, list[tuple[Row, ThreatCells]]]]:
        """The threats under which rankings or exposure were measured, each with the rows that have them."""
        return self._having(lambda cells: cells.ranking is not None or cells.promotion is not None)

    @property
    def promoted(self) -> bool:
        """Whether any row has exposure."""
        return any(cells.promotion is not None for row in self.table.rows for cells in row.threats)

    @property
    def ablations(self) -> list[tuple[ThreatColumn, list[tuple[Row, ThreatCells]]]]:
        """The threats whose attacks were run one by one, each with the rows that have them."""
        return self._having(lambda cells: bool(cells.ablation))

    @cached_property
    def _flag_ids(self) -> dict[tuple[Flag, ...], str]:
        sets = dict.fromkeys(row.flags for row in self.table.rows if row.flags)
        return {flags: f"{self.anchor}-flags{number}" for number, flags in enumerate(sets)}

    @property
    def flag_sets(self) -> list[tuple[str, tuple[Flag, ...]]]:
        """The flags of rows, each set once, with the id of its explanation."""
        return [(id_, flags) for flags, id_ in self._flag_ids.items()]

    def flags_id(self, row: Row) -> str:
        """The id of the explanation of the row's flags."""
        return self._flag_ids[row.flags]

    @cached_property
    def shared(self) -> frozenset[int]:
        """The ranks that more than one row has."""
        ranks = [row.rank for row in self.table.rows if row.rank is not None]
        return frozenset(rank for rank in ranks if ranks.count(rank) > 1)

    def _having(
        self, wanted: Callable[[ThreatCells], bool]
    ) -> list[tuple[ThreatColumn, list[tuple[Row, ThreatCells]]]]:
        found = []
        for column in self.table.threats:
            rows = [(row, c) for row in self.table.rows if (c := row.under(column.id)) is not None and wanted(c)]
            if rows:
                found.append((column, rows))
        return found


def sections_of(
    tables: Sequence[TaskTable],
    cards: Callable[[TaskTable], TaskCard | None],
    records: dict[str, RunRecord],
) -> list[Section]:
    """A section for each table, with an anchor of its own; `records` by their digests."""
    return [
        Section(
            number=number,
            anchor=anchor,
            table=table,
            card=cards(table),
            headline=words.headline(table),
            examples=tuple(_examples(table, records)),
        )
        for number, (table, anchor) in enumerate(zip(tables, _anchors_of(tables), strict=True))
    ]


def _anchors_of(tables: Sequence[TaskTable]) -> list[str]:
    taken: list[str] = []
    for table in tables:
        name = anchor = f"{slug(table.task)}-{table.track}"
        copy = 2
        while anchor in taken:
            anchor, copy = f"{name}-{copy}", copy + 1
        taken.append(anchor)
    return taken


def facts_of(table: TaskTable, row: Row) -> tuple[str, ...]:
    """What a row is filtered by, in the order of FACTS."""
    if row.rank is not None:
        notes = "ranked"
    else:
        notes = "not ranked, flagged" if any(flag.blocks_rank for flag in row.flags) else "not ranked"
    return (model_family(row.model), defense_family(row.defense), device_kind(row), notes)


def filters_of(sections: Sequence[Section]) -> tuple[Filter, ...]:
    """What hides rows of several tables."""
    titles = {"models": "Models", "defenses": "Defenses", "device": "Ran on", "notes": "Rank"}
    found = [facts_of(section.table, row) for section in sections for row in section.table.rows]
    return tuple(
        Filter(name, titles[name], tuple(sorted({facts[place] for facts in found})), place)
        for place, name in enumerate(FACTS)
    )


def coded(filters: Sequence[Filter], section: Section, row: Row) -> str:
    """What the row is filtered by: for each of FACTS, the place of its value among the choices of `filters`."""
    choices = {filter_.fact: filter_.choices for filter_ in filters}
    return " ".join(str(choices[n].index(fact)) for n, fact in enumerate(facts_of(section.table, row)))


def _examples(table: TaskTable, records: dict[str, RunRecord]) -> Iterator[Example]:
    """Attacks whose inputs may be shown, of many attacks and rows rather than of one."""
    found = [
        (record, evidence)
        for row in table.rows
        for source in row.sources[:1]
        for record in [records[source.digest]]
        for evidence in record.evidence
        if evidence.before
    ]
    found.sort(key=lambda pair: (pair[1].tier != RANKING_TIER, pair[1].attack, pair[0].defense.name != "standard"))
    chosen: list[tuple[RunRecord, Evidence]] = []
    for _, pairs in groupby(found, key=lambda pair: pair[1].attack):
        chosen += list(pairs)[:1]
    for record, evidence in chosen[:MOST_EXAMPLES]:
        before, after = sides(evidence)
        yield Example(
            evidence.threat,
            evidence.tier,
            evidence.attack,
            record.model.name,
            record.defense.name,
            evidence.clean_score,
            evidence.score,
            evidence.candidate,
            " · " if evidence.candidate else " ",
            before,
            after,
        )


def sides(evidence: Evidence) -> tuple[tuple[tuple[str, bool], ...], tuple[tuple[str, bool], ...]]:
    """The clean input with what was removed marked, and the perturbed one with what was added marked."""
    before: list[tuple[str, bool]] = []
    after: list[tuple[str, bool]] = []
    for at in range(len(evidence.before) + 1):
        here = [edit for edit in evidence.edits if edit.at == at]
        after += [(edit.title or edit.new, True) for edit in here if edit.op == "insert"]
        after += [(edit.title or edit.new, True) for edit in here if edit.op == "replace"]
        if at < len(evidence.before):
            gone = any(edit.op != "insert" for edit in here)
            before.append((evidence.before[at], gone))
            if not gone:
                after.append((evidence.before[at], False))
    return tuple(before), tuple(after)

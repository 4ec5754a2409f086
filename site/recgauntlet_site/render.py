"""Records in, the files of the leaderboard out: the page, its tables as CSV and JSON, and copies of the
records."""

from __future__ import annotations

import base64
import hashlib
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from recgauntlet.best_known import BestKnown
from recgauntlet.best_known_rows import with_best_known, without_record
from recgauntlet.board import row_anchor
from recgauntlet.card import TIERS, TaskCard, TrackCard
from recgauntlet.record import RunRecord
from recgauntlet.results import Results
from recgauntlet.rows import RANKING_TIER, FailedCell, Row, TaskTable, ThreatCells, ThreatColumn
from recgauntlet.sealed import to_bytes
from recgauntlet.sheet import options_apart
from recgauntlet.table import apart, build_table
from recgauntlet.table_csv import to_csv
from recgauntlet_site import words
from recgauntlet_site.export import to_json
from recgauntlet_site.pictures import clean_robust, security_curves, style_sheet
from recgauntlet_site.pictures.security_curves import axis, budgets, point_at

_LOOSE = (
    "is a best known attack on a model of which there is no record here",
    "challenged",
    "add the directory of its record with --results, or challenge the record that is here",
)
Cards = Callable[[TaskTable], TaskCard | None]


@dataclass(frozen=True)
class Picture:
    """A plot and what it says."""

    column: ThreatColumn
    svg: Markup
    description: str


@dataclass(frozen=True)
class Section:
    """One table's part of the page. `card` is None where the task is not installed (or has changed since)."""

    anchor: str
    table: TaskTable
    card: TaskCard | None
    track: TrackCard | None
    title: str
    headline: str
    pictures: tuple[Picture, ...]
    curves: tuple[Picture, ...]
    seeds: tuple[int, ...]
    apart: tuple[tuple[str, str], ...] = ()
    """The anchors of other tables of the same task and track, each with why it is not one table with this."""

    @property
    def models(self) -> list[str]:
        """The models' names, each once."""
        return sorted({row.model.name for row in self.table.rows})

    @property
    def defenses(self) -> list[str]:
        """The defenses' names, each once."""
        return sorted({row.defense.name for row in self.table.rows})

    @property
    def certified(self) -> list[str]:
        """The threats under which a row has a certified accuracy."""
        return [column.id for column in self.table.threats if self.table.certifies(column.id, RANKING_TIER)]

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

    def _having(
        self, wanted: Callable[[ThreatCells], bool]
    ) -> list[tuple[ThreatColumn, list[tuple[Row, ThreatCells]]]]:
        found = []
        for column in self.table.threats:
            rows = [(row, c) for row in self.table.rows if (c := row.under(column.id)) is not None and wanted(c)]
            if rows:
                found.append((column, rows))
        return found

    @property
    def shared(self) -> frozenset[int]:
        """The ranks that more than one row has."""
        ranks = [row.rank for row in self.table.rows if row.rank is not None]
        return frozenset(rank for rank in ranks if ranks.count(rank) > 1)


@dataclass(frozen=True)
class Unreadable:
    """A file that is no record that counts, and why."""

    path: str
    problem: str
    field: str
    remedy: str


def render_site(
    found: Sequence[tuple[str, Path, Results]], *, docs: str = "../../docs", cards: Cards = words.installed_card
) -> dict[str, bytes]:
    """The files of the page by their path below the output directory.

    `found` gives for each results directory its name, its path and what was read there. `cards` finds the
    card whose words a table's section shows. The same records give the same bytes, in whatever order or place
    they lie.
    """
    records = [(path, record) for _, _, results in found for path, record in results.records]
    copies = {record.digest: (_copy_name(record), path, record) for path, record in records}
    known = [(name, path, directory, one) for name, directory, r in found for path, one in r.best_known]
    loose = without_record([record for _, record in records], [one for *_, one in known])
    built = build_table([record for _, record in records])
    tables = with_best_known(built, [record for _, record in records], [one for *_, one in known])
    sections = _told_apart([_section(table, cards(table), number) for number, table in enumerate(tables)])
    broken = sorted(
        {
            Unreadable(
                f"{name}/{path.relative_to(directory).as_posix()}", error.problem, error.field or "", error.remedy
            )
            for name, directory, results in found
            for path, error in results.broken
        }
        | {
            Unreadable(f"{name}/{path.relative_to(directory).as_posix()}", *_LOOSE)
            for name, path, directory, one in known
            if one in loose
        },
        key=lambda unreadable: (unreadable.path, unreadable.problem),
    )
    environment = _environment()
    style, script = _asset("style.css") + style_sheet(), _asset("sort.js")
    page = environment.get_template("page.html.j2").render(
        sections=sections,
        broken=broken,
        links={digest: name for digest, (name, *_) in copies.items()},
        records=len(copies),
        names=sorted({name for name, _, _ in found}),
        docs=docs,
        style=Markup(style),
        style_hash=_csp_hash(style),
        script=Markup(script),
        script_hash=_csp_hash(script),
        versions=sorted({record.environment.recgauntlet for _, record in records}),
    )
    return {
        "index.html": page.encode(),
        "leaderboard.csv": to_csv(tables),
        "leaderboard.json": to_json(tables),
        **{name: _as_json(path, record) for _, (name, path, record) in sorted(copies.items())},
        **{_known_copy_name(one): _as_json(path, one) for _, path, _, one in known if one not in loose},
    }


def _section(table: TaskTable, card: TaskCard | None, number: int) -> Section:
    anchor = f"{words.slug(table.task)}-{table.track}-{number + 1}"
    pictures: list[Picture] = []
    curves: list[Picture] = []
    for column in table.threats:
        for found, picture in (
            (pictures, clean_robust(table, column, prefix=anchor)),
            (curves, security_curves(table, column, prefix=anchor)),
        ):
            if picture.rows:
                found.append(Picture(column, picture.svg, picture.description))
    return Section(
        anchor=anchor,
        table=table,
        card=card,
        track=card.track(table.track) if card else None,
        title=card.title if card else table.task,
        headline=words.headline(table),
        pictures=tuple(pictures),
        curves=tuple(curves),
        seeds=tuple(sorted({seed for row in table.rows for seed in row.seeds})),
    )


def _told_apart(sections: Sequence[Section]) -> list[Section]:
    """The sections, each saying why it is not one with another of its task."""
    others = apart([section.table for section in sections])
    return [
        replace(section, apart=tuple((sections[other].anchor, "; ".join(why)) for other, why in others[number]))
        for number, section in enumerate(sections)
    ]


def _as_json(path: Path, content: RunRecord | BestKnown) -> bytes:
    """The copy that a row links to: the very file, or what it unpacks to where it is packed (in a release)."""
    return path.read_bytes() if path.suffix == ".json" else to_bytes(content)


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("recgauntlet_site"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=_shown,
    )
    environment.filters.update(
        percent=words.percent,
        times=words.times,
        seconds=words.seconds,
        size=words.size,
        scalar=words.scalar,
        joined=words.joined,
        budget=words.budget,
        queries=words.queries,
        limits=words.limits,
        reason=_reason,
        quoted=shlex.quote,
    )
    environment.globals.update(
        TIERS=TIERS,
        RANKING_TIER=RANKING_TIER,
        SURFACES=words.SURFACE_WORDS,
        GOALS=words.GOAL_WORDS,
        unlike=options_apart,
        anchor=row_anchor,
        axis=axis,
        budgets=budgets,
        point_at=point_at,
    )
    return environment


def _shown(value: Any) -> Any:
    """What a template prints: foreign text cannot hide or reorder what stands around it."""
    return words.visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _reason(cell: FailedCell) -> str:
    """The line of a failed cell's message that says what went wrong, after the kind of error."""
    lines = [line.strip() for line in cell.message.splitlines() if line.strip()]
    last = next((line for line in reversed(lines) if not line.startswith("what to do:")), "")
    return last if last.startswith(f"{cell.kind}:") else f"{cell.kind}: {last}"


def _copy_name(record: RunRecord) -> str:
    """The path of a record's copy: readable, and its own whatever its names are."""
    parts = (record.model.name, record.defense.name, str(record.seed), record.digest[:10])
    return f"records/{words.slug(record.task.id)}-{record.task.track}/{'-'.join(map(words.slug, parts))}.json"


def _known_copy_name(known: BestKnown) -> str:
    """The path of a best known attack's copy, beside those of the records."""
    cell = known.challenged
    parts = ("best-known", known.attack.name, cell.model.name, cell.defense.name, str(cell.seed), known.digest[:10])
    return f"records/{words.slug(cell.task.id)}-{cell.task.track}/{'-'.join(map(words.slug, parts))}.json"


def _asset(name: str) -> str:
    return files("recgauntlet_site").joinpath("templates", name).read_text(encoding="utf-8")


def _csp_hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()

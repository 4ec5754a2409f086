"""Records in, the files of the leaderboard out: its pages, its tables as files, and copies of the records."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, TypeAdapter

from recgauntlet.core.card import TaskCard
from recgauntlet.leaderboard.address import Board, RowAt, Scope
from recgauntlet.leaderboard.best_known import with_best_known, without_record
from recgauntlet.leaderboard.build import apart, build_table
from recgauntlet.leaderboard.citation import cite, installed_card
from recgauntlet.leaderboard.paper_table import build_sheets
from recgauntlet.leaderboard.schema import TaskTable
from recgauntlet.leaderboard.selection import Selection
from recgauntlet.leaderboard.sheet_text import to_latex
from recgauntlet.leaderboard.table_csv import to_csv
from recgauntlet.metrics.bootstrap import LEVEL
from recgauntlet.records.best_known import BestKnown
from recgauntlet.records.digest import to_bytes
from recgauntlet.records.io import Results
from recgauntlet.records.release import Release as Frozen
from recgauntlet.records.release import open_manifest
from recgauntlet.records.schema import RunRecord
from recgauntlet_site import words
from recgauntlet_site.methods import by_family, method_pages
from recgauntlet_site.overview import overview_of
from recgauntlet_site.pictures import style_sheet
from recgauntlet_site.rendering import rendered
from recgauntlet_site.row_page import row_page
from recgauntlet_site.sections import Filter, Place, Section, coded, filters_of, sections_of

_LOOSE = (
    "is a best known attack on a model of which there is no record here",
    "challenged",
    "add the directory of its record with --results, or challenge the record that is here",
)
_ASSETS = {
    "assets/board.js": "templates/board.js",
    "assets/curves.js": "templates/curves.js",
    "assets/sort.js": "templates/sort.js",
    "assets/vendor/uPlot.iife.js": "vendor/uPlot.iife.min.js",
    "assets/vendor/uPlot.css": "vendor/uPlot.min.css",
    "assets/vendor/LICENSE-uplot.txt": "vendor/LICENSE-uplot.txt",
}
_STYLE = "assets/style.css"
JSON_FORMAT = "recgauntlet-tables-1"
_TABLES = TypeAdapter(tuple[TaskTable, ...], config=ConfigDict(ser_json_inf_nan="constants"))
Cards = Callable[[TaskTable], TaskCard | None]


@dataclass(frozen=True)
class Link:
    """An entry of the menu; `tag` is a short note behind it."""

    path: str
    name: str
    tag: str = ""


@dataclass(frozen=True)
class ReleaseLink:
    """Another release's leaderboard; `path` leads from this start page's directory to its start page."""

    name: str
    path: str
    current: bool = False


@dataclass(frozen=True)
class Unreadable:
    """A file that is no record that counts, and why."""

    path: str
    problem: str
    field: str
    remedy: str


def render_site(
    found: Sequence[tuple[str, Path, Results]],
    *,
    docs: str = "../../docs",
    cards: Cards = installed_card,
    releases: Sequence[ReleaseLink] = (),
) -> Iterator[tuple[str, bytes]]:
    """Render the files of the site: yields the path below the output directory and the content of each.

    `found` gives for each results directory its name, its path and what was read there. `cards` finds the card whose
    description a table's pages show; `releases` are the leaderboards that the pages link to. The same records give
    the same bytes, in whatever order or directory they lie. The start page comes last, after everything it links to.
    """
    records = [(path, record) for _, _, results in found for path, record in results.records]
    copies = {record.digest: (_copy_name(record), path, record) for path, record in records}
    known = [(name, path, directory, one) for name, directory, r in found for path, one in r.best_known]
    loose = without_record([record for _, record in records], [one for *_, one in known])
    tables = with_best_known(
        build_table([record for _, record in records]), [record for _, record in records], [one for *_, one in known]
    )
    by_digest = {record.digest: record for _, record in records}
    board = _board(found, tables, by_digest)
    sections = _told_apart(sections_of(tables, cards, by_digest))
    common = {
        "docs": docs,
        "menu": [_menu_link(section) for section in sections],
        "releases": list(releases),
        "links": {digest: name for digest, (name, *_) in copies.items()},
        "records": len(copies),
        "versions": sorted({record.environment.recgauntlet for _, record in records}),
    }
    methods = method_pages(sections)
    yield "about.html", rendered("about.html.j2", common, root="", here="about.html", sections=sections)
    for section in sections:
        for row in section.table.rows:
            yield section.row_path(row), row_page(common, section, RowAt(board, section.table, row), methods)
    for page in methods.values():
        yield page.path, rendered("method.html.j2", common, root="../", here=page.path, page=page)
    for address, name in _ASSETS.items():
        yield address, _asset(name)
    yield _STYLE, _asset("templates/style.css") + style_sheet().encode()
    yield "leaderboard.csv", to_csv(tables)
    for section in sections:
        yield from _task_files(common, section)
        yield from _downloads(board, section)
    for name, path, record in copies.values():
        yield name, _json_copy(path, record)
    for _, path, _, one in known:
        if one not in loose:
            yield _known_copy_name(one), _json_copy(path, one)
    yield "leaderboard.json", _as_json(tables)
    yield (
        "index.html",
        rendered(
            "start.html.j2",
            common,
            root="",
            here="index.html",
            filters=(on_start := _start_filters(sections)),
            facts=partial(coded, on_start),
            sections=sections,
            broken=_broken(found, known, loose),
            overview=overview_of(sections),
            methods=[(kind, by_family(methods.values(), kind)) for kind in ("model", "defense")],
        ),
    )


def _task_files(common: Mapping[str, Any], section: Section) -> Iterator[tuple[str, bytes]]:
    """The page of a table, its figures, and its CSV."""
    facts = partial(coded, section.filters)
    yield (
        section.path,
        rendered("task.html.j2", common, root="../", here=section.path, section=section, facts=facts),
    )
    for picture in section.pictures:
        yield f"figures/{picture.name}.svg", picture.as_svg()
        yield f"figures/{picture.name}.pdf", picture.as_pdf()
    if section.table.rows:
        yield f"{section.downloads}.csv", to_csv((section.table,))


def _as_json(tables: tuple[TaskTable, ...]) -> bytes:
    """Everything in the tables, unrounded; shares are between 0 and 1."""
    head = json.dumps({"format": JSON_FORMAT, "interval": LEVEL})
    return f'{head[:-1]}, "tables": '.encode() + _TABLES.dump_json(tables) + b"}\n"


def _json_copy(path: Path, content: RunRecord | BestKnown) -> bytes:
    """The file itself, or its JSON where it is compressed."""
    return path.read_bytes() if path.suffix == ".json" else to_bytes(content)


def _board(
    found: Sequence[tuple[str, Path, Results]], tables: tuple[TaskTable, ...], records: dict[str, RunRecord]
) -> Board:
    """The tables as what is cited: by the names of the directories, and a hash of all records."""
    name = "this-page"  # no name of a directory: records are the same wherever they lie
    digest, date, frozen = hashlib.sha256("\n".join(sorted(records)).encode()).hexdigest(), "", False
    if len(found) == 1 and (manifest := open_manifest(found[0][1])) is not None:
        name, date, frozen = manifest.name, manifest.date, True
        digest = Frozen(name, found[0][1], manifest, found[0][2]).digest or digest
    return Board(name, name, Path(name), frozen, date, digest, tables, records, Results((), ()))


def _broken(
    found: Sequence[tuple[str, Path, Results]],
    known: Sequence[tuple[str, Path, Path, BestKnown]],
    loose: Sequence[BestKnown],
) -> list[Unreadable]:
    """The files that count for nothing."""
    unreadable = {
        Unreadable(f"{name}/{path.relative_to(directory).as_posix()}", error.problem, error.field or "", error.remedy)
        for name, directory, results in found
        for path, error in results.broken
    }
    unreadable |= {
        Unreadable(f"{name}/{path.relative_to(directory).as_posix()}", *_LOOSE)
        for name, path, directory, one in known
        if one in loose
    }
    return sorted(unreadable, key=lambda one: (one.path, one.problem))


def _menu_link(section: Section) -> Link:
    tag = "" if section.table.ranked else "demo, simulated" if section.table.simulated else "demo"
    return Link(section.path, section.table.task, tag)


def _start_filters(sections: Sequence[Section]) -> tuple[Filter, ...]:
    """On the start page one more filter: which tables are there."""
    tasks = tuple(dict.fromkeys(section.table.task for section in sections))
    return (Filter("task", "Task", tasks, None), *filters_of(sections))


def _downloads(board: Board, section: Section) -> Iterator[tuple[str, bytes]]:
    """The table's own files that say how it is cited."""
    table = section.table
    if not table.rows:
        return
    one = replace(board, tables=(table,))
    rows = tuple(RowAt(one, table, row) for row in table.rows)
    yield f"{section.downloads}.tex", to_latex(build_sheets(one, Selection())).encode()
    yield f"{section.downloads}.bib", "\n".join(map(str, cite(Scope(one, rows)).entries)).encode()


def _told_apart(sections: Sequence[Section]) -> list[Section]:
    """The sections, each saying why it is not one with another of its task."""
    others = apart([section.table for section in sections])
    places = [Place(section.anchor, section.path) for section in sections]
    return [
        replace(section, apart=tuple((places[other], "; ".join(why)) for other, why in others[number]))
        for number, section in enumerate(sections)
    ]


def _copy_name(record: RunRecord) -> str:
    """The path of a record's copy: readable, and its own whatever its names are."""
    parts = (record.model.name, record.defense.name, str(record.seed), record.digest[:10])
    return f"records/{words.slug(record.task.id)}-{record.task.track}/{'-'.join(map(words.slug, parts))}.json"


def _known_copy_name(known: BestKnown) -> str:
    """The path of a best known attack's copy, beside those of the records."""
    cell = known.challenged
    parts = ("best-known", known.attack.name, cell.model.name, cell.defense.name, str(cell.seed), known.digest[:10])
    return f"records/{words.slug(cell.task.id)}-{cell.task.track}/{'-'.join(map(words.slug, parts))}.json"


def _asset(name: str) -> bytes:
    return files("recgauntlet_site").joinpath(name).read_bytes()

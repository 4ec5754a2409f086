"""Records in, the files of the leaderboard out: its pages, its tables as files, and copies of the records."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from recgauntlet.best_known import BestKnown
from recgauntlet.best_known_rows import with_best_known, without_record
from recgauntlet.board import Board, RowAt, Scope
from recgauntlet.card import TIERS, TaskCard
from recgauntlet.citation import cite, sentence
from recgauntlet.paired import twin_of
from recgauntlet.record import RunRecord
from recgauntlet.release import Release as Frozen
from recgauntlet.release import open_manifest
from recgauntlet.results import Results
from recgauntlet.rows import RANKING_TIER, CurvePoint, FailedCell, Row, Source, TaskTable
from recgauntlet.sealed import to_bytes
from recgauntlet.selection import Selection
from recgauntlet.sheet import build_sheets, options_apart
from recgauntlet.sheet_text import to_latex
from recgauntlet.table import apart, build_table
from recgauntlet.table_csv import to_csv
from recgauntlet_site import words
from recgauntlet_site.export import to_json
from recgauntlet_site.methods import MethodPage, by_family, method_pages, plugin_of
from recgauntlet_site.overview import overview_of
from recgauntlet_site.pictures import Picture, style_sheet
from recgauntlet_site.pictures.security_curves import axis, budgets, point_at
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
Work = Callable[[Callable[[Picture], bytes], Sequence[Picture]], Iterable[bytes]]
Cards = Callable[[TaskTable], TaskCard | None]


@dataclass(frozen=True)
class Unreadable:
    """A file that is no record that counts, and why."""

    path: str
    problem: str
    field: str
    remedy: str


@dataclass(frozen=True)
class Link:
    """A page in the menu."""

    path: str
    name: str
    tag: str = ""


@dataclass(frozen=True)
class Release:
    """Another release's board: its start page, from this start page's directory."""

    name: str
    path: str
    current: bool = False


@dataclass(frozen=True)
class Curve:
    """A row's security curve as the points of a drawing of 320 by 130."""

    threat: str
    axis: str
    description: str
    points: tuple[CurvePoint, ...]
    line: str
    band: str
    dots: tuple[tuple[str, str, str], ...]


@dataclass(frozen=True)
class SeedLine:
    """One seed of a row: its clean accuracy, its robust accuracy under each threat of the table, and its record."""

    seed: int
    clean: float
    robust: tuple[float | None, ...]
    source: Source
    record: RunRecord


def render_site(
    found: Sequence[tuple[str, Path, Results]],
    *,
    docs: str = "../../docs",
    cards: Cards = words.installed_card,
    releases: Sequence[Release] = (),
    tabulate: Callable[[Sequence[RunRecord]], tuple[TaskTable, ...]] = build_table,
    work: Work = map,
) -> dict[str, bytes]:
    """The files of the site by their path below the output directory.

    `found` gives for each results directory its name, its path and what was read there. `cards` finds the
    card whose words a table's pages show; `releases` are boards that pages link to; `tabulate` makes the tables,
    `work` does one thing to many pictures. The same records give the same bytes, in whatever order or place they lie.
    """
    records = [(path, record) for _, _, results in found for path, record in results.records]
    copies = {record.digest: (_copy_name(record), path, record) for path, record in records}
    known = [(name, path, directory, one) for name, directory, r in found for path, one in r.best_known]
    loose = without_record([record for _, record in records], [one for *_, one in known])
    tables = with_best_known(
        tabulate([record for _, record in records]), [record for _, record in records], [one for *_, one in known]
    )
    by_digest = {record.digest: record for _, record in records}
    board = _board(found, tables, by_digest)
    sections = _told_apart(sections_of(tables, cards, by_digest))
    methods = method_pages(sections)
    environment = _environment()
    environment.globals.update(
        docs=docs,
        menu=[_menu_link(section) for section in sections],
        releases=list(releases),
        links={digest: name for digest, (name, *_) in copies.items()},
        records=len(copies),
        versions=sorted({record.environment.recgauntlet for _, record in records}),
        sections=sections,
    )
    pages = {
        "index.html": environment.get_template("start.html.j2").render(
            root="",
            here="index.html",
            filters=(on_start := _start_filters(sections)),
            facts=partial(coded, on_start),
            broken=_broken(found, known, loose),
            overview=overview_of(sections),
            methods=[(kind, by_family(methods, kind)) for kind in ("model", "defense")],
        ),
        "about.html": environment.get_template("about.html.j2").render(root="", here="about.html"),
    }
    for section in sections:
        template = environment.get_template("task.html.j2")
        pages[section.path] = template.render(
            root="../", here=section.path, section=section, facts=partial(coded, section.filters)
        )
        for row in section.table.rows:
            at = RowAt(board, section.table, row)
            pages[section.row_path(row)] = _row_page(environment, section, at, methods)
    for page in methods:
        pages[page.path] = environment.get_template("method.html.j2").render(root="../", here=page.path, page=page)
    return {
        **{path: text.encode() for path, text in pages.items()},
        **{path: _asset(name) for path, name in _ASSETS.items()},
        _STYLE: _asset("templates/style.css") + style_sheet().encode(),
        "leaderboard.csv": to_csv(tables),
        "leaderboard.json": to_json(tables),
        **{path: content for section in sections for path, content in _downloads(board, section)},
        **dict(_figures(sections, work)),
        **{name: _as_json(path, record) for _, (name, path, record) in sorted(copies.items())},
        **{_known_copy_name(one): _as_json(path, one) for _, path, _, one in known if one not in loose},
    }


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


def _row_page(environment: Environment, section: Section, at: RowAt, methods: Sequence[MethodPage]) -> str:
    table, row = at.table, at.row
    twin = twin_of(table, row)
    own = [
        (kind, page)
        for kind in ("model", "defense")
        for page in methods
        if page.kind == kind
        and page.name == plugin_of(row, kind).name
        and any(other is section and row in rows for other, rows in page.rows)
    ]
    records = at.records
    return environment.get_template("row.html.j2").render(
        root="../",
        here=section.row_path(row),
        section=section,
        row=row,
        sentence=sentence(at),
        twin_path=section.row_path(twin) if twin is not None and twin is not row else "",
        methods=own,
        curves=list(_curves(section, row)),
        seeds=list(_seed_lines(table, row, records)),
        environment=_surroundings(records),
        command=_command(table, row),
        bibtex="\n".join(map(str, cite(Scope(at.board, (at,), at)).entries)),
    )


def _curves(section: Section, row: Row) -> Iterator[Curve]:
    for column in section.table.threats:
        cells = row.under(column.id)
        if cells is None or not cells.curve:
            continue
        by_characters = not any(point.amount for point in cells.curve)
        amounts = [float(point.characters if by_characters else point.amount) for point in cells.curve]
        widest = max(amounts) or 1.0
        xs = [f"{38 + 268 * amount / widest:.1f}" for amount in amounts]
        low, value, high = ([f"{110 - 100 * share:.1f}" for share in shares] for shares in _bounds(cells.curve))
        up, back = list(zip(xs, low, strict=True)), list(zip(xs, high, strict=True))
        yield Curve(
            column.id,
            axis(column, by_characters),
            f"Accuracy under {column.id} falls from {words.percent(cells.curve[0].accuracy.value)} % "
            f"to {words.percent(cells.curve[-1].accuracy.value)} % as the budget grows.",
            cells.curve,
            " ".join(f"{x},{y}" for x, y in zip(xs, value, strict=True)),
            " ".join(f"{x},{y}" for x, y in [*up, *reversed(back)]),
            tuple((x, y, f"{amount:g}") for x, y, amount in zip(xs, value, amounts, strict=True)),
        )


def _bounds(curve: Sequence[CurvePoint]) -> tuple[list[float], list[float], list[float]]:
    """The lower ends, the values and the upper ends of a curve."""
    points = [point.accuracy for point in curve]
    return [p.low for p in points], [p.value for p in points], [p.high for p in points]


def _seed_lines(table: TaskTable, row: Row, records: Sequence[RunRecord]) -> Iterator[SeedLine]:
    for place, (source, record) in enumerate(zip(row.sources, records, strict=True)):
        cells = [row.under(column.id) for column in table.threats]
        at_rank = [under.at(RANKING_TIER) if under else None for under in cells]
        robust = tuple(None if cell is None else cell.by_seed[place] for cell in at_rank)
        yield SeedLine(source.seed, row.clean_by_seed[place], robust, source, record)


def _surroundings(records: Sequence[RunRecord]) -> list[tuple[str, str]]:
    """What the cells ran on, in words, each value once."""
    found = [record.environment for record in records]
    told = {
        "Processor": [f"{e.processor}, {e.platform}" for e in found],
        "Precision": [f"{e.precision}, {e.threads} thread{'s' if e.threads > 1 else ''}" for e in found],
        "Software": [f"Python {e.python}, torch {e.torch}, transformers {e.transformers}" for e in found],
    }
    return [(name, "; ".join(dict.fromkeys(values))) for name, values in told.items()]


def _command(table: TaskTable, row: Row) -> str:
    """How the row's cells are run again."""
    parts = ["recgauntlet", "run", "--task", table.task, "--track", table.track]
    parts += ["--model", row.model.name, "--defense", row.defense.name]
    for option, plugin in (("--model-option", row.model), ("--defense-option", row.defense)):
        for name, value in sorted(plugin.hyperparameters.items()):
            parts += [option, f"{name}={value}"]
    return shlex.join([*parts, "--seeds", ",".join(map(str, row.seeds)), "--out", "results/again"])


def _downloads(board: Board, section: Section) -> Iterator[tuple[str, bytes]]:
    """The table's own files."""
    table = section.table
    if not table.rows:
        return
    one = replace(board, tables=(table,))
    rows = tuple(RowAt(one, table, row) for row in table.rows)
    yield f"{section.downloads}.csv", to_csv((table,))
    yield f"{section.downloads}.tex", to_latex(build_sheets(one, Selection())).encode()
    yield f"{section.downloads}.bib", "\n".join(map(str, cite(Scope(one, rows)).entries)).encode()


def _figures(sections: Sequence[Section], work: Work) -> Iterator[tuple[str, bytes]]:
    """The tables' pictures as files."""
    pictures = [picture for section in sections for picture in section.pictures]
    for picture, as_pdf in zip(pictures, work(Picture.as_pdf, pictures), strict=True):
        yield f"figures/{picture.name}.svg", picture.as_svg()
        yield f"figures/{picture.name}.pdf", as_pdf


def _told_apart(sections: Sequence[Section]) -> list[Section]:
    """The sections, each saying why it is not one with another of its task."""
    others = apart([section.table for section in sections])
    places = [Place(section.anchor, section.path) for section in sections]
    return [
        replace(section, apart=tuple((places[other], "; ".join(why)) for other, why in others[number]))
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
        points=words.points,
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
        unlike=_once(options_apart),
        twin_of=twin_of,
        axis=axis,
        budgets=budgets,
        point_at=point_at,
    )
    return environment


def _once(function: Callable[[Row, TaskTable], list[str]]) -> Callable[[Row, TaskTable], list[str]]:
    """`function`, which is asked hundreds of times for each row, worked out once for each."""
    known: dict[int, tuple[Row, list[str]]] = {}  # holds the rows, so that no other gets the identity of one

    def of(row: Row, table: TaskTable) -> list[str]:
        if id(row) not in known:
            known[id(row)] = row, function(row, table)
        return known[id(row)][1]

    return of


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


def _asset(name: str) -> bytes:
    return files("recgauntlet_site").joinpath(name).read_bytes()

"""All files of a site: pages, figures, tables as files, and copies of the records."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

import tomli_w
from pydantic import ConfigDict, TypeAdapter

from recgauntlet.core.errors import RecordError
from recgauntlet.leaderboard.address import Board, RowAt, Scope, slug
from recgauntlet.leaderboard.best_known import with_best_known, without_record
from recgauntlet.leaderboard.build import build_table
from recgauntlet.leaderboard.citation import cite, installed_card
from recgauntlet.leaderboard.explanations import misplaced
from recgauntlet.leaderboard.paper_table import build_paper_tables
from recgauntlet.leaderboard.paper_table_text import to_latex
from recgauntlet.leaderboard.schema import TaskTable
from recgauntlet.leaderboard.selection import Selection
from recgauntlet.leaderboard.table_csv import to_csv
from recgauntlet.metrics.bootstrap import LEVEL
from recgauntlet.records.best_known import BestKnown, Challenged
from recgauntlet.records.digest import to_bytes
from recgauntlet.records.explanations import ExplainedDecision
from recgauntlet.records.io import Results
from recgauntlet.records.manifest import SUBMISSIONS
from recgauntlet.records.release import Release, open_manifest
from recgauntlet.records.reruns import Rerun, confirmed, reruns_path
from recgauntlet.records.schema import RunRecord
from recgauntlet_site.figures import all_tasks, saved, style_sheet
from recgauntlet_site.filters import start_filters
from recgauntlet_site.findings import Findings
from recgauntlet_site.jinja_environment import rendered
from recgauntlet_site.pages.docs import NO_DOCS, Docs
from recgauntlet_site.pages.method import FAMILY, by_family, method_pages
from recgauntlet_site.pages.row import row_page
from recgauntlet_site.pages.start import overview_of
from recgauntlet_site.pages.task import Cards, Mapper, TaskPage, task_pages

_LOOSE = (
    "is a best known attack on a model that has no record here",
    "challenged",
    "add the directory with the record of that model with --results",
)
_ASSETS = {
    "assets/board.js": "static/board.js",
    "assets/curves.js": "static/curves.js",
    "assets/sort.js": "static/sort.js",
    "assets/vendor/uPlot.iife.js": "vendor/uPlot.iife.min.js",
    "assets/vendor/uPlot.css": "vendor/uPlot.min.css",
    "assets/vendor/LICENSE-uplot.txt": "vendor/LICENSE-uplot.txt",
}
JSON_FORMAT = "recgauntlet-tables-1"
_TABLES = TypeAdapter(tuple[TaskTable, ...], config=ConfigDict(ser_json_inf_nan="constants"))


class ReleaseLink(NamedTuple):
    """Another release's leaderboard; `path` leads from this start page's directory to its start page."""

    name: str
    path: str
    current: bool = False


def render_site(
    found: Sequence[tuple[str, Path, Results]],
    *,
    docs: Docs = NO_DOCS,
    cards: Cards = installed_card,
    releases: Sequence[ReleaseLink] = (),
    draw: Mapper = map,
) -> Iterator[tuple[str, bytes]]:
    """Render the files of the site: yields the path below the output directory and the content of each.

    `found` gives for each results directory its name, its path and what was read there. `cards` finds the card whose
    description a table's pages show; `releases` are the leaderboards that the pages link to; figures are drawn by
    `draw`, with an executor's map while pages are rendered. The same records give the same bytes, in whatever order or
    directory they lie. The start page comes last, after everything it links to.
    """
    files_of = {record.digest: (path, record) for _, _, results in found for path, record in results.records}
    records = {digest: record for digest, (_, record) in files_of.items()}
    known = [one for _, _, results in found for one in results.best_known]
    explanations = {one.digest: (path, one) for _, _, results in found for path, one in results.explanations}
    placed = {digest: pair for digest, pair in explanations.items() if not misplaced(records.values(), pair[1])}
    shown_explanations = {_copy_name(one): one for _, one in placed.values()}
    reruns, unread = _reruns(found)
    loose = without_record(list(records.values()), [one for _, one in known])
    everything = [record for _, _, results in found for record in results]
    tables = with_best_known(build_table(everything), everything, [one for _, one in known])
    board = _board(found, tables, records)
    tasks = task_pages(tables, cards, records, draw, submitted=_submitted(files_of))
    common = {
        "board": board,
        "ranked": [table for table in tables if table.ranked],
        "docs": docs,
        "menu": tasks,
        "releases": releases,
        "links": {digest: _copy_name(record) for digest, record in records.items()},
        "records": len(records),
        "reruns": reruns,
        "versions": sorted({record.environment.recgauntlet for record in records.values()}),
    }
    methods = method_pages(tasks)
    findings = Findings(tasks)
    picture = iter(draw(saved, [partial(all_tasks, tables)]))
    if common["ranked"]:
        yield "findings.html", rendered("findings.html.j2", common, root="", here="findings.html", findings=findings)
    yield "about.html", rendered("about.html.j2", common, root="", here="about.html", tasks=tasks)
    for task in tasks:
        for row in task.table.rows:
            yield task.row_path(row), row_page(common, task, RowAt(board, task.table, row), methods, shown_explanations)
    for page in methods.values():
        yield page.path, rendered("method.html.j2", common, root="../", here=page.path, page=page)
    for doc in docs.pages:
        yield doc.path, rendered("doc.html.j2", common, root="../" * doc.path.count("/"), here=doc.path, page=doc)
    yield from docs.files
    for address, name in _ASSETS.items():
        yield address, _asset(name)
    yield "assets/style.css", _asset("static/style.css") + style_sheet().encode()
    yield "leaderboard.csv", to_csv(tables)
    for task in tasks:
        yield task.path, rendered("task.html.j2", common, root="../", here=task.path, task=task)
        for figure in task.figures:
            yield from ((f"figures/{name}", content) for name, content in figure.files.items())
        if task.own and task.card:
            yield task.card_file, tomli_w.dumps(task.card.model_dump(mode="json", exclude_none=True)).encode()
        if task.table.rows:
            yield from _downloads(board, task)
    for path, record in files_of.values():
        yield _copy_name(record), _json_copy(path, record)
    for path, one in known:
        if one not in loose:
            yield _copy_name(one), _json_copy(path, one)
    for path, explained in placed.values():
        yield _copy_name(explained), _json_copy(path, explained)
    yield "leaderboard.json", _as_json(tables)
    shown = next(picture, None)
    if shown is not None:
        yield from ((f"figures/{name}", content) for name, content in shown.files.items())
    yield (
        "index.html",
        rendered(
            "start.html.j2",
            common,
            root="",
            here="index.html",
            filters=start_filters(tables),
            tasks=tasks,
            broken=sorted([*_broken(found, loose, records.values()), *unread]),
            overview=overview_of(tasks),
            answers=findings.answers,
            picture=shown,
            methods=[(kind, by_family(methods.values(), kind)) for kind in FAMILY],
        ),
    )


def _downloads(board: Board, task: TaskPage) -> Iterator[tuple[str, bytes]]:
    """The table as CSV and LaTeX, and the BibTeX of its rows."""
    table = task.table
    one = replace(board, tables=(table,))
    scope = Scope(one, tuple(RowAt(one, table, row) for row in table.rows))
    yield f"{task.downloads}.csv", to_csv((table,))
    yield f"{task.downloads}.tex", to_latex(build_paper_tables(one, Selection())).encode()
    yield f"{task.downloads}.bib", "\n".join(map(str, cite(scope).entries)).encode()


def _as_json(tables: tuple[TaskTable, ...]) -> bytes:
    """Everything in the tables, unrounded; shares are between 0 and 1."""
    head = json.dumps({"format": JSON_FORMAT, "interval": LEVEL})
    return f'{head[:-1]}, "tables": '.encode() + _TABLES.dump_json(tables) + b"}\n"


def _json_copy(path: Path, content: RunRecord | BestKnown | ExplainedDecision) -> bytes:
    """The file itself, or its JSON where it is compressed."""
    return path.read_bytes() if path.suffix == ".json" else to_bytes(content)


def _board(
    found: Sequence[tuple[str, Path, Results]], tables: tuple[TaskTable, ...], records: Mapping[str, RunRecord]
) -> Board:
    """The tables as they are cited: a frozen release by its name, anything else by a hash of all records."""
    name = "this-page"  # not the directory's name, so that the same records give the same bytes
    digest, date, frozen = hashlib.sha256("\n".join(sorted(records)).encode()).hexdigest(), "", False
    if len(found) == 1 and (manifest := open_manifest(found[0][1])) is not None:
        name, date, frozen = manifest.name, manifest.date, True
        digest = Release(name, found[0][1], manifest, found[0][2]).digest or digest
    return Board(name, name, Path(name), frozen, date, digest, tables, records, Results((), ()))


def _submitted(files_of: Mapping[str, tuple[Path, RunRecord]]) -> dict[str, str]:
    """By its digest, each record of a merged submission, with the submission's name."""
    places = {digest: path.resolve().parents for digest, (path, _) in files_of.items()}
    return {
        digest: parents[n].name
        for digest, parents in places.items()
        for n in range(len(parents) - 1)
        if parents[n + 1].name == SUBMISSIONS
    }


def _reruns(
    found: Sequence[tuple[str, Path, Results]],
) -> tuple[dict[str, Rerun], list[tuple[str, str, str, str]]]:
    """By the digest of its record, each cell that was drawn by lot and had equal numbers when it was run again; and the
    files of such cells that cannot be used, as those of `_broken`."""
    known: dict[str, Rerun] = {}
    faults = []
    for _, directory, results in found:
        try:
            known |= confirmed(directory, results)
        except RecordError as error:
            faults.append((reruns_path(directory).name, error.problem, error.field or "", error.remedy))
    return known, faults


def _broken(
    found: Sequence[tuple[str, Path, Results]], loose: Sequence[BestKnown], records: Collection[RunRecord]
) -> list[tuple[str, str, str, str]]:
    """The files that are left out of the tables: path, problem, field and remedy of each."""
    left_out = set()
    for name, directory, results in found:
        faults = [(path, (error.problem, error.field or "", error.remedy)) for path, error in results.broken]
        faults += [(path, _LOOSE) for path, one in results.best_known if one in loose]
        faults += [
            (path, (why.problem, why.field, why.remedy))
            for path, one in results.explanations
            if (why := misplaced(records, one)) is not None
        ]
        left_out |= {(f"{name}/{path.relative_to(directory).as_posix()}", *fault) for path, fault in faults}
    return sorted(left_out)


def _copy_name(content: RunRecord | BestKnown | ExplainedDecision) -> str:
    """The path of the copy of a record, a best known attack or an explanation: readable, and unique by the digest."""
    cell: RunRecord | Challenged
    if isinstance(content, RunRecord):
        cell, first = content, []
    elif isinstance(content, BestKnown):
        cell, first = content.challenged, ["best-known", content.attack.name]
    else:
        cell, first = content.explained, ["explanation", str(content.example)]
    names = [*first, cell.model.name, cell.defense.name, str(cell.seed), content.digest[:10]]
    return f"records/{slug(cell.task.id)}-{cell.task.track}/{'-'.join(map(slug, names))}.json"


def _asset(name: str) -> bytes:
    return files("recgauntlet_site").joinpath(name).read_bytes()

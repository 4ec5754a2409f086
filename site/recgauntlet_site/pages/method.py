"""The pages of models and defenses: every row of one, across tasks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from recgauntlet.leaderboard.address import slug
from recgauntlet.leaderboard.schema import Row
from recgauntlet.records.references import PluginRef
from recgauntlet_site.families import defense_family, model_family
from recgauntlet_site.pages.task import TaskPage

Key = tuple[str, str, str]
"""A kind ("model" or "defense"), who ships it, and its name."""


@dataclass(frozen=True)
class MethodPage:
    """The page of a model or a defense: every row of it. `summary` is a sentence and `citation` BibTeX, both from the
    records and empty where these have none."""

    kind: str
    name: str
    family: str
    path: str
    summary: str
    citation: str
    rows: tuple[tuple[TaskPage, tuple[Row, ...]], ...]


def method_pages(tasks: Sequence[TaskPage]) -> dict[Key, MethodPage]:
    """A page for each model and each defense of the tables, models first, by name."""
    return {**_pages(tasks, "model"), **_pages(tasks, "defense")}


def by_family(pages: Iterable[MethodPage], kind: str) -> list[tuple[str, list[MethodPage]]]:
    """The pages of a kind, family by family."""
    own = [page for page in pages if page.kind == kind]
    return [(family, [page for page in own if page.family == family]) for family in sorted({p.family for p in own})]


def key_of(row: Row, kind: str) -> Key:
    """The key of the page of the row's model or defense."""
    ref = _plugin_of(row, kind)
    return kind, ref.distribution, ref.name


def _plugin_of(row: Row, kind: str) -> PluginRef:
    return row.model if kind == "model" else row.defense


def _pages(tasks: Sequence[TaskPage], kind: str) -> dict[Key, MethodPage]:
    found: dict[Key, list[tuple[TaskPage, list[Row]]]] = {}
    for task in tasks:
        for row in task.table.rows:
            shown = found.setdefault(key_of(row, kind), [])
            if not shown or shown[-1][0] is not task:
                shown.append((task, []))
            shown[-1][1].append(row)
    pages: dict[Key, MethodPage] = {}
    taken: set[str] = set()
    for key, rows in sorted(found.items(), key=lambda one: one[0][::-1]):
        ref = _plugin_of(rows[0][1][0], kind)
        path = f"{kind}s/{slug(ref.name)}"
        while path in taken:
            path += "-x"
        taken.add(path)
        family = model_family(ref) if kind == "model" else defense_family(ref)
        shown_rows = tuple((task, tuple(own)) for task, own in rows)
        refs = [_plugin_of(row, kind) for _, own in rows for row in own]
        summary = next((one.summary for one in refs if one.summary), "")
        citation = next((one.citation.strip() for one in refs if one.citation), "")
        pages[key] = MethodPage(kind, ref.name, family, f"{path}.html", summary, citation, shown_rows)
    return pages

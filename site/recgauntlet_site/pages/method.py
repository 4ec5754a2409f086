"""The pages of models and defenses: every row of one, across tasks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from recgauntlet.core.names import shown
from recgauntlet.leaderboard.address import slug
from recgauntlet.leaderboard.schema import Row
from recgauntlet.records.references import PluginRef
from recgauntlet_site.families import defense_family, model_family
from recgauntlet_site.format import distinct
from recgauntlet_site.pages.task import TaskPage

FAMILY = {"model": model_family, "defense": defense_family}
"""What finds the family, for each kind of method."""
Key = tuple[str, str, str]
"""A kind, a name, and the distribution that ships it."""


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
    rows: Sequence[tuple[TaskPage, Sequence[Row]]]


def method_pages(tasks: Sequence[TaskPage]) -> dict[Key, MethodPage]:
    """A page for each model and each defense of the tables, models first, by name."""
    found: dict[Key, dict[str, tuple[TaskPage, list[Row]]]] = {}
    for kind in FAMILY:
        own = {_key(row, kind) for task in tasks for row in task.table.rows}
        found |= {key: {} for key in sorted(own)}
    for task in tasks:
        for row in task.table.rows:
            for key in (_key(row, kind) for kind in FAMILY):
                found[key].setdefault(task.anchor, (task, []))[1].append(row)
    paths = distinct([f"{kind}s/{slug(name)}" for kind, name, _ in found])
    return {
        key: _page(key, f"{path}.html", list(rows.values()))
        for path, (key, rows) in zip(paths, found.items(), strict=True)
    }


def pages_of(row: Row, pages: Mapping[Key, MethodPage]) -> list[MethodPage]:
    """The pages of the row's model and of its defense."""
    return [pages[_key(row, kind)] for kind in FAMILY]


def by_family(pages: Iterable[MethodPage], kind: str) -> list[tuple[str, list[MethodPage]]]:
    """The pages of a kind, family by family."""
    own = [page for page in pages if page.kind == kind]
    return [(family, [page for page in own if page.family == family]) for family in sorted({p.family for p in own})]


def _plugin(row: Row, kind: str) -> PluginRef:
    return row.model if kind == "model" else row.defense


def _key(row: Row, kind: str) -> Key:
    plugin = _plugin(row, kind)
    return kind, plugin.name, plugin.distribution


def _page(key: Key, path: str, rows: Sequence[tuple[TaskPage, Sequence[Row]]]) -> MethodPage:
    kind, name, _ = key
    plugins = [_plugin(row, kind) for _, own in rows for row in own]
    summary = next((plugin.summary for plugin in plugins if plugin.summary), "")
    citation = next((plugin.citation.strip() for plugin in plugins if plugin.citation), "")
    return MethodPage(kind, shown(kind, name), FAMILY[kind](plugins[0]), path, summary, citation, rows)

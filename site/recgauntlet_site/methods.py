"""The pages of models and defenses: every row of one, across tasks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from recgauntlet.core import plugins
from recgauntlet.core.errors import PluginError
from recgauntlet.leaderboard.address import slug
from recgauntlet.leaderboard.plugin_words import words_of
from recgauntlet.leaderboard.schema import Row
from recgauntlet.records.schema import PluginRef
from recgauntlet_site.families import defense_family, model_family
from recgauntlet_site.sections import Section

Key = tuple[str, str, str]
"""A kind ("model" or "defense"), who ships it, and its name."""


@dataclass(frozen=True)
class MethodPage:
    """A model's or a defense's page. `words` and `citation` are the plugin's own, empty where it is not installed."""

    kind: str
    name: str
    family: str
    path: str
    words: str
    citation: str
    rows: tuple[tuple[Section, tuple[Row, ...]], ...]


def method_pages(sections: Sequence[Section]) -> dict[Key, MethodPage]:
    """A page for each model and each defense of the tables, models first, by name."""
    return {**_pages(sections, "model"), **_pages(sections, "defense")}


def by_family(pages: Iterable[MethodPage], kind: str) -> list[tuple[str, list[MethodPage]]]:
    """The pages of a kind, family by family."""
    own = [page for page in pages if page.kind == kind]
    return [(family, [page for page in own if page.family == family]) for family in sorted({p.family for p in own})]


def key_of(row: Row, kind: str) -> Key:
    """Under which the page of the row's model or defense is found."""
    ref = _plugin_of(row, kind)
    return kind, ref.distribution, ref.name


def _plugin_of(row: Row, kind: str) -> PluginRef:
    return row.model if kind == "model" else row.defense


def _pages(sections: Sequence[Section], kind: str) -> dict[Key, MethodPage]:
    found: dict[Key, list[tuple[Section, list[Row]]]] = {}
    for section in sections:
        for row in section.table.rows:
            shown = found.setdefault(key_of(row, kind), [])
            if not shown or shown[-1][0] is not section:
                shown.append((section, []))
            shown[-1][1].append(row)
    pages: dict[Key, MethodPage] = {}
    taken: set[str] = set()
    for key, rows in sorted(found.items(), key=lambda one: one[0][::-1]):
        ref = _plugin_of(rows[0][1][0], kind)
        path = f"{kind}s/{slug(ref.name)}"
        while path in taken:
            path += "-x"
        taken.add(path)
        words, citation = _own_words(ref, kind)
        family = model_family(ref) if kind == "model" else defense_family(ref)
        shown_rows = tuple((section, tuple(own)) for section, own in rows)
        pages[key] = MethodPage(kind, ref.name, family, f"{path}.html", words, citation, shown_rows)
    return pages


def _own_words(ref: PluginRef, kind: str) -> tuple[str, str]:
    """The first sentence of the plugin's docstring, and its citation; empty where it is not installed here."""
    group: plugins.Kind = "models" if kind == "model" else "defenses"
    if ref.name not in plugins.names(group) or plugins.whose(group, ref.name)[0] != ref.distribution:
        return "", ""
    try:
        found = words_of(group, ref.name)
    except PluginError:
        return "", ""
    return found.summary, found.citation.strip()

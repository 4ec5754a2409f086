"""The pages of models and defenses: every row of one, across tasks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from recgauntlet import plugins
from recgauntlet.board import slug
from recgauntlet.errors import PluginError
from recgauntlet.plugin_words import words_of
from recgauntlet.record import PluginRef
from recgauntlet.rows import Row
from recgauntlet_site.families import defense_family, model_family
from recgauntlet_site.sections import Section


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


def method_pages(sections: Sequence[Section]) -> tuple[MethodPage, ...]:
    """A page for each model and each defense of the tables, models first, by name."""
    return (*_pages(sections, "model"), *_pages(sections, "defense"))


def by_family(pages: Sequence[MethodPage], kind: str) -> list[tuple[str, list[MethodPage]]]:
    """The pages of a kind, family by family."""
    own = [page for page in pages if page.kind == kind]
    return [(family, [page for page in own if page.family == family]) for family in sorted({p.family for p in own})]


def plugin_of(row: Row, kind: str) -> PluginRef:
    """The row's model or defense."""
    return row.model if kind == "model" else row.defense


def _pages(sections: Sequence[Section], kind: str) -> Iterator[MethodPage]:
    refs = [plugin_of(row, kind) for section in sections for row in section.table.rows]
    taken: set[str] = set()
    for distribution, name in sorted({(ref.distribution, ref.name) for ref in refs}, key=lambda pair: pair[::-1]):
        ref = next(ref for ref in refs if (ref.distribution, ref.name) == (distribution, name))
        rows = [
            (section, tuple(row for row in section.table.rows if _is(plugin_of(row, kind), ref)))
            for section in sections
        ]
        path = f"{kind}s/{slug(name)}"
        while path in taken:
            path += "-x"
        taken.add(path)
        words, citation = _own_words(ref, kind)
        family = model_family(ref) if kind == "model" else defense_family(ref)
        shown = tuple((section, own) for section, own in rows if own)
        yield MethodPage(kind, name, family, f"{path}.html", words, citation, shown)


def _is(one: PluginRef, other: PluginRef) -> bool:
    return (one.distribution, one.name) == (other.distribution, other.name)


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

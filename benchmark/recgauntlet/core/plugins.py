"""Finding plugins by entry point: the built-in ones register exactly as a stranger's do."""

from __future__ import annotations

import difflib
import inspect
from dataclasses import dataclass
from functools import cache
from importlib.metadata import Distribution, EntryPoint, entry_points
from typing import Any, Literal, TypeVar

from recgauntlet.core.errors import PluginError
from recgauntlet.core.task import Task

T = TypeVar("T")
Kind = Literal["tasks", "models", "defenses", "attacks", "commands"]


@dataclass(frozen=True)
class Plugin:
    """A registered name and what stands behind it."""

    name: str
    value: Any
    distribution: str
    version: str

    @property
    def summary(self) -> str:
        """The first paragraph of the docstring of the plugin's module (of the class where the module has none), on one
        line; empty where there is neither."""
        docstring = getattr(inspect.getmodule(self.value), "__doc__", "") or self.value.__doc__ or ""
        return " ".join(inspect.cleandoc(docstring).partition("\n\n")[0].split())

    @property
    def citation(self) -> str:
        """The BibTeX entries of the plugin's attribute `citation`; empty where it has none."""
        return str(getattr(self.value, "citation", "")).strip()


@cache
def _entries(kind: Kind) -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=f"recgauntlet.{kind}")}


def names(kind: Kind) -> list[str]:
    """The registered names of a kind, sorted."""
    return sorted(_entries(kind))


def find(kind: Kind, name: str) -> Plugin:
    """The plugin `name`.

    Raises
    ------
    PluginError
        Where there is none of that name (near matches are given), or loading it fails.
    """
    entry = _entries(kind).get(name)
    singular = {"defenses": "defense"}.get(kind, kind.removesuffix("s"))
    if entry is None:
        near = difflib.get_close_matches(name, names(kind), n=3, cutoff=0.5)
        there = f"choose one of: {', '.join(names(kind))}" if names(kind) else "install a package that registers one"
        hint = f"did you mean {' or '.join(near)}?" if near else there
        raise PluginError(
            f"there is no {singular} named {name!r}",
            field=f"--{singular}",
            remedy=f"{hint} (recgauntlet list {kind} shows all)",
        )
    try:
        value = entry.load()
    except Exception as error:  # a plugin may fail in any way while it is imported
        raise PluginError(
            f"the {singular} {name!r} cannot be loaded: {type(error).__name__}: {error}",
            where=entry.value,
            remedy="mend or uninstall the package that registers it",
        ) from error
    return Plugin(name, value, *_told(entry.dist))


def whose(kind: Kind, name: str) -> tuple[str, str]:
    """The distribution that registers a name, and its version, without loading anything of it."""
    entry = _entries(kind).get(name)
    return _told(entry.dist if entry else None)


def place_of(kind: Kind, name: str) -> tuple[str, str]:
    """The module that a registered name stands in, and what it is called there, without importing it.

    Raises
    ------
    PluginError
        Where there is no such name.
    """
    if name not in _entries(kind):
        find(kind, name)  # says what is there instead
    entry = _entries(kind)[name]
    return entry.module, entry.attr


def find_task(name: str) -> Task:
    """The task `name`; PluginError where it is no Task."""
    plugin = find("tasks", name)
    task: Task = _checked(plugin, isinstance(plugin.value, Task), "a recgauntlet.Task", plugin.value)
    return task


def find_model(name: str) -> Plugin:
    """The model class `name`; PluginError where it is no subclass of Recommender."""
    from recgauntlet.core.recommender import Recommender

    plugin = find("models", name)
    good = isinstance(plugin.value, type) and issubclass(plugin.value, Recommender)
    return _checked(plugin, good, "a subclass of recgauntlet.Recommender", plugin)


def find_defense(name: str) -> Plugin:
    """The defense class `name`; PluginError where it is no subclass of Defense."""
    from recgauntlet.training.defense import Defense

    plugin = find("defenses", name)
    good = isinstance(plugin.value, type) and issubclass(plugin.value, Defense)
    return _checked(plugin, good, "a subclass of recgauntlet.Defense", plugin)


def find_attack(name: str) -> Plugin:
    """The attack class `name`; PluginError where it is no subclass of Attack."""
    from recgauntlet.attacks.base import Attack

    plugin = find("attacks", name)
    good = isinstance(plugin.value, type) and issubclass(plugin.value, Attack)
    return _checked(plugin, good, "a subclass of recgauntlet.Attack", plugin)


@cache
def _told(distribution: Distribution | None) -> tuple[str, str]:
    """A distribution's name and version, for which its metadata is parsed."""
    return (distribution.name, distribution.version) if distribution else ("unknown", "unknown")


def _checked(plugin: Plugin, good: bool, expected: str, value: T) -> T:
    if not good:
        raise PluginError(
            f"{plugin.name!r} is registered but is not {expected}",
            where=plugin.distribution,
            remedy=f"let the entry point name {expected}",
        )
    return value

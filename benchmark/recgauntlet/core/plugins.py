"""Finding plugins by entry point; the included ones are registered in the same way."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.metadata import Distribution, EntryPoint, entry_points
from typing import Any, Literal, TypeVar

from recgauntlet.core.errors import PluginError, RecGauntletError

BUILT_IN = "recgauntlet"
"""The distribution of the built-in plugins."""
Kind = Literal["tasks", "models", "defenses", "attacks", "poisoning", "commands", "figures"]
Found = TypeVar("Found")
_REMEDY = "mend or uninstall the package that registers it"


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

    @property
    def policy(self) -> str:
        """What a defense refuses as such (`recgauntlet.Defense.policy`); empty where it refuses nothing."""
        return str(getattr(self.value, "policy", "")).strip()


@cache
def _entries(kind: Kind) -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=f"recgauntlet.{kind}")}


def names(kind: Kind) -> list[str]:
    """The registered names of a kind, sorted."""
    return sorted(_entries(kind))


def find(kind: Kind, name: str, *, base: type | None = None) -> Plugin:
    """The plugin `name`.

    `base` is the class that it must be a subclass of (None: not checked).

    Raises
    ------
    PluginError
        Where there is none of that name (near matches are given), loading it fails, or it is no subclass of `base`.
    """
    entry = _entries(kind).get(name)
    singular = {"defenses": "defense", "poisoning": "poisoning attack"}.get(kind, kind.removesuffix("s"))
    if entry is None:
        near = difflib.get_close_matches(name, names(kind), n=3, cutoff=0.5)
        there = f"choose one of: {', '.join(names(kind))}" if names(kind) else "install a package that registers one"
        own = "; a card of your own is named by its path, like mine/shop.toml" if kind == "tasks" else ""
        hint = f"did you mean {' or '.join(near)}?" if near else there
        raise PluginError(
            f"there is no {singular} named {name!r}",
            field="--attacks" if kind == "poisoning" else f"--{singular}",
            remedy=f"{hint} (recgauntlet {'poison list' if kind == 'poisoning' else f'list {kind}'} shows all){own}",
        )
    try:
        value = entry.load()
    except (Exception, SystemExit) as error:  # a plugin may fail in any way while it is imported
        problem = f"the {singular} {name!r} cannot be loaded: {type(error).__name__}: {error}"
        raise PluginError(problem, where=entry.value, remedy=_REMEDY) from error
    plugin = Plugin(name, value, *_told(entry.dist))
    if base is not None and not (isinstance(value, type) and issubclass(value, base)):
        raise not_a(plugin, f"a subclass of recgauntlet.{base.__name__}")
    return plugin


def each(kind: Kind, look: Callable[[str], Found]) -> tuple[list[Found], list[RecGauntletError]]:
    """What `look` gives for every registered name of a kind, and the errors of the names that it fails on: one broken
    plugin hides no other."""
    found, broken = [], []
    for name in names(kind):
        try:
            found.append(look(name))
        except RecGauntletError as error:
            broken.append(error)
        except (Exception, SystemExit) as error:  # a plugin may fail in any way when it is looked at
            problem = f"{name!r} cannot be shown: {type(error).__name__}: {error}"
            broken.append(PluginError(problem, where=_entries(kind)[name].value, remedy=_REMEDY))
    return found, broken


def not_a(plugin: Plugin, expected: str) -> PluginError:
    """The error that a registered name is not `expected`."""
    return PluginError(
        f"{plugin.name!r} is registered but is not {expected}",
        where=plugin.distribution,
        remedy=f"let the entry point name {expected}",
    )


def abstract_methods(value: Any) -> list[str]:
    """The methods that a class must still define, each as its first line; empty of anything that is no class."""
    left = sorted(getattr(value, "__abstractmethods__", ()))
    return [f"def {name}({', '.join(_arguments(getattr(value, name)))})" for name in left]


def _arguments(method: Any) -> list[str]:
    parameters = inspect.signature(method).parameters.values()
    return [str(parameter.replace(annotation=parameter.empty)) for parameter in parameters]


def check_complete(plugin: Plugin) -> None:
    """PluginError where the plugin's class leaves methods of its contract undefined."""
    if left := abstract_methods(plugin.value):
        raise PluginError(
            f"{plugin.name!r} does not define {' and '.join(name.split('(')[0].removeprefix('def ') for name in left)}",
            where=plugin.distribution,
            remedy=f"write into the class {plugin.value.__name__}: {'; '.join(left)}",
        )


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


@cache
def _told(distribution: Distribution | None) -> tuple[str, str]:
    """A distribution's name and version, for which its metadata is parsed."""
    return (distribution.name, distribution.version) if distribution else ("unknown", "unknown")

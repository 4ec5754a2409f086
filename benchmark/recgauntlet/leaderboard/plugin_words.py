"""What a plugin says of itself: the pages and the references need two texts of it, but not its code.

They are read from its source where they are plain to see there: a constant, a name, a sum of these, in its own module,
in one that it imports from, or in the class that it derives from. Then nothing of it is run, and torch, which takes
seconds to import, is not needed. Where anything is not plain, the plugin is imported, as it is to be run.
"""

from __future__ import annotations

import ast
import importlib.util
import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path

from recgauntlet.core.plugins import Kind, find, place_of

_CITATION = "citation"
_LARGEST = 1_000_000
"""Characters of a module that is read."""
_DEEPEST = 20
"""How many modules, classes and sums a text may lie behind."""


@dataclass(frozen=True)
class PluginWords:
    """The first paragraph of its module's docstring, in one line, and its `citation`; empty where there is none."""

    summary: str
    citation: str


@cache
def words_of(kind: Kind, name: str) -> PluginWords:
    """What the plugin `name` says of itself.

    Raises
    ------
    PluginError
        Where there is no plugin of that name, or it has to be imported for it and that fails.
    """
    try:
        there, cls = _class(*place_of(kind, name), 0)
        return _told(ast.get_docstring(there.tree), _attribute(there, cls, 0))
    except _NotPlainError:
        value = find(kind, name).value
        return _told(inspect.getdoc(inspect.getmodule(value)), getattr(value, _CITATION, ""))


def _told(docstring: str | None, citation: object) -> PluginWords:
    return PluginWords(" ".join((docstring or "").partition("\n\n")[0].split()), str(citation))


class _NotPlainError(Exception):
    """What a text is cannot be told from the source."""


@dataclass(frozen=True)
class _Module:
    """A module's syntax tree, and what binds each of its names: a statement that binds nothing else, or None where that
    is one of several or lies within another one."""

    name: str
    package: bool
    tree: ast.Module
    bound: dict[str, ast.stmt | None]

    def absolute(self, found: ast.ImportFrom) -> str:
        """The name of the module that is imported from."""
        if not found.level:
            return found.module or ""
        above = self.name.split(".")
        kept = above[: len(above) - found.level + self.package]
        return ".".join([*kept, *([found.module] if found.module else [])])


@cache
def _read(name: str) -> _Module:
    """The module `name`, found as it would be if it were imported, but without running it or the packages it is in."""
    spec = _spec(name)
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        raise _NotPlainError
    try:
        text = importlib.util.decode_source(Path(spec.origin).read_bytes())
        tree = ast.parse(text) if len(text) <= _LARGEST else None
    except (OSError, ValueError, SyntaxError, RecursionError, MemoryError) as error:
        raise _NotPlainError from error
    if tree is None:
        raise _NotPlainError
    bound: dict[str, ast.stmt | None] = {}
    for statement in tree.body:
        for one in _names(statement):
            bound[one] = None if one in bound or isinstance(statement, _COMPOUND) else statement
    if "*" in bound:  # it may bind any name, also one that is plain to see
        raise _NotPlainError
    return _Module(name, spec.submodule_search_locations is not None, tree, bound)


def _spec(name: str) -> ModuleSpec | None:
    top, *below = name.split(".")
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return None
    for part in below:
        if spec is None or spec.submodule_search_locations is None:
            return None
        spec = PathFinder.find_spec(f"{spec.name}.{part}", spec.submodule_search_locations)
    return spec


_COMPOUND = (ast.If, ast.Try, ast.With, ast.For, ast.While, ast.Match, ast.Delete)


def _names(statement: ast.stmt) -> Iterator[str]:
    """The names that a statement binds, or might."""
    if isinstance(statement, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        yield statement.name
        return
    for node in ast.walk(statement):
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            yield node.id
        elif isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name
        elif isinstance(node, ast.alias):
            yield node.asname or node.name.partition(".")[0]


def _class(module: str, name: str, depth: int) -> tuple[_Module, ast.ClassDef]:
    """The class `name` of a module, and the module that it is written in."""
    if depth > _DEEPEST:
        raise _NotPlainError
    there = _read(module)
    statement = there.bound.get(name)
    if isinstance(statement, ast.ImportFrom):
        return _class(there.absolute(statement), _imported(statement, name), depth + 1)
    if not isinstance(statement, ast.ClassDef) or statement.decorator_list or statement.keywords:
        raise _NotPlainError
    return there, statement


def _imported(statement: ast.ImportFrom, name: str) -> str:
    """What a name is called where it is imported from."""
    return next(alias.name for alias in statement.names if (alias.asname or alias.name) == name)


def _attribute(there: _Module, cls: ast.ClassDef, depth: int) -> str:
    """The citation of a class, its own or the one that it inherits; empty where there is none."""
    mentions = [node for node in ast.walk(there.tree) if isinstance(node, ast.Attribute) and node.attr == _CITATION]
    if not all(isinstance(node.ctx, ast.Load) for node in mentions):
        raise _NotPlainError
    own = [statement for statement in cls.body if _CITATION in _names(statement)]
    if own:
        value = _value(own[0]) if len(own) == 1 else None
        within = {name for statement in cls.body for name in _names(statement)}
        if value is None or any(isinstance(node, ast.Name) and node.id in within for node in ast.walk(value)):
            raise _NotPlainError
        return _text(there, value, depth + 1)
    if not cls.bases:
        return ""
    base = cls.bases[0]
    if len(cls.bases) > 1 or not isinstance(base, ast.Name):
        raise _NotPlainError
    return _attribute(*_class(there.name, base.id, depth + 1), depth + 1)


def _value(statement: ast.stmt) -> ast.expr | None:
    """What a statement assigns to one name alone."""
    if isinstance(statement, ast.Assign) and len(statement.targets) == 1 and isinstance(statement.targets[0], ast.Name):
        return statement.value
    return statement.value if isinstance(statement, ast.AnnAssign) else None


def _text(there: _Module, value: ast.expr | None, depth: int) -> str:
    """The text that an expression of a module is."""
    if depth > _DEEPEST:
        raise _NotPlainError
    if isinstance(value, ast.Constant) and isinstance(value.value, str):
        return value.value
    if isinstance(value, ast.BinOp) and isinstance(value.op, ast.Add):
        return _text(there, value.left, depth + 1) + _text(there, value.right, depth + 1)
    if isinstance(value, ast.Name):
        return _named(there, value.id, depth)
    if isinstance(value, ast.Attribute) and isinstance(value.value, ast.Name):
        return _of(there, value.value.id, value.attr, depth)
    raise _NotPlainError


def _named(there: _Module, name: str, depth: int) -> str:
    """The text that a name of a module stands for."""
    if depth > _DEEPEST:
        raise _NotPlainError
    statement = there.bound.get(name)
    if isinstance(statement, ast.ImportFrom):
        return _named(_read(there.absolute(statement)), _imported(statement, name), depth + 1)
    return _text(there, None if statement is None else _value(statement), depth + 1)


def _of(there: _Module, owner: str, name: str, depth: int) -> str:
    """The text `name` of a class or of a module that a name of a module stands for."""
    if isinstance(there.bound.get(owner), ast.ClassDef | ast.ImportFrom) and name == _CITATION:
        return _attribute(*_class(there.name, owner, depth + 1), depth + 1)
    statement = there.bound.get(owner)
    if not isinstance(statement, ast.ImportFrom):
        raise _NotPlainError
    package = _read(there.absolute(statement))
    part = _imported(statement, owner)
    if not package.package or part in package.bound:
        raise _NotPlainError
    return _named(_read(f"{package.name}.{part}"), name, depth + 1)

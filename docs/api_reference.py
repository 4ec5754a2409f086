"""The page on the programming interface, read from the source: signatures, docstrings, attributes and methods."""

from __future__ import annotations

import ast
import importlib
import inspect
import math
import re
import textwrap
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

LINE = 100
"""Letters of the longest signature that stands on one line."""


def api(module: str) -> str:
    """A section for each public name of a module."""
    owner = importlib.import_module(module)
    return "\n".join(section(name, getattr(owner, name)) for name in sorted(owner.__all__, key=str.lower))


def section(name: str, value: Any) -> str:
    """A public name: its signature, the first paragraph of its docstring, its attributes and methods."""
    if not (inspect.isclass(value) or inspect.isfunction(value)):
        return f"### `{name}`\n\n`{str(value).removeprefix('typing.')}`\n"
    (node,) = ast.parse(textwrap.dedent(inspect.getsource(value))).body
    assert isinstance(node, ast.ClassDef | ast.FunctionDef)
    parts = [f"### `{name}`", f"```python\n{signature(node)}\n```", paragraph(inspect.getdoc(value))]
    if isinstance(node, ast.ClassDef):
        parts += [table("attribute", attributes(node)), table("method", methods(node))]
    else:
        parts.append(table("parameter", list(explained(ast.get_docstring(node)).items())))
    return "\n\n".join(part for part in parts if part) + "\n"


def signature(node: ast.ClassDef | ast.FunctionDef, longest: float = LINE) -> str:
    """How a function or a class is called; a class that takes nothing is named."""
    takes: list[str] = []
    if isinstance(node, ast.FunctionDef):
        takes = parameters(node.args)
    elif constructor := next((own for own in functions(node) if own.name == "__init__"), None):
        takes = parameters(constructor.args)
    elif any("dataclass" in ast.unparse(own) for own in node.decorator_list):
        takes = [named(own.target, own.annotation, own.value) for own in fields(node)]
    elif isinstance(node, ast.ClassDef):
        return f"class {node.name}"
    end = f") -> {ast.unparse(node.returns)}" if isinstance(node, ast.FunctionDef) and node.returns else ")"
    line = f"{node.name}({', '.join(takes)}{end}"
    if len(line) <= longest:
        return line
    return "\n    ".join([f"{node.name}(", *(f"{own}," for own in takes)]) + f"\n{end}"


def parameters(arguments: ast.arguments) -> list[str]:
    """The parameters as the source has them, without `self` and `cls`."""
    plain = [*arguments.posonlyargs, *arguments.args]
    missing: list[ast.expr | None] = [None] * (len(plain) - len(arguments.defaults))
    found = [named(own, own.annotation, value) for own, value in zip(plain, missing + arguments.defaults, strict=True)]
    if arguments.vararg or arguments.kwonlyargs:
        found.append("*" + (ast.unparse(arguments.vararg) if arguments.vararg else ""))
    only = zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    return [own for own in found if own not in ("self", "cls")] + [named(own, own.annotation, v) for own, v in only]


def named(name: ast.expr | ast.arg, annotation: ast.expr | None, value: ast.expr | None) -> str:
    """`name: annotation = value`; a value that is not plain is three dots."""
    text = name.arg if isinstance(name, ast.arg) else ast.unparse(name)
    text += f": {ast.unparse(annotation)}" if annotation else ""
    plain = isinstance(value, ast.Constant | ast.Tuple)
    return text if value is None else f"{text} = {ast.unparse(value) if plain else '...'}"


def functions(node: ast.ClassDef) -> Iterator[ast.FunctionDef]:
    """The methods and properties of a class."""
    return (own for own in node.body if isinstance(own, ast.FunctionDef))


def fields(node: ast.ClassDef) -> Iterator[ast.AnnAssign]:
    """The annotated public attributes of a class."""
    return (own for own in node.body if isinstance(own, ast.AnnAssign) and ast.unparse(own.target)[0] != "_")


def attributes(node: ast.ClassDef) -> list[tuple[str, str]]:
    """Attributes and properties with their types, and what the class or the text behind them says of them."""
    about = explained(ast.get_docstring(node))
    for own, behind in pairwise(node.body):
        if isinstance(own, ast.AnnAssign) and isinstance(behind, ast.Expr) and isinstance(behind.value, ast.Constant):
            about[ast.unparse(own.target)] = paragraph(str(behind.value.value))
    found = [(own.target, own.annotation, about.get(ast.unparse(own.target), "")) for own in fields(node)]
    properties = [own for own in functions(node) if is_property(own) and own.returns]
    return [(f"{ast.unparse(name)}: {ast.unparse(kind)}", text) for name, kind, text in found] + [
        (named(ast.arg(own.name), own.returns, None), paragraph(ast.get_docstring(own))) for own in properties
    ]


def is_property(node: ast.FunctionDef) -> bool:
    """Whether the method is read like an attribute."""
    return any("property" in ast.unparse(own) for own in node.decorator_list)


def methods(node: ast.ClassDef) -> list[tuple[str, str]]:
    """Public methods as they are called, with the first paragraph of their docstrings."""
    public = (own for own in functions(node) if own.name[0] != "_" and not is_property(own))
    return [(signature(own, math.inf), paragraph(ast.get_docstring(own))) for own in public]


def explained(docstring: str | None) -> dict[str, str]:
    """What a docstring explains: names, each on a line over an indented text."""
    found = re.findall(r"^([a-z]\w*(?:, \w+)*)\n((?: {4}.*\n?)+)", docstring or "", flags=re.MULTILINE)
    return {name: " ".join(text.split()) for names, text in found for name in names.split(", ")}


def paragraph(text: str | None) -> str:
    """The first paragraph, on one line."""
    return " ".join((text or "").strip().split("\n\n")[0].split())


def table(what: str, found: Sequence[tuple[str, str]]) -> str:
    """Names and meanings as a table in Markdown, names without a meaning in a line below it."""
    lines = ["| `{}` | {} |".format(name.replace("|", r"\|"), text) for name, text in found if text]
    others = ", ".join(f"`{name}`" for name, text in found if not text)
    parts = ["\n".join([f"| {what} | meaning |", "|---|---|", *lines])] if lines else []
    return "\n\n".join([*parts, f"Also: {others}."] if others else parts)

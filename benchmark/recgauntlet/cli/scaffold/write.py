"""Writing the package of a new plugin: templates rendered beside the target, then moved in one step."""

from __future__ import annotations

from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

import jinja2

from recgauntlet.cli.scaffold.names import Names
from recgauntlet.core.errors import OutputError
from recgauntlet.core.files import write_directory

COMMON = {
    "common/pyproject.toml.j2": "pyproject.toml",
    "common/README.md.j2": "README.md",
    "common/gitignore.j2": ".gitignore",
    "common/LICENSE.j2": "LICENSE",
    "common/test.py.j2": "tests/test_{module}.py",
}
OWN = {
    "defense": {"defense/module.py.j2": "{module}.py"},
    "model": {"model/module.py.j2": "{module}.py"},
    "attack": {"attack/module.py.j2": "{module}.py"},
    "poisoning": {"poisoning/module.py.j2": "{module}.py"},
    "task": {
        "task/module.py.j2": "{module}/__init__.py",
        "task/card.toml.j2": "{module}/card.toml",
        "task/items.csv.j2": "{module}/items.csv",
        "task/interactions.csv.j2": "{module}/interactions.csv",
    },
}


def write_package(names: Names, target: Path) -> tuple[str, ...]:
    """Write the package to the new directory `target`; the paths of its files in it, sorted.

    Raises
    ------
    OutputError
        Where the directory exists, lies inside RecGauntlet's own sources, or cannot be written.
    """
    target = target.expanduser().absolute()
    if target.exists() or target.is_symlink():
        raise OutputError(
            "exists already, and nothing is ever overwritten",
            where=target,
            field="--out",
            remedy="name a directory that is not there yet with --out, or take another name",
        )
    for parent in target.resolve().parents:
        if (parent / "benchmark" / "recgauntlet").is_dir() or (parent / "recgauntlet" / "cli" / "scaffold").is_dir():
            raise OutputError(
                "lies inside RecGauntlet's own sources",
                where=target,
                field="--out",
                remedy=f"a plugin is a package of its own: --out {parent.parent / target.name}",
            )
    files = _rendered(names)
    write_directory(target, files)
    return tuple(sorted(files))


def _rendered(names: Names) -> dict[str, bytes]:
    """Content by path in the package."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("recgauntlet.cli.scaffold", "templates"),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,
    )
    values = asdict(names) | {"group": names.group, "version": version("recgauntlet")}
    return {
        path.format(module=names.module): environment.get_template(template).render(values).encode()
        for template, path in {**COMMON, **OWN[names.kind]}.items()
    }

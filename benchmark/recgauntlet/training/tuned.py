"""Tuned hyper-parameters: the files in which packages ship them, and which of them a cell takes.

A distribution names its file by an entry point (`recgauntlet.tuned`, `package:file.toml`). The file is data: it is
found without importing the package, read as TOML and checked. It may name plugins of its own distribution only.
"""

from __future__ import annotations

import importlib.util
import json
import tomllib
from collections.abc import Sequence
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Literal

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError

from recgauntlet.core.card import Track
from recgauntlet.core.errors import PluginError
from recgauntlet.core.files import write_atomically
from recgauntlet.core.plugins import Kind, names, whose
from recgauntlet.core.spec import CellSpec

GROUP = "recgauntlet.tuned"
Value = bool | int | FiniteFloat | str
"""A hyper-parameter as TOML has it; None is not among them."""
Method = Literal["model", "defense"]
GROUPS: dict[Method, Kind] = {"model": "models", "defense": "defenses"}
HEAD = "# Hyper-parameters chosen by `recgauntlet tune`; see docs/reference/tuning.md.\n"


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class TunedTrial(_Part):
    """One trial, in order: the values, and the objective they reached; None where it failed."""

    values: dict[str, Value]
    objective: FiniteFloat | None = None


class Tuned(_Part):
    """What tuning chose for one method. `task`, `track` and `model` say where; the `model` of a model is itself.

    `trial` is the chosen one, counted from 0; `epochs` are those of a trial's training, at most, `pairs` the validation
    pairs that it was judged on, at most, `commit` the code.
    """

    kind: Method
    name: str
    task: str
    track: Track
    model: str
    values: dict[str, Value]
    objective: FiniteFloat
    trial: int = Field(ge=0)
    seed: int = Field(ge=0)
    epochs: int = Field(ge=1)
    pairs: int = Field(ge=1)
    date: str
    commit: str
    trials: tuple[TunedTrial, ...] = Field(min_length=1)

    @property
    def key(self) -> tuple[str, ...]:
        """What a file has one entry of."""
        return self.kind, self.name, self.task, self.track, self.model


class _File(_Part):
    tuned: tuple[Tuned, ...] = ()


def read_tuned(path: Path) -> tuple[Tuned, ...]:
    """The entries of a file.

    Raises
    ------
    PluginError
        Naming the file, the field at fault and what to do.
    """
    remedy = "correct the field that is named, or write the file again (recgauntlet tune)"
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
        # by way of JSON, where a strict check takes lists for tuples; TOML's dates are not among the values
        entries = _File.model_validate_json(json.dumps(content, default=lambda value: {"is": str(value)})).tuned
    except OSError as error:
        raise PluginError(f"cannot be read ({error.strerror})", where=path, remedy="check the path") from error
    except UnicodeDecodeError as error:
        raise PluginError("is not UTF-8 text", where=path, remedy=remedy) from error
    except tomllib.TOMLDecodeError as error:
        raise PluginError(f"is not TOML: {error}", where=path, remedy=remedy) from error
    except ValidationError as error:
        faults = [(".".join(map(str, fault["loc"])), fault["msg"]) for fault in error.errors()[:5]]
        said = "; ".join(f"{field}: {problem}" for field, problem in faults)
        raise PluginError(said, where=path, field=faults[0][0] or None, remedy=remedy) from error
    keys = [entry.key for entry in entries]
    for number, key in enumerate(keys):
        if key in keys[:number]:
            raise PluginError(
                f"is a second entry of {' '.join(key)}", where=path, field=f"tuned.{number}", remedy="keep one of them"
            )
    return entries


def write_tuned(path: Path, entries: Sequence[Tuned]) -> None:
    """Put `entries` into the file, each in the place of an older one of the same key; the other entries stay.

    Raises
    ------
    PluginError
        Where the file that is there is broken.
    OutputError
        Where it cannot be written.
    """
    kept = {entry.key: entry for entry in (read_tuned(path) if path.exists() else ())}
    kept |= {entry.key: entry for entry in entries}
    content = {"tuned": [kept[key].model_dump(exclude_none=True) for key in sorted(kept)]}
    write_atomically(path, f"{HEAD}\n{tomli_w.dumps(content)}".encode())


def tuned_files(distribution: str) -> tuple[Path, ...]:
    """The files that `distribution` ships.

    Raises
    ------
    PluginError
        Where an entry point names no file inside its package.
    """
    return tuple(_file_of(entry) for entry in _entries() if entry.dist and entry.dist.name == distribution)


def tuned_for(kind: Method, name: str, *, task: str, track: Track, model: str) -> tuple[Tuned, Path] | None:
    """What the distribution of the method `name` ships for it, with the file; None where it was not tuned.

    An entry of the same model goes before one of the same task, that before one of the same track, and then the first
    of the file: what was chosen once is used wherever nothing nearer was.

    Raises
    ------
    PluginError
        Where a file is broken, or names a method of another distribution.
    """
    return nearest(every_tuned(kind, name), task=task, track=track, model=model)


def tuned_of(spec: CellSpec, kind: Method, name: str) -> tuple[Tuned, Path] | None:
    """What is tuned for a cell: in the file that `spec` names, else as in `tuned_for`; None where there is nothing or
    `spec` wants none. Raises as `tuned_for`."""
    if spec.untuned:
        return None
    named = nearest(
        tuned_in(spec.tuned, kind, name) if spec.tuned is not None else (),
        task=spec.task_id,
        track=spec.track,
        model=spec.model,
    )
    return named or tuned_for(kind, name, task=spec.task_id, track=spec.track, model=spec.model)


def nearest(found: Sequence[tuple[Tuned, Path]], *, task: str, track: Track, model: str) -> tuple[Tuned, Path] | None:
    """The first of the entries of one method that is nearest to a cell, in the order of `tuned_for`; None of none."""
    near = [(entry.model == model, entry.task == task, entry.track == track) for entry, _ in found]
    return found[near.index(max(near))] if found else None


def tuned_in(path: Path, kind: Method, name: str) -> tuple[tuple[Tuned, Path], ...]:
    """The entries of a method in a file that a user names; raises as `read_tuned`."""
    return tuple((entry, path) for entry in read_tuned(path) if (entry.kind, entry.name) == (kind, name))


def every_tuned(kind: Method, name: str) -> tuple[tuple[Tuned, Path], ...]:
    """Every entry of a method, in the order of the files; raises as `tuned_for`."""
    distribution = whose(GROUPS[kind], name)[0]
    entries = [(entry, path) for path in tuned_files(distribution) for entry in _owned(path, distribution)]
    return tuple((entry, path) for entry, path in entries if (entry.kind, entry.name) == (kind, name))


def _owned(path: Path, distribution: str) -> tuple[Tuned, ...]:
    entries = read_tuned(path)
    for number, entry in enumerate(entries):
        group = GROUPS[entry.kind]
        if entry.name not in names(group) or whose(group, entry.name)[0] != distribution:
            raise PluginError(
                f"{entry.name!r} is no {entry.kind} of {distribution}",
                where=path,
                field=f"tuned.{number}.name",
                remedy=f"a file may name methods of its own package only: "
                f"{', '.join(n for n in names(group) if whose(group, n)[0] == distribution) or 'none'}",
            )
        if entry.kind == "model" and entry.model != entry.name:
            raise PluginError(
                f"is {entry.model!r} for the model {entry.name!r}",
                where=path,
                field=f"tuned.{number}.model",
                remedy="name the model itself",
            )
    return entries


@cache
def _entries() -> tuple[EntryPoint, ...]:
    return tuple(sorted(entry_points(group=GROUP), key=lambda entry: entry.name))


def _file_of(entry: EntryPoint) -> Path:
    """Where the file of an entry point lies, found without importing anything of its package."""
    top, *below = entry.module.split(".")
    spec = importlib.util.find_spec(top)
    places = list(spec.submodule_search_locations or ()) if spec else []
    files = [Path(place, *below, entry.attr) for place in places]
    found = next((file for file in files if file.is_file()), None)
    if found is None:
        raise PluginError(
            "names no file in its package",
            where=entry.dist.name if entry.dist else None,
            field=f"{GROUP}: {entry.name} = {entry.value!r}",
            remedy='write "package:file.toml" and ship the file in the package',
        )
    return found

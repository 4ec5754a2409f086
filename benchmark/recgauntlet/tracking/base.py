"""What every tracker takes: a run with its names, numbers, pictures and files, nothing of which is a tracker's own."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from recgauntlet.core.errors import OutputError
from recgauntlet.core.types import Scalar


@dataclass(frozen=True)
class Picture:
    """A figure as a PNG file. `name` fits a file name."""

    name: str
    title: str
    png: bytes = field(repr=False)


@dataclass(frozen=True)
class Key:
    """Which run it is. `id` is made from the digests of what is logged: the same content has the same key."""

    task: str
    """The task and its track. Fits a file name."""
    name: str
    """For a reader, on one line; several runs may share it."""
    id: str
    """32 hexadecimal digits."""

    @property
    def project(self) -> str:
        """What a tracker groups the task's runs under, beside those of other programs."""
        return f"recgauntlet-{self.task}"

    @property
    def unique(self) -> str:
        """The name with the beginning of the id."""
        return f"{self.name} {self.id[:10]}"


@dataclass(frozen=True)
class TrackedRun:
    """All that is logged of a run."""

    key: Key
    parameters: Mapping[str, Scalar]
    metrics: Mapping[str, float]
    """By names like `robust/history-perturbation/medium`: parts of letters, digits, `_` and `-`."""
    epochs: tuple[tuple[int, Mapping[str, float]], ...] = ()
    """Metrics of each epoch, with its number."""
    notes: str = ""
    """Markdown, in which every text of the record is escaped."""
    pictures: tuple[Picture, ...] = ()
    files: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    times: tuple[float, float] | None = None
    """When it started and finished, in seconds since 1970; None where that is not known."""
    failed: bool = False

    @property
    def last_step(self) -> int:
        """The last epoch, 0 where nothing was trained."""
        return max((number for number, _ in self.epochs), default=0)


class Tracker(Protocol):
    """A place that runs are logged to. Its methods raise whatever the tracker's own package raises."""

    @property
    def hint(self) -> str:
        """How to look at the runs: a command, or a place."""
        ...

    def has(self, key: Key) -> bool:
        """Whether the whole run is there. One that was interrupted does not count."""
        ...

    def log(self, run: TrackedRun) -> None:
        """Log a run that is not there; what an interrupted attempt left is replaced."""


def package(name: str, extra: str) -> Any:
    """The module `name` of the optional package of `extra`; OutputError where it is not installed."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise OutputError(
            f"cannot be logged to: {error}", where=extra, remedy=f"pip install 'recgauntlet[{extra}]'"
        ) from error

"""Turning whatever is raised in a step of a cell into a failure for its record."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from recgauntlet.core.errors import OutputError, RecGauntletError
from recgauntlet.records.schema import Failure
from recgauntlet.runner.remote.client import RemoteFault


class StepError(Exception):
    """A step of a cell failed, for example because a plugin raised an error; the failure is recorded."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


@contextmanager
def step(stage: str) -> Iterator[None]:
    """Turn what is raised inside into a StepError that names the stage; only OutputError passes."""
    try:
        yield
    except OutputError:
        raise
    except Exception as error:  # whatever a plugin raises ends this cell, not the sweep
        raise StepError(Failure(kind=type(error).__name__, message=_message(error), stage=stage)) from error


def _message(error: Exception) -> str:
    """The error for a record: files by their names alone, since directories may hold private names."""
    if isinstance(error, RecGauntletError):
        where = error.where and Path(error.where).name
        return str(type(error)(error.problem, where=where, field=error.field, remedy=error.remedy))
    if isinstance(error, RemoteFault):  # names the places in the other process
        return str(error)
    frames = traceback.extract_tb(error.__traceback__)[-3:]
    places = " > ".join(f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames)
    return f"{type(error).__name__}: {error} (at {places})"

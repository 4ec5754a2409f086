"""A check of the conformance suite: one property of a plugin, with a remedy."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, TypeVar
from unittest import SkipTest

from recgauntlet.core.batch import Batch
from recgauntlet.core.dataset import TaskData
from recgauntlet.core.errors import RecGauntletError
from recgauntlet.core.types import Scalar
from recgauntlet.testing.process import Globals, left_behind, steady
from recgauntlet.testing.tiny import tiny_data, whole


class ConformanceError(AssertionError):
    """A plugin does not keep to its contract.

    Parameters
    ----------
    problem
        What is wrong.
    remedy
        What to change; empty: the check's own remedy is put in.
    """

    def __init__(self, problem: str, remedy: str = "") -> None:
        self.problem = problem
        self.remedy = remedy
        super().__init__(problem, remedy)

    def __str__(self) -> str:
        return f"{self.problem}\n  what to change: {self.remedy}" if self.remedy else self.problem


class CheckSkipped(SkipTest):
    """A check could not look: the reason is its message. pytest and unittest report it as a skipped test."""


@dataclass(frozen=True)
class Check:
    """One check of one plugin, ready to run.

    name
        Unique among the checks of a kind, stable over versions: expected failures are named by it.
    about
        What it looks at.
    run
        Runs the check; returns a description of what it measured (often empty), or raises.
    remedy
        What to change where it fails, unless the failure itself says something closer.
    """

    name: str
    about: str
    run: Callable[[], str | None] = field(repr=False)
    remedy: str

    def __call__(self) -> str:
        """Run with the process as a cell sets it up, and put the process back as it was.

        Returns a description of what was measured, or an empty text.

        Raises
        ------
        ConformanceError
            Where the plugin fails, or raises.
        CheckSkipped
            Where there is nothing to look at.
        """
        __tracebackhide__ = True  # pytest then shows the author's own line and what is wrong
        try:
            with steady():
                return self.run() or ""
        except ConformanceError as error:
            raise ConformanceError(error.problem, error.remedy or self.remedy) from None
        except CheckSkipped:
            raise
        except RecGauntletError as error:
            raise ConformanceError(error.problem, error.remedy) from None
        except Exception as error:  # a plugin may fail in any way
            raise ConformanceError(f"it raised {described(error)}", self.remedy) from error


CONSTRUCTOR = "constructor"
"""The check that reports that no object can be made."""
Tested = TypeVar("Tested")
AnySubject = TypeVar("AnySubject", bound="Subject[Any]")


@dataclass(frozen=True)
class Subject(Generic[Tested]):
    """A plugin under test: a class with its options, or a task."""

    plugin: Tested
    options: Mapping[str, Scalar] = field(default_factory=dict)
    name: str = ""
    """The registered one; empty for an object that was handed in."""

    def make_object(self) -> None:
        """Make an object of the plugin, if it is a class; the check `constructor` reports an error."""

    def try_out(self) -> None:
        """Do what most checks need to work, if there is such a thing; the check `runs` reports an error."""

    @cached_property
    def failure(self) -> Exception | None:
        """What the plugin raises when it is tried out; None where it works."""
        return _raised(self.try_out)

    @cached_property
    def unbuilt(self) -> Exception | None:
        """What the plugin raises when an object of it is made; None where it can be made."""
        return _raised(self.make_object)

    @cached_property
    def globals_before(self) -> Globals:
        """Class attributes and module variables before anything ran."""
        return Globals.of(self.plugin)

    @cached_property
    def data(self) -> TaskData:
        """The tiny task."""
        return tiny_data()

    @property
    def batch(self) -> Batch:
        """The test pairs."""
        return whole(self.data.test)

    @property
    def train_batch(self) -> Batch:
        """The training pairs."""
        return whole(self.data.train)


@dataclass(frozen=True)
class Rule(Generic[AnySubject]):
    """A check of any plugin of a kind: `body` is a plain function, its docstring says what it looks at.

    One that `needs_run` is skipped where the plugin does not run at all, and all but the check of the constructor where
    no object of it can be made, so that one fault is told once.
    """

    body: Callable[[AnySubject], str | None]
    remedy: str
    needs_run: bool

    @property
    def name(self) -> str:
        """The function's name, with hyphens."""
        return self.body.__name__.strip("_").replace("_", "-")

    @property
    def about(self) -> str:
        """The first paragraph of the docstring, on one line."""
        return " ".join((inspect.getdoc(self.body) or "").split("\n\n")[0].split())

    def of(self, subject: AnySubject) -> Check:
        """The check of one plugin."""

        def run() -> str | None:
            _ = subject.globals_before  # everything of the plugin is imported by now, and nothing has run
            if self.name != CONSTRUCTOR and subject.unbuilt is not None:
                raise CheckSkipped(f"the check {CONSTRUCTOR} fails")
            if self.needs_run and subject.failure is not None:
                raise CheckSkipped("the check runs fails")
            return self.body(subject)

        return Check(self.name, self.about, run, self.remedy)


def rule(remedy: str, *, needs_run: bool = True) -> Callable[[Callable[[AnySubject], str | None]], Rule[AnySubject]]:
    """Make a rule of a function: it raises where the plugin fails, and returns what it measured or None.

    `remedy` says what to change where it fails, unless the failure itself says something closer.
    """
    return lambda body: Rule(body, remedy, needs_run)


def _raised(work: Callable[[], object]) -> Exception | None:
    try:
        work()
    except Exception as error:  # a plugin may fail in any way
        return error
    return None


def described(error: Exception) -> str:
    """An error with its last places, file names without their directories."""
    frames = traceback.extract_tb(error.__traceback__)[-3:]
    places = " > ".join(f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames)
    return f"{type(error).__name__}: {error} (at {places})"


def require(holds: bool, problem: str, remedy: str = "") -> None:
    """ConformanceError unless it holds."""
    if not holds:
        raise ConformanceError(problem, remedy)


def require_nothing_left(work: Callable[[], object]) -> None:
    """ConformanceError where `work` changes a setting, or leaves a thread, an open file or a file behind."""
    left = left_behind(work)
    require(not left, "; ".join(left))

"""A check of the conformance suite: one property of a plugin, with a remedy."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Generic, Protocol, TypeVar
from unittest import SkipTest

from recgauntlet.core.errors import RecGauntletError
from recgauntlet.testing.process import steady


class UnderTest(Protocol):
    """A plugin under test."""

    @property
    def known(self) -> dict[str, bool]:
        """Which checks that others need it has passed."""
        ...

    def begin(self) -> None:
        """Told before each of its checks, when everything of the plugin is imported and before it runs."""
        ...


Subject = TypeVar("Subject", bound=UnderTest)


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
            raise ConformanceError(f"it raised {in_words(error)}", self.remedy) from error


@dataclass(frozen=True)
class Rule(Generic[Subject]):
    """A check of any plugin of a kind: `body` is a plain function, its docstring says what it looks at.

    `needs` is a check without which this one would fail for the same reason: it is then skipped, so that one fault is
    told once.
    """

    name: str
    body: Callable[[Subject], str | None]
    remedy: str
    needs: Rule[Subject] | None = None

    @property
    def about(self) -> str:
        """The first paragraph of the docstring, on one line."""
        return " ".join((inspect.getdoc(self.body) or "").split("\n\n")[0].split())

    def of(self, subject: Subject) -> Check:
        """The check of one plugin."""
        return Check(self.name, self.about, partial(self._run, subject), self.remedy)

    def _run(self, subject: Subject) -> str | None:
        subject.begin()
        if self.needs is not None and not self.needs._passes(subject):
            raise CheckSkipped(f"the check {self.needs.name} fails")
        subject.known[self.name] = False
        measured = self.body(subject)
        subject.known[self.name] = True
        return measured

    def _passes(self, subject: Subject) -> bool:
        """Whether it passes; looked at once."""
        if self.name not in subject.known:
            with suppress(Exception):  # its own check reports the error
                self._run(subject)
        return subject.known.get(self.name, False)


def in_words(error: Exception) -> str:
    """An error with its last places, file names without their directories."""
    frames = traceback.extract_tb(error.__traceback__)[-3:]
    places = " > ".join(f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames)
    return f"{type(error).__name__}: {error} (at {places})"


def require(holds: bool, problem: str, remedy: str = "") -> None:
    """ConformanceError unless it holds."""
    if not holds:
        raise ConformanceError(problem, remedy)

"""Errors a user can act on: each names what is wrong, where, and what to do about it."""

from __future__ import annotations

from pathlib import Path


class RecGauntletError(Exception):
    """Base of every error that is the input's fault, not the program's; the command line exits with 2.

    Parameters
    ----------
    problem
        What is wrong, in one sentence.
    where
        The file or object it was found in.
    field
        The field, column, option or line at fault.
    remedy
        What the reader can do about it.
    """

    exit_code = 2

    def __init__(self, problem: str, *, where: str | Path | None = None, field: str | None = None, remedy: str) -> None:
        self.problem = problem
        self.where = None if where is None else str(where)
        self.field = field
        self.remedy = remedy
        super().__init__(str(self))

    def __reduce__(self) -> tuple[object, ...]:
        """Errors cross process borders; keyword arguments need a helper to be rebuilt."""
        return (_rebuild, (type(self), self.problem, self.where, self.field, self.remedy))

    def __str__(self) -> str:
        place = " ".join(part for part in (self.where and f"{self.where}:", self.field and f"{self.field}:") if part)
        return f"{place + ' ' if place else ''}{self.problem}\n  what to do: {self.remedy}"


def _rebuild(
    kind: type[RecGauntletError], problem: str, where: str | None, field: str | None, remedy: str
) -> RecGauntletError:
    return kind(problem, where=where, field=field, remedy=remedy)


class CardError(RecGauntletError):
    """A task card that is incomplete, contradictory or has unknown fields."""


class DataError(RecGauntletError):
    """A data file that is missing, truncated, changed, foreign or breaks the table rules."""


class RecordError(RecGauntletError):
    """A run record that is truncated, edited or of another schema version."""


class PluginError(RecGauntletError):
    """A task, model, defense or attack that is unknown or breaks its contract."""


class DeviceError(RecGauntletError):
    """A device that was asked for and is not there."""


class ModelProcessError(RecGauntletError):
    """The process that runs a plugin's model ended, or answered with something else than what it was asked for."""


class ExportError(RecGauntletError):
    """A model that cannot be exported, or whose export does not score as the model does."""


class OutputError(RecGauntletError):
    """A place that cannot be written to."""


class BudgetExceeded(RuntimeError):  # noqa: N818  an event more than an error
    """An attack asked the victim for more than its budget: a fault of the attack."""

"""Asking the process of a model, and checking what it answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from torch import Tensor

from recgauntlet.core.errors import DataError, DeviceError, ModelProcessError, PluginError, RecordError
from recgauntlet.core.types import Progress
from recgauntlet.runner.remote.line import LONGEST_HEADER, BrokenLine, Line
from recgauntlet.runner.remote.messages import Fault, Form, misfit

Answer = TypeVar("Answer", bound=BaseModel)
_OWN_ERRORS = (PluginError, RecordError, DataError, DeviceError)
"""Errors of recgauntlet's own that may come from there; OutputError, which ends a sweep, may not."""
_REMEDY = "look into output.txt in the cell's directory, mend the plugin, and run the cell again"


class RemoteFault(Exception):  # noqa: N818  each is given the name of what was raised
    """An exception that the model's code raised in its process; its message names the places there."""


class Client:
    """The evaluation's end of a `Line` to the process of a model.

    Parameters
    ----------
    line
        The connection.
    why
        How the process at its other end ended, as a sentence; called where the connection ends.
    refused
        Called with what the fence refused to the process; does not return.
    """

    def __init__(self, line: Line, why: Callable[[], str], refused: Callable[[str], None]) -> None:
        self._line, self._why, self._refused = line, why, refused
        self._broken: ModelProcessError | None = None

    def ask(
        self,
        call: str,
        fields: dict[str, Any] | None = None,
        tensors: Sequence[Tensor] = (),
        forms: Sequence[Form] = (),
        *,
        check: Callable[[dict[str, Any]], None] = lambda header: None,
        progress: Progress = lambda what, share: None,
    ) -> tuple[dict[str, Any], list[Tensor]]:
        """The header and the arrays of the answer, which must have the `forms`; `check` may look at the header first.

        Raises
        ------
        ModelProcessError
            Where the process has ended, or answers something else than it was asked for; then every later time too.
        RemoteFault, MemoryError, PluginError, RecordError, DataError, DeviceError
            What was raised there.
        """
        if self._broken is not None:
            raise self._broken
        is_answered = False
        try:
            self._line.send({"call": call, **(fields or {})}, tensors)
            header = self._next(progress)
            if "fault" in header:
                self._line.tensors(header)
                is_answered = True
                raise _raised(self.parsed(header["fault"], Fault))
            check(header)
            if problem := misfit(header.get("arrays"), forms):
                raise self.broken(f"answered {call!r} with {problem}")
            found = self._line.tensors(header)
            is_answered = True
            return header, found
        except BrokenLine as error:
            raise self.broken(self._why() or f"sent what is no answer ({error})") from error
        finally:
            if not is_answered and self._broken is None:  # what is left of the answer would be taken for the next one
                self.broken(f"was left in the middle of {call!r}")

    def parsed(self, content: Any, kind: type[Answer]) -> Answer:
        """`content` as a message of `kind`; ModelProcessError where it is none."""
        try:
            return kind.model_validate(content)
        except ValidationError as error:
            raise self.broken(f"sent a message that is no {kind.__name__.lower()}") from error

    def broken(self, problem: str) -> ModelProcessError:
        """The error that the process is of no use any more, because it did what `problem` names."""
        self._line.close()
        self._broken = ModelProcessError(f"the process of the model {problem}", remedy=_REMEDY)
        return self._broken

    def close(self) -> None:
        """End the connection, and so the process."""
        self._line.close()

    def _next(self, progress: Progress) -> dict[str, Any]:
        """The header of the answer, after any progress."""
        while True:
            header = self._line.header(LONGEST_HEADER)
            if isinstance(refused := header.get("refused"), str):
                self._refused(refused[:1000])
            if not isinstance(what := header.get("what"), str):
                return header
            self._line.tensors(header)
            share = header.get("share")
            progress(what[:1000], min(1.0, max(0.0, share)) if isinstance(share, float) else 0.0)


def _raised(fault: Fault) -> Exception:
    """The exception that stands for `fault` here."""
    if fault.is_memory:
        return MemoryError(fault.message[:4096])
    if fault.report is not None and fault.report.kind in {kind.__name__ for kind in _OWN_ERRORS}:
        return fault.report.error()
    named: type[RemoteFault] = type(fault.kind, (RemoteFault,), {})
    return named(fault.message[:4096])

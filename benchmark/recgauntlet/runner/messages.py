"""What a worker process reports to its parent: lines of JSON, never pickles, because a plugin may send anything."""

from __future__ import annotations

import json
from multiprocessing.connection import Connection
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from recgauntlet.core import errors
from recgauntlet.core.errors import RecGauntletError
from recgauntlet.core.types import Scalar

Pair = tuple[dict[str, Scalar], dict[str, Scalar]]
"""Hyper-parameters of a model and of a defense."""
LONGEST = 65536
"""Bytes of one message."""


class ErrorReport(BaseModel):
    """The fields of a RecGauntletError."""

    kind: str
    problem: str
    where: str | None
    field: str | None
    remedy: str

    @classmethod
    def of(cls, error: RecGauntletError) -> ErrorReport:
        """The fields of `error`, cut to a message's length."""
        return cls(
            kind=type(error).__name__,
            problem=error.problem[:4096],
            where=error.where,
            field=error.field,
            remedy=error.remedy[:4096],
        )

    def error(self) -> RecGauntletError:
        """The error; a plain RecGauntletError where the kind is unknown."""
        kind = getattr(errors, self.kind, None)
        if not (isinstance(kind, type) and issubclass(kind, RecGauntletError)):
            kind = RecGauntletError
        return kind(self.problem, where=self.where, field=self.field, remedy=self.remedy)


class Message(BaseModel):
    """One message; most fields are at their defaults."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    what: str = ""
    share: float = Field(default=0.0, ge=0.0, le=1.0)
    """Progress: what is being done, and the share of it that is done."""
    opened: Pair | None = None
    """The hyper-parameters of the cell."""
    defaults: Pair | None = None
    """What these are by default."""
    fingerprint: str = ""
    """That of the task's card."""
    untrained: bool = False
    """Whether an evaluation found no weights of its cell."""
    refused: str = ""
    """What the sandbox refused."""
    error: ErrorReport | None = None
    """What stopped the process."""


def send(pipe: Connection, **fields: Any) -> None:
    """Send the fields of a `Message`."""
    pipe.send_bytes(json.dumps(fields).encode())


def send_error(pipe: Connection, error: RecGauntletError) -> None:
    """Report to the parent process what stopped this one."""
    send(pipe, error=ErrorReport.of(error).model_dump())


def receive(pipe: Connection) -> Message | None:
    """The next message; None at the end, or where what came is no message."""
    try:
        return Message.model_validate_json(pipe.recv_bytes(LONGEST))
    except (EOFError, OSError, ValidationError):
        return None

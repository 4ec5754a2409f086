"""A task under test: its small track loaded from what is on this machine, offline, and made into examples."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from unittest import mock

from recgauntlet.core.card import Track, TrackCard
from recgauntlet.core.dataset import Tables, TaskData
from recgauntlet.core.errors import DataError
from recgauntlet.core.files import cache_root
from recgauntlet.core.task import SourceOptions, Task
from recgauntlet.data.prepare import build
from recgauntlet.data.validate import validate
from recgauntlet.testing.check import CheckSkipped


@dataclass(frozen=True)
class TaskSubject:
    """The task and its registered name (empty for one that is not registered)."""

    task: Task
    name: str
    attempts: list[str] = field(default_factory=list)
    """Connections that the loader tried to open."""
    known: dict[str, bool] = field(default_factory=dict)
    """Which checks that others need it has passed."""

    def begin(self) -> None:
        """Nothing is to be noted."""

    @property
    def track(self) -> Track:
        """The demo track, where there is one: small, and meant for this."""
        return "demo" if "demo" in self.task.card.tracks else "standard"

    @property
    def card(self) -> TrackCard:
        """The card of the track."""
        return self.task.card.track(self.track)

    def load(self) -> Tables:
        """The tables, read offline with what the user's cache holds of downloads."""
        options = SourceOptions(directory=None, cache=cache_root(), offline=True)
        with no_connections(self.attempts):
            return self.task.load(self.task.card, self.track, options)

    @cached_property
    def tables(self) -> Tables:
        """The tables; CheckSkipped where they cannot be had (the check `offline` says why)."""
        try:
            tables = self.load()
        except Exception as error:
            raise CheckSkipped(f"the {self.track} data could not be loaded (see offline)") from error
        return tables

    @cached_property
    def valid_tables(self) -> Tables:
        """The tables; CheckSkipped where they break the rules of tables (the check `tables` says which)."""
        tables = self.tables
        try:
            validate(tables, self.name)
        except Exception as error:
            raise CheckSkipped("the tables break the rules (see tables)") from error
        return tables

    @cached_property
    def data(self) -> TaskData:
        """The examples; CheckSkipped where they cannot be made (the check `examples` says why)."""
        tables = self.valid_tables
        try:
            return build(self.card, tables, "0" * 64, self.name)
        except Exception as error:
            raise CheckSkipped("no examples could be made of the tables (see examples)") from error


@contextmanager
def no_connections(attempts: list[str]) -> Iterator[None]:
    """Every connection fails and is noted."""

    def refused(*address: object, **named: object) -> None:
        attempts.append(str(address[1:] if address and isinstance(address[0], socket.socket) else address))
        raise OSError("a conformance check opens no connection")

    with (
        mock.patch.object(socket.socket, "connect", refused),
        mock.patch.object(socket.socket, "connect_ex", refused),
        mock.patch.object(socket, "create_connection", refused),
        mock.patch.object(socket, "getaddrinfo", refused),
    ):
        yield


def offline_load(subject: TaskSubject) -> Tables | DataError:
    """The tables, or why they are not on this machine."""
    try:
        return subject.load()
    except DataError as error:
        return error

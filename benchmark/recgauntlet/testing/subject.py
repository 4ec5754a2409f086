"""What every kind of plugin under test has: its class, its options, and what stood in its globals before."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Generic, TypeVar

from recgauntlet.core.dataset import TaskData
from recgauntlet.core.types import Scalar
from recgauntlet.testing.process import Globals
from recgauntlet.testing.tiny import tiny_data

Kind = TypeVar("Kind")


@dataclass(frozen=True)
class Subject(Generic[Kind]):
    """The class and its options."""

    plugin: type[Kind]
    options: Mapping[str, Scalar]
    known: dict[str, bool] = field(default_factory=dict)
    """Which checks that others need it has passed."""

    def begin(self) -> None:
        """Note the state of the plugin's globals, once."""
        _ = self.globals_before

    @cached_property
    def globals_before(self) -> Globals:
        """Class attributes and module variables before anything ran."""
        return Globals.of(self.plugin)

    @cached_property
    def data(self) -> TaskData:
        """The tiny task."""
        return tiny_data()

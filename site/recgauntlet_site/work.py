"""Who does what takes long: this process, or several (`recgauntlet.leaderboard.crew`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class Work(Protocol):
    """Does one thing to many items, as `recgauntlet.leaderboard.crew.Crew.map` does."""

    def __call__(
        self, function: Callable[[Item], Result], items: Sequence[Item], *, worth: bool
    ) -> Iterator[Result]: ...


def in_turn(function: Callable[[Item], Result], items: Sequence[Item], *, worth: bool) -> Iterator[Result]:
    """All of it by this process, `worth` others or not."""
    return map(function, items)

"""What a service accepts, and how it refuses."""

from __future__ import annotations

from dataclasses import dataclass

from recgauntlet.core.errors import RecGauntletError

LONGEST_ID = 200
"""Characters of an item id."""
LONGEST_HISTORY = 500
"""Items of a history whose distance is asked for; one that is ranked for is as long as the task's at most."""


@dataclass(frozen=True)
class Limits:
    """What one request may take."""

    candidates: int = 1_000
    """Candidates of a ranking."""
    texts: int = 50
    """Texts whose distance is asked for."""
    text: int = 500
    """Characters of a text."""
    body: int = 1 << 20
    """Bytes of a request's body."""
    seconds: float = 10.0
    """Until a request's body has come, and then until its answer is made; a longer one is refused."""
    waiting: int = 32
    """Requests that wait for the model; more are refused."""


class RequestError(RecGauntletError):
    """A request that is well formed but cannot be answered: unknown items, too much, what the model does not read."""


def check_count(count: int, most: int, what: str, field: str) -> None:
    """RequestError where `count` of `what` is more than `most`."""
    if count > most:
        raise RequestError(
            f"{count:,} {what}, more than {most:,}", field=field, remedy=f"send at most {most:,} in one request"
        )

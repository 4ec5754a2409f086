"""The search for garbage, switched off where hundreds of thousands of objects are made and none is dropped."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

_LEFT: list[object] = []


@contextmanager
def without_collections() -> Iterator[None]:
    """Inside it nothing looks for garbage: among half a million new objects that takes longer than making them."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            if not gc.get_freeze_count():
                gc.freeze()
                gc.unfreeze()  # all that was made now counts as old, so that it is not searched at once
            gc.enable()


def leave_to_the_system(*things: object) -> None:
    """Keep `things` until this process ends, which is soon: to drop hundreds of thousands of objects one by one takes
    longer than to end with them in memory."""
    _LEFT.extend(things)
    gc.freeze()

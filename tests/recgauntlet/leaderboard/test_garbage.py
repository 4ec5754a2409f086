"""The search for garbage is switched off and on again, and what is left to the system is not dropped."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

from recgauntlet.leaderboard import garbage
from recgauntlet.leaderboard.garbage import leave_to_the_system, without_collections


class Thing:
    """Something that can be watched."""


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    yield
    garbage._LEFT.clear()
    gc.unfreeze()
    gc.enable()


def test_there_is_no_search_inside_and_one_outside() -> None:
    with without_collections():
        assert not gc.isenabled()
        with without_collections():
            pass
        assert not gc.isenabled()
    assert gc.isenabled()


def test_what_is_left_to_the_system_stays_and_is_not_searched() -> None:
    kept, dropped = Thing(), Thing()
    watched = weakref.ref(kept), weakref.ref(dropped)
    leave_to_the_system(kept)
    del kept, dropped
    gc.collect()
    assert watched[0]() is not None
    assert watched[1]() is None
    assert gc.get_freeze_count() > 0

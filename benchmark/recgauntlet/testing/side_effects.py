"""The check that all kinds share: the process is unchanged afterwards."""

from __future__ import annotations

import time
from collections.abc import Callable

from recgauntlet.testing.check import require
from recgauntlet.testing.process import Trace, apart, empty_directory

_MOMENT = 2.0
"""Seconds that what is being closed is waited for."""


def require_nothing_left(work: Callable[[], object]) -> None:
    """ConformanceError where `work` changes a setting, or leaves a thread, an open file or a file behind.

    It runs twice: what is opened once for good (a tokenizer, a pool of the library's) is no leak, settings always are.
    What is still being closed by a thread of a library's, as pyarrow closes files, is given a moment.
    """
    with empty_directory() as here, apart():
        first = Trace.now()
        work()
        before = Trace.now()
        work()
        after = _settled(before)
        left = list(dict.fromkeys([*first.changed_settings(after), *before.left_by(after)]))
        left += [f"the file {path.name} was written" for path in sorted(here.iterdir())]
    require(not left, "; ".join(left))


def _settled(before: Trace) -> Trace:
    """The process as it stands once nothing is left that was not there `before`, or after a moment."""
    until = time.monotonic() + _MOMENT
    after = Trace.now()
    while before.left_by(after) and time.monotonic() < until:
        time.sleep(_MOMENT / 40)
        after = Trace.now()
    return after

"""The check that every kind shares: whatever a plugin does, the process is afterwards as it was."""

from __future__ import annotations

from collections.abc import Callable

from recgauntlet.testing.check import require
from recgauntlet.testing.process import Trace, apart, empty_directory


def require_nothing_left(work: Callable[[], object]) -> None:
    """ConformanceError where `work` changes a setting, or leaves a thread, an open file or a file behind.

    It runs twice: what is opened once for good (a tokenizer, a pool of the library's) is no leak, settings always are.
    """
    with empty_directory() as here, apart():
        first = Trace.now()
        work()
        before = Trace.now()
        work()
        after = Trace.now()
        left = list(dict.fromkeys([*first.changed_settings(after), *before.left_by(after)]))
        left += [f"the file {path.name} was written" for path in sorted(here.iterdir())]
    require(not left, "; ".join(left))

"""Child processes for work that may run untrusted code: started, watched from outside, and ended."""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.connection
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Generic, Protocol, Self, TypeVar

from recgauntlet.core.errors import RecGauntletError
from recgauntlet.core.types import Progress as Report
from recgauntlet.runner.messages import Pair, receive
from recgauntlet.runner.sandbox.bubblewrap import Boxed
from recgauntlet.runner.sandbox.limits import Allowance, Meter, end_tree, supervise

LOOKS_EVERY = 0.2
"""Seconds between two looks at what the processes take."""
Job = TypeVar("Job")
_STARTS = threading.Lock()
"""Starting a process polls all others, and two threads that poll one at once lose its exit code."""


class Watcher(Protocol):
    """Follows what happens to cells or trials, each known by its name; the command line draws bars from it. It may be
    called from many threads."""

    def started(self, name: str) -> None:
        """Its process has started."""

    def progress(self, name: str, what: str, share: float) -> None:
        """It does `what` and is done to `share` (0 to 1)."""

    def finished(self, name: str, result: str, failure: str) -> None:
        """It ended with `result`, or with `failure` where that is not empty."""


class Child(Generic[Job]):
    """A process that works on `job`, and what it has reported."""

    def __init__(
        self,
        function: Callable[[Job, Connection], None],
        job: Job,
        name: str,
        allowance: Allowance,
        box: Sequence[str] = (),
    ) -> None:
        self.job = job
        self.name = name
        self.process, self.pipe = spawn(function, job, box)
        self.opened: Pair = ({}, {})
        self.untrained = False
        self.error: RecGauntletError | None = None
        self.stopped: tuple[str, str] | None = None
        """The kind and the message of the rule that it broke, for which it was ended."""
        self._meter = Meter(self.process.pid or 0, allowance)

    def is_running(self, report: Report) -> bool:
        """Take one message and measure; false once there are no more, or a rule is broken."""
        if self.pipe.poll():
            message = receive(self.pipe)
            if message is None:
                return False
            self._meter.heard()
            if message.refused:
                self.stopped = ("FenceError", message.refused)
                return False
            self.untrained = self.untrained or message.untrained
            self.opened = message.opened or self.opened
            if message.error is not None:
                self.error = message.error.error()
            elif message.what:
                report(message.what, message.share)
        self.stopped = self._meter.excess()
        return self.stopped is None

    def collect(self) -> None:
        """Wait for its end, which is forced where it broke a rule, and kill what it left behind."""
        if self.stopped:
            self.kill()
        _join(self.process)
        self._meter.end_rest()
        self.pipe.close()

    def kill(self) -> None:
        """End it with all that it started."""
        if _is_alive(self.process):
            end_tree(self.process.pid or 0)
        _join(self.process)

    @property
    def is_good(self) -> bool:
        """Whether it ended by itself and without an error."""
        return not self.stopped and self.error is None and self.process.exitcode == 0

    def fault(self) -> tuple[str, str]:
        """The kind and the message of what ended a process that left no result."""
        if self.stopped:
            return self.stopped
        if self.error is not None:
            return type(self.error).__name__, str(self.error)
        code = self.process.exitcode or 0
        if code < 0:
            return "ProcessDied", f"the process was killed by signal {-code}; out of memory is the usual cause"
        return "ProcessDied", f"the process ended with exit code {code}"


class ProcessPool:
    """Threads, each of which starts and follows one child process at a time. Where the block ends early, processes that
    still run are killed.

    Submit work to `threads`; in a thread, `follow` runs one process to its end.
    """

    def __init__(self, workers: int) -> None:
        self.threads = ThreadPoolExecutor(workers)
        self._over = threading.Event()
        self._importable = importable()

    def __enter__(self) -> Self:
        self._importable.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self.threads.shutdown(cancel_futures=True)
        self._importable.__exit__(kind, error, trace)

    def follow(self, child: Child[Job], report: Report) -> Child[Job]:
        """Wait until `child` has ended, and pass on its progress; CancelledError where the block has ended before."""
        try:
            while child.is_running(report):
                if self._over.is_set():
                    raise CancelledError
                multiprocessing.connection.wait([child.pipe], timeout=LOOKS_EVERY)
        except BaseException:
            child.kill()
            raise
        child.collect()
        return child


def spawn(
    function: Callable[[Any, Connection], None], argument: object, box: Sequence[str] = (), *, duplex: bool = False
) -> tuple[Any, Connection]:
    """A process that calls `function` with `argument` and a pipe to write to (where it is `duplex`, to read from too),
    and the pipe's other end. Start it inside `importable`. With `box`, a `bubblewrap.command`, it runs behind that."""
    if box:
        mine, theirs = multiprocessing.Pipe(duplex=duplex)
        boxed = Boxed(list(box), function, argument, theirs)  # pyright: ignore[reportArgumentType]
        theirs.close()
        return boxed, mine  # pyright: ignore[reportReturnType]
    context = start_method(["recgauntlet.runner.worker", "recgauntlet_baselines"])
    mine, theirs = context.Pipe(duplex=duplex)
    process = context.Process(target=_supervised, args=(function, argument, theirs), daemon=True)
    with _STARTS:
        process.start()
    theirs.close()
    return process, mine


def start_method(preload: list[str]) -> Any:
    """The context of `multiprocessing` whose processes inherit no thread of this one; where they are forked, modules of
    `preload` are imported once for all. Start them inside `importable`."""
    context: Any = multiprocessing.get_context("forkserver" if os.name == "posix" else "spawn")
    if context.get_start_method() == "forkserver":
        context.set_forkserver_preload(preload)
    return context


def _join(process: Any) -> None:
    """Wait for the end of a process."""
    while _is_alive(process):
        time.sleep(0.01)
    with _STARTS:
        process.join()


def _is_alive(process: Any) -> bool:
    with _STARTS:
        return bool(process.is_alive())


def _supervised(function: Callable[[Any, Connection], None], argument: object, pipe: Connection) -> None:
    supervise(lambda: function(argument, pipe))


@contextlib.contextmanager
def importable() -> Iterator[None]:
    """Children do not need the parent's main module; a console script's could run twice."""
    main = sys.modules["__main__"]
    spec, file = getattr(main, "__spec__", None), getattr(main, "__file__", None)
    try:
        main.__spec__ = None
        if file is not None:
            del main.__file__
        yield
    finally:
        main.__spec__ = spec
        if file is not None:
            main.__file__ = file

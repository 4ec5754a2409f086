"""Work on many items done by several processes, or by this one: the results are the same, and in the same order."""

from __future__ import annotations

import contextlib
import gc
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from importlib import import_module
from multiprocessing import util
from types import TracebackType
from typing import Self, TypeVar

from recgauntlet.runner.processes import importable

Item = TypeVar("Item")
Result = TypeVar("Result")
_CHUNK = 8
"""Items that a process is given at a time, at most: enough to outweigh the giving."""
_ROUNDS = 8
"""How often a process is given some, at least: few enough that all end together."""
_LOST = (BrokenProcessPool, OSError, NotImplementedError)
"""What says that there are no processes: killed, no memory, no semaphores."""
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
"""What tells numerical libraries how many threads to take: one, where there is a process a core."""


class Crew:
    """As many processes as there are cores, started when there is work that is worth it.

    A context manager: at its end, also by Ctrl-C, they are gone. They run functions of this package alone, never a
    plugin's, so they talk in pickles. Where they cannot be started, or one is killed, this process does the work.
    """

    def __init__(self, workers: int | None = None) -> None:
        self._workers = cores() if workers is None else workers
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def map(self, function: Callable[[Item], Result], items: Sequence[Item], *, worth: bool) -> Iterator[Result]:
        """`function` of each of `items`, one after the other. Processes begin with it at once, and this one may do
        something else before it asks for the first. They are started only if it is `worth` it: they take half a second.

        `function` and what it takes and gives must be picklable; what it raises is raised here.
        """
        begun: deque[Future[list[Result]]] = deque()
        if self._workers > 1 and len(items) > 1 and (worth or self._pool is not None):
            try:
                begun = self._begun(function, items)
            except _LOST:
                self._alone()
        return self._results(function, items, begun)

    def begin(self, module: str) -> None:
        """Start the processes and let them import `module`, for work that is sure to come: until then this one may do
        something else."""
        if self._workers > 1:
            try:
                self._submitted(_imported, [module] * self._workers)
            except _LOST:
                self._alone()

    def _begun(self, function: Callable[[Item], Result], items: Sequence[Item]) -> deque[Future[list[Result]]]:
        size = max(1, min(_CHUNK, len(items) // (self._workers * _ROUNDS)))
        chunks = [items[start : start + size] for start in range(0, len(items), size)]
        return deque(self._submitted(partial(_each, function), chunks))

    def _submitted(self, function: Callable[[Item], Result], items: Sequence[Item]) -> list[Future[Result]]:
        if self._pool is None:
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(self._workers, context, initializer=_begin)
        with importable(), _no_interrupts():  # the first calls start the processes
            return [self._pool.submit(function, item) for item in items]

    def _results(
        self, function: Callable[[Item], Result], items: Sequence[Item], begun: deque[Future[list[Result]]]
    ) -> Iterator[Result]:
        done = 0
        try:
            while begun:
                for result in begun.popleft().result():
                    yield result
                    done += 1
        except _LOST:
            self._alone()
        for item in items[done:]:
            yield function(item)

    def _alone(self) -> None:
        """From now on this process does the work."""
        self._end()
        self._workers = 1

    def _end(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _each(function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    return [function(item) for item in items]


def _imported(module: str) -> None:
    import_module(module)


def _begin() -> None:
    """Make this a process of a crew: one thread, deaf to Ctrl-C, and gone when the crew's own process is. It never
    searches for garbage, which can take longer than the work on a table; it does not live long enough to need it."""
    gc.disable()
    os.environ.update(dict.fromkeys(_THREADS, "1"))  # numpy is not there yet
    util.Finalize(None, os._exit, args=(0,), exitpriority=-1)  # not to drop a million objects one by one
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_leave_with_parent, daemon=True).start()


def _leave_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


@contextlib.contextmanager
def _no_interrupts() -> Iterator[None]:
    """Processes that are started inside it never hear Ctrl-C; this one hears it at the end."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)

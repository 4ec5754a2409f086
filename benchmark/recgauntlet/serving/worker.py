"""One thread that works for all requests, with a bounded queue and a deadline."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from recgauntlet.serving.limits import Limits

Answer = TypeVar("Answer")


class Busy(Exception):  # noqa: N818  a state of the service, not a fault
    """Too many requests wait, or one took too long."""


class Worker:
    """Runs functions one after the other: a model is not made for several threads, and each call may use all cores."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="model")
        self._counting = threading.Lock()
        self._there = 0

    @property
    def waiting(self) -> int:
        """Calls that have not ended yet, the running one among them."""
        return self._there

    async def run(self, work: Callable[[], Answer]) -> Answer:
        """What `work` returns or raises.

        A call that has not begun by the deadline is dropped. One that has begun cannot be stopped: its answer is
        dropped, and the next call begins when it ends.

        Raises
        ------
        Busy
            Where too many calls wait already, or the deadline passed.
        """
        if self._there > self._limits.waiting:
            raise Busy(f"{self._there} requests are there already")
        self._count(1)
        job = self._thread.submit(work)
        job.add_done_callback(lambda _: self._count(-1))
        answer = asyncio.wrap_future(job)
        done, _ = await asyncio.wait({answer}, timeout=self._limits.seconds)
        if not done:
            job.cancel()  # in vain where it has begun
            raise Busy(f"there was no answer after {self._limits.seconds:g} s")
        return answer.result()

    def close(self) -> None:
        """Start nothing more."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _count(self, more: int) -> None:
        with self._counting:
            self._there += more

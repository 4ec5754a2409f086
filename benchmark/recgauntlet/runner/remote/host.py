"""The processes of a cell's models: each is a fork of one that has read the training data and imported no plugin.

So a new process costs milliseconds, and nothing that the plugin left in the memory of another is in it. They are below
the evaluation's own process, so that they are measured and ended with it.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import socket
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import reduction
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal

from recgauntlet.core.dataset import TaskData
from recgauntlet.core.errors import ModelProcessError, RecGauntletError
from recgauntlet.core.spec import CellSpec
from recgauntlet.core.task import Task
from recgauntlet.data import cache as store
from recgauntlet.data.custom import find_task_or_card
from recgauntlet.runner.messages import ErrorReport
from recgauntlet.runner.processes import importable, spawn
from recgauntlet.runner.remote.cell_server import serve
from recgauntlet.runner.remote.client import Client
from recgauntlet.runner.remote.line import Line
from recgauntlet.runner.sandbox.bubblewrap import command
from recgauntlet.runner.sandbox.limits import end_with_parent

Role = Literal["cell", "twin"]
WORKS = hasattr(os, "fork")
"""Whether the system can copy a process. Elsewhere models of plugins run where they are judged."""
_ENDING = 2.0
"""Seconds that a process whose connection has ended may take to end."""


@dataclass(frozen=True)
class HostJob:
    """What a cell's models are made from."""

    spec: CellSpec
    prepared: Path
    """The prepared data of the track."""
    guarded: bool = True
    boxed: bool = False
    """Whether the processes run behind bubblewrap."""
    place: Path = Path()
    """The directory below which the processes write, each in one of its own. [in that of the cell]"""

    def __post_init__(self) -> None:
        if self.place == Path():
            object.__setattr__(self, "place", self.spec.workplace / "models")


class Host:
    """The evaluation's side: starts processes of models, and knows how each ended.

    With `forks`, their ancestor is a fork of this process: start it first of all, while this process has one thread and
    no data in its memory. Otherwise it is a new process. `refused` is called with what the fence refused to one of
    them, and does not return.
    """

    def __init__(self, job: HostJob, refused: Callable[[str], None], *, forks: bool) -> None:
        self._refused = refused
        self._opened = 0
        self._job = job
        if job.boxed or not forks:
            with importable():
                box = command((job.place,)) if job.boxed else ()
                self._process, self._control = spawn(run_host, job, box, duplex=True)
            return
        self._control, theirs = multiprocessing.Pipe()
        if os.fork() == 0:
            try:
                _close_all_but(theirs.fileno())
                run_host(job, theirs)  # pyright: ignore[reportArgumentType]
            except BaseException:  # nobody above this
                traceback.print_exc()
            finally:
                os._exit(1)
        theirs.close()

    def open(self, role: Role, weights: Path | None = None) -> tuple[Client, Path]:
        """A new process for the model of the cell or of its twin, and its directory; with `weights`, it has read that
        file.

        Raises
        ------
        RecGauntletError
            Where the task or its data cannot be read.
        """
        number, self._opened = self._opened, self._opened + 1
        answer = self._ask({"open": number, "role": role, "weights": None if weights is None else str(weights)})
        if answer:
            raise ErrorReport.model_validate(answer).error()
        end = socket.socket(fileno=reduction.recv_handle(self._control))
        return Client(Line(end), lambda: self._end_of(number), self._refused), self._job.place / str(number)

    def close(self) -> None:
        """End all of them."""
        self._control.close()

    def _end_of(self, number: int) -> str:
        """How a process ended; empty where it runs."""
        with suppress(ModelProcessError):
            code = self._ask({"end": number})["code"]
            if code is None:
                return ""
            if code < 0:
                return f"was killed by signal {-code}; out of memory is the usual cause"
            return f"ended with exit code {code}"
        return "ended with what had started it"

    def _ask(self, question: dict[str, Any]) -> dict[str, Any]:
        try:
            self._control.send_bytes(json.dumps(question).encode())
            answer: dict[str, Any] = json.loads(self._control.recv_bytes())
        except (OSError, EOFError) as error:
            raise ModelProcessError(
                "the process that starts those of models has ended",
                remedy="run the cell again; out of memory is the usual cause",
            ) from error
        return answer


def run_host(job: HostJob, pipe: Connection) -> None:
    """Start processes as they are asked for, until the evaluation has ended; then end them all and this one."""
    control = Connection(os.dup(pipe.fileno()))  # it is read from and written to
    end_with_parent()
    parts: tuple[Task, TaskData] | None = None
    running: dict[int, int] = {}
    codes: dict[int, int] = {}
    with suppress(EOFError, OSError):
        while True:
            question = json.loads(control.recv_bytes())
            if "end" in question:
                control.send_bytes(json.dumps({"code": _code_of(question["end"], running, codes)}).encode())
                continue
            try:
                parts = parts or (find_task_or_card(job.spec.task), store.load_training(job.prepared))
            except RecGauntletError as error:
                control.send_bytes(ErrorReport.of(error).model_dump_json().encode())
                continue
            for number in list(running):  # those that have ended
                _code_of(number, running, codes, patience=0.0)
            running[question["open"]] = _fork(job, question, parts, control)
    for pid in running.values():
        with suppress(OSError):
            os.kill(pid, signal.SIGKILL)
    os._exit(0)


def _code_of(number: int, running: dict[int, int], codes: dict[int, int], patience: float = _ENDING) -> int | None:
    """The exit code of a process (negative for a signal); None where it runs on."""
    end = time.monotonic() + patience
    while number in running:
        pid, status = os.waitpid(running[number], os.WNOHANG)
        if pid:
            del running[number]
            codes[number] = os.waitstatus_to_exitcode(status)
        elif time.monotonic() > end:
            break
        else:
            time.sleep(0.005)
    return codes.get(number)


def _fork(job: HostJob, question: dict[str, Any], parts: tuple[Task, TaskData], control: Connection) -> int:
    """Start a process, and hand the other end of its connection to the evaluation; its id."""
    mine, theirs = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            end_with_parent()
            _close_all_but(theirs.fileno())
            weights = Path(question["weights"]) if question["weights"] else None
            spec = job.spec if question["role"] == "cell" else job.spec.twin()
            serve(spec, parts, weights, job.place / str(question["open"]), Line(theirs), guarded=job.guarded)
            status = 0
        except BaseException:  # nobody above this
            traceback.print_exc()
        finally:
            os._exit(status)
    theirs.close()
    control.send_bytes(b"{}")
    reduction.send_handle(control, mine.fileno(), os.getppid())
    mine.close()
    return pid


def _close_all_but(handle: int) -> None:
    """Close every file but `handle` and the standard ones: what is inherited belongs to the evaluation."""
    os.closerange(3, handle)
    os.closerange(handle + 1, os.sysconf("SC_OPEN_MAX"))

"""What runs in a cell's own process, behind its fence: training, which never sees test data, or the evaluation.

The process talks to the sweep in lines of JSON, never in pickles: what a plugin's process sends is data to the sweep.
"""

from __future__ import annotations

import json
import os
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal

import torch
from tqdm import tqdm

from recgauntlet.core import errors
from recgauntlet.core.errors import RecGauntletError
from recgauntlet.core.files import downloads, prepared
from recgauntlet.core.spec import WORKPLACES, CellSpec
from recgauntlet.core.task import Task
from recgauntlet.core.types import Scalar
from recgauntlet.data import cache as store
from recgauntlet.data.custom import SUFFIXES, find_task_or_card
from recgauntlet.runner.cell import check_spec, evaluate_apart, train_apart
from recgauntlet.runner.record import twin_directory
from recgauntlet.runner.sandbox.audit_hook import Fence, raise_fence
from recgauntlet.training.build import OpenCell, open_cell
from recgauntlet.training.device import describe

Phase = Literal["training", "evaluation"]
Pair = tuple[dict[str, Scalar], dict[str, Scalar]]
"""Hyper-parameters of a model and of a defense."""
LONGEST_MESSAGE = 65536
_CACHES = ("TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR", "CUDA_CACHE_PATH", "MPLCONFIGDIR", "NUMBA_CACHE_DIR")
"""Environment variables that set where libraries keep what they compile."""
LARGEST_FILE = 8 * 2**30
"""Bytes that one file of a cell may hold."""


@dataclass(frozen=True)
class Job:
    """A phase of a cell. `prepared` is where the track's prepared data lies; `started` is when the cell began."""

    spec: CellSpec
    phase: Phase
    prepared: Path
    started: str
    guarded: bool = True

    @property
    def weights(self) -> Path:
        """Where training leaves the weights."""
        return self.spec.workplace / "weights.safetensors"

    @property
    def record(self) -> Path:
        """Where the record is left."""
        return self.spec.workplace / "record.json"


@dataclass(frozen=True)
class Message:
    """What a cell's process said: progress, the hyper-parameters of its model and defense (`opened`) and what they are
    by default, that its weights are not there (`untrained`), what it was `refused`, the `error` that stopped it, or the
    `fingerprint` of its card."""

    what: str = ""
    share: float = 0.0
    opened: Pair | None = None
    defaults: Pair | None = None
    untrained: bool = False
    refused: str = ""
    error: RecGauntletError | None = None
    fingerprint: str = ""


def begin(pipe: Connection) -> Callable[[str, float], None]:
    """Make this a worker's process; what to call with its progress."""
    _lead_a_group()
    tqdm.set_lock(threading.RLock())  # its own is a system semaphore, which a killed process leaves behind
    warnings.filterwarnings("ignore", category=FutureWarning)
    last = [0.0]

    def progress(what: str, share: float) -> None:
        now = time.monotonic()
        if now - last[0] < 0.1 and share < 1.0:
            return
        last[0] = now
        try:
            _send(pipe, {"what": what, "share": share})
        except OSError:  # the sweep is gone: what it cannot collect need not be computed
            os._exit(1)

    return progress


def work(job: Job, pipe: Connection) -> None:
    """Do a job in this process and report its progress to the sweep."""
    progress, spec = begin(pipe), job.spec
    try:
        task = find_task_or_card(spec.task)
        if job.phase == "training":
            data = store.load_training(job.prepared)
            train_apart(_open_inside(job, task, pipe), data, job.started, job.weights, job.record, progress)
        elif not evaluate_apart(_open_inside(job, task, pipe), job.started, job.record, progress):
            _send(pipe, {"untrained": True})
    except RecGauntletError as error:
        send_error(pipe, error)
    pipe.close()


@dataclass(frozen=True)
class Look:
    """Specs to be looked up by a process that may write to `scratch`."""

    specs: tuple[CellSpec, ...]
    scratch: Path


def check_apart(look: Look, pipe: Connection) -> None:
    """Send what is known of each spec in turn, after looking up all that it names, or the first error."""
    _lead_a_group()
    try:
        cards = [find_task_or_card(spec.task).card for spec in look.specs]
        _settle(look.scratch)
        raise_fence(Fence((look.scratch,)), _reporter(pipe))
        for card, spec in zip(cards, look.specs, strict=True):
            cell = check_spec(spec)
            known = {"opened": cell.options, "defaults": cell.defaults}
            _send(pipe, {"fingerprint": card.fingerprint(spec.track), **known})
    except RecGauntletError as error:
        send_error(pipe, error)
    pipe.close()


def receive(pipe: Connection) -> Message | None:
    """The next message of a cell's process; None once there is no more, or what came is none."""
    try:
        content = json.loads(pipe.recv_bytes(LONGEST_MESSAGE))
        if not isinstance(content, dict):
            return None
        fault = content.get("error")
        return Message(
            what=str(content.get("what", "")),
            share=min(1.0, max(0.0, float(content.get("share", 0.0)))),
            untrained=content.get("untrained") is True,
            refused=str(content.get("refused", "")),
            error=rebuilt(fault) if isinstance(fault, dict) else None,
            opened=_options(content.get("opened")),
            defaults=_options(content.get("defaults")),
            fingerprint=str(content.get("fingerprint", "")),
        )
    except (EOFError, OSError, ValueError, TypeError, RecursionError):
        return None


def rebuilt(fields: dict[str, Any]) -> RecGauntletError:
    """The error whose fields a process sent; a plain one where its kind is none of ours."""
    kind = getattr(errors, str(fields.get("kind")), None)
    if not (isinstance(kind, type) and issubclass(kind, RecGauntletError)):
        kind = RecGauntletError
    where, field = fields.get("where"), fields.get("field")
    return kind(
        str(fields.get("problem", "")),
        where=None if where is None else str(where),
        field=None if field is None else str(field),
        remedy=str(fields.get("remedy", "")),
    )


def _options(said: Any) -> Pair | None:
    """Hyper-parameters that a process sent, plain values alone."""
    if not (isinstance(said, list) and len(said) == 2 and all(isinstance(part, dict) for part in said)):
        return None
    model, defense = (
        {str(name): value for name, value in part.items() if isinstance(value, (bool, int, float, str, type(None)))}
        for part in said
    )
    return model, defense


def _fields(error: RecGauntletError) -> dict[str, Any]:
    return {
        "kind": type(error).__name__,
        "problem": error.problem[:4096],
        "where": error.where,
        "field": error.field,
        "remedy": error.remedy[:4096],
    }


def send_error(pipe: Connection, error: RecGauntletError) -> None:
    """Report to the parent process what stopped this one."""
    _send(pipe, {"error": _fields(error)})


def _send(pipe: Connection, content: dict[str, Any]) -> None:
    pipe.send_bytes(json.dumps(content).encode())


def enclose(spec: CellSpec, fence: Fence, pipe: Connection) -> None:
    """Put this process behind `fence`, with its output and its temporary files in the cell's own directory; nothing of
    a plugin has run in it yet."""
    describe(torch.device("cpu"), "fp32")  # asks git and the platform, which starts processes, and remembers
    _limit_files()
    _settle(spec.workplace / "tmp")
    _quiet(spec.workplace / "output.txt")
    raise_fence(fence, _reporter(pipe))


def training_fence(spec: CellSpec) -> Fence:
    """The fence of a process that may not see what holds labels of the test period."""
    return Fence((spec.workplace,), tuple(_with_labels(spec)))


def _open_inside(job: Job, task: Task, pipe: Connection) -> OpenCell:
    """Raise the fence, then look up the plugins."""
    if job.guarded:
        enclose(job.spec, _fence(job), pipe)
    cell = open_cell(job.spec, task)
    _send(pipe, {"opened": cell.options})
    return cell


def _fence(job: Job) -> Fence:
    spec = job.spec
    if job.phase == "training":
        return training_fence(spec)
    twins = twin_directory(spec.source)
    twins.mkdir(parents=True, exist_ok=True)
    return Fence((spec.workplace, twins))


def _settle(scratch: Path) -> None:
    """Let temporary files, and what libraries compile, go to `scratch`."""
    scratch.mkdir(parents=True, exist_ok=True)
    os.environ["TMPDIR"] = tempfile.tempdir = str(scratch)
    for name in _CACHES:
        os.environ[name] = str(scratch / name.lower())


def _with_labels(spec: CellSpec) -> Iterator[Path]:
    """What holds labels of the test period: prepared and raw data, and other cells' results."""
    cache, own = spec.source.cache, spec.source.directory
    yield from (prepared(cache), downloads(cache), twin_directory(spec.source))
    yield from (spec.out / spec.task_id, spec.out / "checkpoints", spec.out / WORKPLACES)
    if own is not None and own.is_dir():
        yield from (path for path in own.iterdir() if path.is_file())
    if spec.task.endswith(".toml"):
        beside = Path(spec.task).absolute().parent
        yield from (path for path in beside.iterdir() if path.suffix in SUFFIXES)


def _lead_a_group() -> None:
    """So that this process can be killed with all that it starts, at once."""
    if os.name == "posix":
        os.setsid()


def _reporter(pipe: Connection) -> Callable[[str], None]:
    def report(what: str) -> None:
        _send(pipe, {"refused": what})

    return report


def _quiet(path: Path) -> None:
    """What the process prints goes to a file: a plugin's words could write on the terminal what they like."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    for stream in (1, 2):
        os.dup2(handle, stream)
    os.close(handle)


def _limit_files() -> None:
    try:
        import resource
    except ImportError:  # not on Windows
        return
    resource.setrlimit(resource.RLIMIT_FSIZE, (LARGEST_FILE, LARGEST_FILE))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

"""Putting a process that runs plugins behind its fence, with its own output and temporary files."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch

from recgauntlet.core.files import downloads, poison, prepared
from recgauntlet.core.spec import WORKPLACES, CellSpec
from recgauntlet.core.task import SourceOptions
from recgauntlet.data.custom import table_files
from recgauntlet.runner.record import twin_directory
from recgauntlet.runner.sandbox.audit_hook import Fence, Report, raise_fence
from recgauntlet.training.device import describe

_CACHES = ("TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR", "CUDA_CACHE_PATH", "MPLCONFIGDIR", "NUMBA_CACHE_DIR")
"""Environment variables that set where libraries keep what they compile."""
LARGEST_FILE = 8 * 2**30
"""Bytes that one file of a cell may hold."""


def enclose(place: Path, fence: Fence, report: Report) -> None:
    """Put this process behind `fence` before any code of a plugin runs, with its output and its temporary files in the
    directory `place`; `report` gets what is refused."""
    describe(torch.device("cpu"), "fp32")  # starts processes (git), and keeps the result
    _limit_files()
    for path in fence.writable:
        path.mkdir(parents=True, exist_ok=True)
    use_scratch(place / "tmp")
    _redirect_output(place / "output.txt")
    raise_fence(fence, report)


def training_fence(spec: CellSpec, place: Path | None = None) -> Fence:
    """The fence of a process that may not read what holds labels of the test period; it may write in `place` (None: the
    cell's own directory)."""
    return Fence((place or spec.workplace,), tuple(_paths_with_labels(spec)))


def use_scratch(scratch: Path) -> None:
    """Let temporary files, and what libraries compile, go to `scratch`."""
    scratch.mkdir(parents=True, exist_ok=True)
    os.environ["TMPDIR"] = tempfile.tempdir = str(scratch)
    for name in _CACHES:
        os.environ[name] = str(scratch / name.lower())


def lead_a_group() -> None:
    """Let this process be killed with all that it starts, at once."""
    if os.name == "posix" and os.getpgrp() != os.getpid():  # bubblewrap has done so
        os.setsid()


def _paths_with_labels(spec: CellSpec) -> Iterator[Path]:
    """What holds labels of the test period (prepared and raw data, other cells' results) or names fake accounts."""
    yield from paths_of_data(spec.task, spec.source)
    yield from (spec.out / spec.task_id, spec.out / "checkpoints", spec.out / WORKPLACES)


def paths_of_data(task: str, source: SourceOptions) -> Iterator[Path]:
    """Where the data of a task lies (a name, or the path of a card), with the test period and fake accounts."""
    cache, own = source.cache, source.directory
    yield from (prepared(cache), downloads(cache), poison(cache), twin_directory(source))
    if own is not None and own.is_dir():
        yield from (path for path in own.iterdir() if path.is_file())
    if task.endswith(".toml"):
        yield from table_files(Path(task), own)


def _redirect_output(path: Path) -> None:
    """Send output to a file: printed by a plugin, it could control the terminal."""
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

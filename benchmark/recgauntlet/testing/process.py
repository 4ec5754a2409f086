"""Side effects of a plugin on the process: settings, threads, open files, tensors, globals."""

from __future__ import annotations

import gc
import os
import pickle
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import chdir, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any
from unittest import mock

import numpy as np
import torch

from recgauntlet.training.device import make_deterministic


@contextmanager
def steady() -> Iterator[None]:
    """One thread, deterministic kernels and seeded generators, as in a cell; all of it put back afterwards."""
    states = random.getstate(), np.random.get_state()
    threads, dtype = torch.get_num_threads(), torch.get_default_dtype()
    exact = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    utils: Any = torch.utils.deterministic
    filled = utils.fill_uninitialized_memory
    with mock.patch.dict(os.environ), chdir(Path.cwd()), torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.set_num_threads(1)
        scramble(0)
        make_deterministic(0)
        try:
            yield
        finally:
            utils.fill_uninitialized_memory = filled
            torch.use_deterministic_algorithms(exact, warn_only=warn_only)
            torch.set_num_threads(threads)
            torch.set_default_dtype(dtype)
            random.setstate(states[0])
            np.random.set_state(states[1])


def scramble(seed: int) -> None:
    """Put the global generators of Python and numpy elsewhere: a cell does not seed them, nobody may draw from them."""
    random.seed(seed)
    np.random.seed(seed)


def left_behind(work: Callable[[], object]) -> list[str]:
    """Settings that `work` changes, and threads, open files and files that it leaves: a description of each.

    It runs twice: what is opened once for good (a tokenizer, a pool of the library's) is no leak, settings always are.
    What is still being closed by a thread of a library's, as pyarrow closes files, is given two seconds.
    """
    with tempfile.TemporaryDirectory(prefix="recgauntlet-check-") as here, chdir(here), apart():
        settings = _settings()
        work()
        running = _running()
        work()
        after = _settings()
        names = settings.keys() | after.keys()
        found = [f"{name} changed" for name in sorted(names) if settings.get(name) != after.get(name)]
        until = time.monotonic() + 2.0
        while (left := _running() - running) and time.monotonic() < until:
            time.sleep(0.05)
        written = [f"the file {path.name} was written" for path in sorted(Path(here).iterdir())]
        return [*found, *sorted(left.elements()), *written]


def _settings() -> dict[str, str]:
    """Settings of the process by name."""
    return {
        "the working directory": str(Path.cwd()),
        "torch's number of threads": str(torch.get_num_threads()),
        "torch's gradient mode": str(torch.is_grad_enabled()),
        "torch's default type": str(torch.get_default_dtype()),
        "torch's deterministic kernels": str(torch.are_deterministic_algorithms_enabled()),
        "the recursion limit": str(sys.getrecursionlimit()),
        "the module search path": str(sys.path),
        **{f"the environment variable {name}": value for name, value in os.environ.items()},
    }


def _running() -> Counter[str]:
    """Descriptions of the threads that run and of the files that are open (none where the system lists none)."""
    gc.collect()  # quick inside `apart`
    found = [f"the thread {thread.name} ({thread.ident}) is still running" for thread in threading.enumerate()]
    directory = next((path for path in map(Path, ("/proc/self/fd", "/dev/fd")) if path.is_dir()), None)
    for descriptor in directory.iterdir() if directory else ():
        with suppress(OSError):  # the descriptor of the listing itself, or one that cannot be named
            found.append(f"{descriptor.readlink()} is still open")
    return Counter(found)


@contextmanager
def apart() -> Iterator[None]:
    """Leave everything that exists out of garbage collection and counting: both are quick then, in any process."""
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def live_tensors() -> int:
    """How many tensors somebody holds (inside `apart`: of those made there), the nodes of their graphs counted too."""
    gc.collect()
    tensors = [thing for thing in gc.get_objects() if issubclass(type(thing), torch.Tensor)]
    seen: set[Any] = set()
    waiting = [tensor.grad_fn for tensor in tensors if tensor.grad_fn is not None]
    while waiting:
        node = waiting.pop()
        if node not in seen:
            seen.add(node)
            waiting += [after for after, _ in node.next_functions if after is not None]
    return len(tensors) + len(seen)


@dataclass(frozen=True)
class Globals:
    """The state of a plugin's classes and modules: attributes and module variables, each as a digest."""

    values: dict[str, bytes]

    @classmethod
    def of(cls, plugin: object) -> Globals:
        """The classes that `plugin` is made of and their modules, recgauntlet's own contracts left out."""
        bases = getattr(plugin, "__mro__", ())  # whatever is no class fails its check of the constructor
        own = [base for base in bases if base.__module__.partition(".")[0] not in _NOT_THE_PLUGINS]
        values: dict[str, bytes] = {}
        for base in own:
            for name, value in vars(base).items():
                _note(values, f"{base.__name__}.{name}", value)
        for module in {base.__module__ for base in own}:
            for name, value in vars(sys.modules[module]).items() if module in sys.modules else ():
                _note(values, f"{module}.{name}", value)
        return cls(values)

    def changed(self, later: Globals) -> list[str]:
        """The names that differ, are new or are gone."""
        names = self.values.keys() | later.values.keys()
        return sorted(name for name in names if self.values.get(name) != later.values.get(name))


_NOT_THE_PLUGINS = {"recgauntlet", "torch", "builtins", "abc", "typing"}


def _note(values: dict[str, bytes], name: str, value: object) -> None:
    if name.rpartition(".")[2].startswith(("__", "_abc_")) or isinstance(value, ModuleType):
        return
    if isinstance(value, FunctionType | type | staticmethod | classmethod | property):
        values[name] = str(id(value)).encode()
        return
    try:
        values[name] = pickle.dumps(value)
    except Exception:  # whatever cannot be pickled is told apart by which object it is
        values[name] = f"{type(value).__name__} {id(value)}".encode()

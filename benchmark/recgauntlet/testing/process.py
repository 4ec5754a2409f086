"""Side effects of a plugin on the process: settings, threads, open files, tensors, globals."""

from __future__ import annotations

import gc
import os
import pickle
import random
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import numpy as np
import torch

from recgauntlet.training.device import make_deterministic

_DESCRIPTORS = ("/proc/self/fd", "/dev/fd")


@contextmanager
def steady(seed: int = 0) -> Iterator[None]:
    """One thread, deterministic kernels and seeded generators, as in a cell; all of it put back afterwards."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    threads, grad, dtype = torch.get_num_threads(), torch.is_grad_enabled(), torch.get_default_dtype()
    exact, warn_only = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )
    utils: Any = torch.utils.deterministic
    filled = utils.fill_uninitialized_memory
    environment, directory = dict(os.environ), Path.cwd()
    torch.set_num_threads(1)
    torch.set_grad_enabled(True)
    scramble(seed)
    make_deterministic(seed)
    try:
        yield
    finally:
        os.chdir(directory)
        os.environ.clear()
        os.environ.update(environment)
        utils.fill_uninitialized_memory = filled
        torch.use_deterministic_algorithms(exact, warn_only=warn_only)
        torch.set_num_threads(threads)
        torch.set_grad_enabled(grad)
        torch.set_default_dtype(dtype)
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])


def scramble(seed: int) -> None:
    """Put the global generators of Python and numpy elsewhere: a cell does not seed them, nobody may draw from them."""
    random.seed(seed)
    np.random.seed(seed)


@contextmanager
def empty_directory() -> Iterator[Path]:
    """An empty working directory, left and removed afterwards."""
    before = Path.cwd()
    with tempfile.TemporaryDirectory(prefix="recgauntlet-check-") as name:
        os.chdir(name)
        try:
            yield Path(name)
        finally:
            os.chdir(before)


@dataclass(frozen=True)
class Trace:
    """Settings, threads and open files: names with a description of their state."""

    settings: dict[str, str]
    threads: frozenset[str]
    files: tuple[str, ...]

    @classmethod
    def now(cls) -> Trace:
        """The process as it stands, after garbage collection."""
        gc.collect()  # quick inside `apart`
        settings = {
            "the working directory": str(Path.cwd()),
            "torch's number of threads": str(torch.get_num_threads()),
            "torch's gradient mode": str(torch.is_grad_enabled()),
            "torch's default type": str(torch.get_default_dtype()),
            "torch's deterministic kernels": str(torch.are_deterministic_algorithms_enabled()),
            "the recursion limit": str(sys.getrecursionlimit()),
            "the module search path": str(sys.path),
            **{f"the environment variable {name}": value for name, value in os.environ.items()},
        }
        running = frozenset(f"{thread.name} ({thread.ident})" for thread in threading.enumerate())
        return cls(settings, running, _open_files())

    def changed_settings(self, later: Trace) -> list[str]:
        """Descriptions of the settings that differ."""
        names = self.settings.keys() | later.settings.keys()
        return [f"{name} changed" for name in sorted(names) if self.settings.get(name) != later.settings.get(name)]

    def left_by(self, later: Trace) -> list[str]:
        """Descriptions of what runs or is open in `later` and was not before."""
        found = [f"the thread {name} is still running" for name in sorted(later.threads - self.threads)]
        before = list(self.files)
        for name in later.files:
            if name in before:
                before.remove(name)
            else:
                found.append(f"{name} is still open")
        return found


def _open_files() -> tuple[str, ...]:
    """What the process has open, one name a descriptor; nothing where the system does not say."""
    for directory in _DESCRIPTORS:
        if Path(directory).is_dir():
            names = []
            for descriptor in Path(directory).iterdir():
                with suppress(OSError):  # the descriptor of the listing itself, or one that cannot be named
                    names.append(str(descriptor.readlink()))
            return tuple(sorted(names))
    return ()


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
    def of(cls, plugin: type) -> Globals:
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

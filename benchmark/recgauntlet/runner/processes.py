"""Child processes for work that may run untrusted code: how they are started, and what they inherit."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import sys
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from typing import Any


def spawn(function: Callable[[Any, Connection], None], argument: object) -> tuple[Any, Connection]:
    """A process that calls `function` with `argument` and a pipe to write to, and the pipe's other end. Start it inside
    `importable`."""
    context: Any = multiprocessing.get_context("forkserver" if os.name == "posix" else "spawn")
    if context.get_start_method() == "forkserver":
        context.set_forkserver_preload(["recgauntlet.runner.worker", "recgauntlet_baselines", "transformers"])
    mine, theirs = context.Pipe(duplex=False)
    process = context.Process(target=function, args=(argument, theirs), daemon=True)
    process.start()
    theirs.close()
    return process, mine


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

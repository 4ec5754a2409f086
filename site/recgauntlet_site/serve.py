"""The site on this machine alone, made anew when records change."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from recgauntlet.core.errors import OutputError

HOST = "127.0.0.1"
LOOKS_EVERY = 1.0
"""Seconds between looks at the records."""
State = frozenset[tuple[str, int, int]]


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """No log of requests: the terminal shows changes of records."""

    def end_headers(self) -> None:
        self.send_header("Cache-Control", "no-store")  # a page that was made anew is seen at the next reload
        super().end_headers()


@contextmanager
def serving(directory: Path, port: int) -> Iterator[str]:
    """Serve `directory` to this machine; its address. Port 0 takes any that is free.

    Raises
    ------
    OutputError
        Where the port cannot be had.
    """
    try:
        server = ThreadingHTTPServer((HOST, port), partial(_Quiet, directory=str(directory)))
    except (OSError, OverflowError) as error:
        raise OutputError(
            f"port {port} cannot be had ({error})", field="--port", remedy="choose another, or 0 for any that is free"
        ) from error
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://{HOST}:{server.server_address[1]}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def state_of(directories: Sequence[Path]) -> State:
    """What would change if a record did: path, time and size of every file below `directories`."""
    found = set()
    for directory in directories:
        for path in directory.rglob("*"):
            try:
                told = path.stat()
            except OSError:  # gone since it was listed
                continue
            if path.is_file():
                found.add((str(path), told.st_mtime_ns, told.st_size))
    return frozenset(found)


def watch(
    directories: Sequence[Path], rebuild: Callable[[], object], *, rest: Callable[[float], None] = time.sleep
) -> None:
    """Call `rebuild` whenever files below `directories` have changed and then rested for one look. Ends by
    KeyboardInterrupt."""
    built = seen = state_of(directories)
    while True:
        rest(LOOKS_EVERY)
        now = state_of(directories)
        if now != built and now == seen:
            rebuild()
            built = now
        seen = now

"""Serve the site on this machine alone, and render it again when records change."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from recgauntlet.core.errors import OutputError

HOST = "127.0.0.1"
LOOKS_EVERY = 1.0
"""Seconds between looks at the records."""


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Requests are not logged: the terminal shows changes of records."""

    def end_headers(self) -> None:
        self.send_header("Cache-Control", "no-store")  # a page that is rendered again is seen at the next reload
        super().end_headers()


@contextmanager
def serving(directory: Path, port: int) -> Iterator[str]:
    """Serve `directory` to this machine; its address. Port 0 takes any that is free.

    Raises
    ------
    OutputError
        Where the port cannot be used.
    """
    try:
        server = ThreadingHTTPServer((HOST, port), partial(_Quiet, directory=str(directory)))
    except (OSError, OverflowError) as error:
        raise OutputError(
            f"port {port} cannot be used ({error})", field="--port", remedy="choose another, or 0 for any that is free"
        ) from error
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://{HOST}:{server.server_address[1]}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def state_of(directories: Sequence[Path]) -> frozenset[tuple[str, int, int]]:
    """Path, time and size of everything below `directories`: equal while no record changes."""
    found = set()
    for path in (path for directory in directories for path in directory.rglob("*")):
        with suppress(FileNotFoundError):  # gone since it was listed
            stat = path.stat()
            found.add((str(path), stat.st_mtime_ns, stat.st_size))
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

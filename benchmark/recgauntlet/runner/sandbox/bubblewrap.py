"""Bubblewrap (`bwrap`): a process that sees the file system read-only but for its own directories, no network, no
processes but its own and no devices but a GPU's. The fence is raised inside it all the same.

Run as a module, this file is the process inside: it takes its job from the parent by standard input.
"""

from __future__ import annotations

import pickle
import shutil
import subprocess
import sys
from functools import cache
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Literal

from recgauntlet.core.errors import DeviceError
from recgauntlet.runner.sandbox.audit_hook import gpu_devices

Sandbox = Literal["auto", "bwrap", "fence"]
_ISOLATED = ("--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts", "--die-with-parent", "--new-session")
_READ_ONLY = ("--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc")


@cache
def works() -> bool:
    """Whether bubblewrap is installed and the system lets it make its namespaces."""
    program = shutil.which("bwrap")
    if program is None:
        return False
    return subprocess.run([program, *_ISOLATED, *_READ_ONLY, "true"], capture_output=True, check=False).returncode == 0


def is_chosen(sandbox: Sandbox) -> bool:
    """Whether `sandbox` means bubblewrap on this machine; DeviceError where it is asked for and does not work."""
    if sandbox == "bwrap" and not works():
        raise DeviceError(
            "bubblewrap is not installed, or may not make namespaces here",
            field="--sandbox",
            remedy="install the package bubblewrap, or take --sandbox fence",
        )
    return sandbox != "fence" and works()


def command(writable: tuple[Path, ...]) -> list[str]:
    """The beginning of a command that runs the rest of it with write access below `writable` alone, which is made."""
    scratch = writable[0] / "tmp"  # some libraries want one when they are imported
    for path in (*writable, scratch):
        path.mkdir(parents=True, exist_ok=True)
    own = [word for path in writable for word in ("--bind", str(path.resolve()), str(path.resolve()))]
    devices = [word for path in gpu_devices() for word in ("--dev-bind", str(path), str(path))]
    return [
        "bwrap",
        *_ISOLATED,
        *_READ_ONLY,
        *devices,
        *own,
        "--setenv",
        "TMPDIR",
        str(scratch.resolve()),
        "--chdir",
        str(Path.cwd()),
        "--",
    ]


class Boxed:
    """A process that calls `function` with `job` and a pipe behind `prefix`, a `command`; used like one of
    `multiprocessing`."""

    def __init__(self, prefix: list[str], function: object, job: object, pipe: Connection) -> None:
        inside = [sys.executable, "-P", "-m", __name__, str(pipe.fileno())]
        self._process = subprocess.Popen([*prefix, *inside], stdin=subprocess.PIPE, pass_fds=[pipe.fileno()])
        assert self._process.stdin is not None
        with self._process.stdin as stdin:
            pickle.dump((sys.path, function, job), stdin)
        self.pid = self._process.pid

    def is_alive(self) -> bool:
        """Whether it still runs."""
        return self._process.poll() is None

    def join(self) -> None:
        """Wait for its end."""
        self._process.wait()

    @property
    def exitcode(self) -> int | None:
        """As of a `multiprocessing.Process`: negative for a signal, which bubblewrap adds to 128."""
        code = self._process.poll()
        return code if code is None or code <= 128 else 128 - code


if __name__ == "__main__":
    sys.path[:], function, job = pickle.load(sys.stdin.buffer)  # noqa: S301  the parent wrote it, as `multiprocessing` does
    function(job, Connection(int(sys.argv[1]), readable=False))

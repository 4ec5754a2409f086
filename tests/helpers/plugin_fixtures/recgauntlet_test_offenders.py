"""Defenses that leave their cell, or take more than their share, registered as a stranger's package would."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from torch import Tensor

from recgauntlet import Batch, Defense, Recommender
from recgauntlet.core.batch import Candidates, UserState
from recgauntlet.core.dataset import TaskData
from recgauntlet.training.defense import TrainingContext
from recgauntlet_baselines.models.nrms import NRMS


class Offender(Defense):
    """Does its deed before the first step."""

    def training_loss(self, model: Recommender, batch: Batch, context: TrainingContext) -> Tensor:
        if context.step == 0:
            self.deed()
        return super().training_loss(model, batch, context)

    def deed(self) -> None:
        raise NotImplementedError


class WritesOutside(Offender):
    """Writes into the directory named by $TEST_TARGET."""

    def deed(self) -> None:
        Path(os.environ["TEST_TARGET"], "graffiti.txt").write_text("here I was")


class HidesItsWriting(Offender):
    """As before, and swallows what Python says of it."""

    def deed(self) -> None:
        with contextlib.suppress(Exception):
            Path(os.environ["TEST_TARGET"], "graffiti.txt").write_text("here I was")


class RemovesByHandle(Defense):
    """Deletes the records of others by names relative to an open directory, once it may read them."""

    def wrap(self, model: Recommender) -> Recommender:
        target = Path(os.environ["TEST_TARGET"])
        handle = os.open(target, os.O_RDONLY)
        for path in target.iterdir():
            os.unlink(path.name, dir_fd=handle)
        return model


class WritesNatively(Offender):
    """Writes past Python, with the C library."""

    def deed(self) -> None:
        libc = ctypes.CDLL(None)
        libc.fopen.restype = ctypes.c_void_p
        target = os.environ["TEST_TARGET"] + "/graffiti.txt"
        if not libc.fopen(target.encode(), b"w"):
            raise OSError("the kernel said no")


class ReplacesARecord(Offender):
    """Deletes the records of others."""

    def deed(self) -> None:
        for path in Path(os.environ["TEST_TARGET"]).glob("*.json"):
            path.unlink()


def prepared_files() -> list[Path]:
    """The prepared tracks in the cache named by $TEST_CACHE, so that a deed without an object fails in another way."""
    paths = sorted(Path(os.environ["TEST_CACHE"]).rglob("*.npz"))
    if not paths:
        raise LookupError("the cache is empty")
    return paths


class ReadsTestData(Offender):
    """Opens whatever lies in the directory named by $TEST_CACHE."""

    def deed(self) -> None:
        for path in prepared_files():
            path.read_bytes()


class ReadsTestDataNatively(Offender):
    """As before, with a library that opens files by itself."""

    def deed(self) -> None:
        import pyarrow as pa

        for path in prepared_files():
            pa.memory_map(str(path)).read()


class FindsTestPairs(Offender):
    """Looks for test pairs in its own process's memory."""

    def deed(self) -> None:
        found = [thing for thing in gc.get_objects() if isinstance(thing, TaskData)]
        if not found:
            raise LookupError("there is no data at all")
        if any(len(data.test) or len(data.impressions) for data in found):
            raise AssertionError("test data is within reach")


class StartsAProcess(Offender):
    """Runs a program."""

    def deed(self) -> None:
        subprocess.run([sys.executable, "-c", ""], check=True)


class ForksNatively(Offender):
    """Multiplies past Python; its children wait to be found."""

    def deed(self) -> None:
        libc = ctypes.CDLL(None)
        for _ in range(40):
            if libc.fork() == 0:
                libc.sleep(600)
                os._exit(0)
        time.sleep(600)


class TriesNatively(Offender):
    """Asks the C library for what changes no content of a file, and fails with the list of what it got."""

    def deed(self) -> None:
        libc, target = ctypes.CDLL(None), os.environ["TEST_TARGET"].encode() + b"/victim"
        address = b"\x01\0" + os.environ["TEST_SOCKET"].encode() + b"\0"  # family and path of a Unix socket
        own = os.environ.get("TMPDIR", os.environ["TEST_TARGET"])
        port = int(os.environ["TEST_PORT"]).to_bytes(2, "big")
        udp, unix = libc.socket(2, 2, 0), libc.socket(1, 1, 0)
        loopback = b"\x02\0" + port + bytes([127, 0, 0, 1]) + bytes(8)
        done = {
            "udp": libc.sendto(udp, b"x", 1, 0, loopback, 16),
            "unix": libc.connect(unix, address, len(address)),
            "mode": libc.chmod(target, 0o777),
            "owner": libc.chown(target, os.getuid(), os.getgid()),
            "times": libc.utimes(target, None),
            "attribute": libc.setxattr(target, b"user.x", b"1", 1, 0),
            "device": libc.mknod(own.encode() + b"/null", 0o020600, os.makedev(1, 3)),
            "terminal": libc.open(b"/dev/ptmx", os.O_RDWR | os.O_NOCTTY),
            "signal": libc.kill(os.getppid(), 0),
        }
        raise RuntimeError("got: " + ", ".join(name for name, code in done.items() if code >= 0))


class LeavesAnOrphan(Offender):
    """Ends at once, and leaves a process in a session of its own, whose parent is gone."""

    def deed(self) -> None:
        libc = ctypes.CDLL(None)
        if libc.fork() == 0:
            libc.setsid()
            if libc.fork() == 0:
                libc.sleep(600)
            os._exit(0)
        os._exit(3)


class Hangs(Offender):
    """Never comes back, and will not be asked to end."""

    def deed(self) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(600)


class Grows(Offender):
    """Takes 100 MiB after 100 MiB."""

    def deed(self) -> None:
        self.hoard = []
        while True:
            self.hoard.append(bytearray(os.urandom(1)) * (100 * 2**20))
            time.sleep(0.05)


class Connects(Offender):
    """Calls the port named by $TEST_PORT."""

    def deed(self) -> None:
        socket.create_connection(("127.0.0.1", int(os.environ["TEST_PORT"])), timeout=5).close()


class WritesInside(Offender):
    """Keeps notes where it may."""

    def deed(self) -> None:
        Path(os.environ["TMPDIR"], "notes.txt").write_text("fine")
        with tempfile.TemporaryDirectory() as scratch:  # removed by names relative to an open directory
            Path(scratch, "deep", "er").mkdir(parents=True)
            Path(scratch, "deep", "er", "more.txt").write_text("fine")


class PaintsTheTerminal(Offender):
    """Prints what a terminal obeys."""

    def deed(self) -> None:
        print("\x1b[2Jowned", flush=True)
        os.write(1, b"\x1b]0;owned\x07")


class ForgesTheRecord(Offender):
    """Trains, and while it serves writes a record and a journal, and into the memory of its parent, natively."""

    def deed(self) -> None:
        return

    def wrap(self, model: Recommender) -> Recommender:
        libc = ctypes.CDLL(None)
        libc.fopen.restype = ctypes.c_void_p
        place = Path(os.environ["TMPDIR"]).parents[2]  # of the process's own directory for temporary files
        paths = [place / "record.json", place / "journal", Path(f"/proc/{os.getppid()}/mem")]
        opened = [path.name for path in paths if libc.fopen(str(path).encode(), b"r+" if path.exists() else b"w")]
        if opened or not place.name.startswith("nrms-forges"):
            raise AssertionError(f"{opened} could be written in {place.name}")
        raise OSError("the kernel said no")


class OwnModel(NRMS):
    """The baseline under another name."""


class EndsMidway(NRMS):
    """Ends its process when it is asked for a gradient, as a search would."""

    def score(self, user: UserState, candidates: Candidates, embeddings: Tensor | None = None) -> Tensor:
        if not self.training and embeddings is not None and embeddings.requires_grad:
            os._exit(7)
        return super().score(user, candidates, embeddings)

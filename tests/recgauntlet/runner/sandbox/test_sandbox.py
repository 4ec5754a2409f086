"""A cell's process that writes, reads, starts or takes what it should not ends alone, and its record says why."""

from __future__ import annotations

import contextlib
import shutil
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest.mock import create_autospec

import psutil
import pytest
from tiny_task import make_spec

from recgauntlet.core.errors import DeviceError
from recgauntlet.records.schema import RunRecord
from recgauntlet.runner.engine import LocalEngine
from recgauntlet.runner.processes import Watcher
from recgauntlet.runner.sandbox import bubblewrap, landlock
from recgauntlet.runner.sandbox.bubblewrap import Sandbox
from recgauntlet.runner.sandbox.limits import SUPERVISED, Allowance
from recgauntlet.runner.sweep import run_sweep

needs_landlock = pytest.mark.skipif(landlock.version() == 0, reason="the kernel has no Landlock: Python alone guards")
needs_seccomp = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has seccomp")
needs_bwrap = pytest.mark.skipif(not bubblewrap.works(), reason="bubblewrap is not installed")
pytestmark = pytest.mark.timeout(300)


Run = Callable[..., RunRecord]


@pytest.fixture
def out(finished_cells: Path, tmp_path: Path) -> Path:
    shutil.copytree(finished_cells, tmp_path / "out")
    return tmp_path / "out"


@pytest.fixture
def target(out: Path) -> Path:
    """Where the records of others lie."""
    return out / "tiny" / "standard"


@pytest.fixture
def run(
    tiny_card: Path, tiny_cache: Path, out: Path, target: Path, test_plugins: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Run]:
    """Run a cell of one of the offenders in the tiny task's results."""
    monkeypatch.setenv("TEST_TARGET", str(target))
    monkeypatch.setenv("TEST_CACHE", str(tiny_cache))
    _restart_the_fork_server()

    def run(
        defense: str, allowance: Allowance | None = None, *, guarded: bool = True, sandbox: Sandbox = "fence"
    ) -> RunRecord:
        spec = make_spec(tiny_card, out, tiny_cache, defense)
        watcher = create_autospec(Watcher, instance=True)
        (record,) = run_sweep([spec], watcher, LocalEngine(allowance=allowance, guarded=guarded, sandbox=sandbox))
        return record

    yield run
    _restart_the_fork_server()


def _restart_the_fork_server() -> None:
    """It keeps the environment that it was started in."""
    from multiprocessing import forkserver

    forkserver._forkserver._stop()  # type: ignore[attr-defined]


def words(record: RunRecord) -> tuple[str, str]:
    assert record.failure is not None, "the cell went through"
    return record.failure.kind, record.failure.message


@pytest.mark.slow
def test_a_cell_that_writes_outside_its_directory_ends(run: Run, target: Path) -> None:
    before = {path: path.read_bytes() for path in target.iterdir()}
    for defense, what in (
        ("writes-outside", "outside its own directory"),
        ("hides-its-writing", "outside its own directory"),
        ("replaces-a-record", "outside its own directory"),
        ("removes-by-handle", "out of its reach"),  # a model's process may not even list them
    ):
        kind, message = words(run(defense))
        assert kind == "FenceError"
        assert what in message
        assert str(target) not in message
    assert {path: path.read_bytes() for path in target.iterdir() if path in before} == before
    assert not (target / "graffiti.txt").exists()


@needs_landlock
def test_native_code_is_held_by_the_kernel(run: Run, target: Path) -> None:
    kind, message = words(run("writes-natively"))
    assert (kind, "the kernel said no" in message) == ("OSError", True)
    assert not (target / "graffiti.txt").exists()


@pytest.mark.slow
def test_without_the_fence_the_same_code_does_its_deed(run: Run, target: Path) -> None:
    assert run("writes-natively", guarded=False).failure is None
    assert (target / "graffiti.txt").exists()


def test_training_has_no_test_data_in_memory(run: Run) -> None:
    assert run("finds-test-pairs").failure is None


def test_training_cannot_open_prepared_data(run: Run) -> None:
    kind, message = words(run("reads-test-data"))
    assert (kind, "out of its reach" in message) == ("FenceError", True)


@needs_landlock
def test_training_cannot_open_prepared_data_natively(run: Run) -> None:
    kind, _ = words(run("reads-test-data-natively"))
    assert kind == "PermissionError"


def test_a_cell_that_starts_a_program_ends(run: Run) -> None:
    assert words(run("starts-a-process")) == ("FenceError", "tried to start a process")


def test_a_cell_that_opens_a_connection_ends(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("TEST_PORT", str(server.getsockname()[1]))
        assert words(run("connects")) == ("FenceError", "tried to open a connection")
        server.settimeout(0.1)
        with pytest.raises(TimeoutError):
            server.accept()


@pytest.fixture
def around(tmp_path: Path, target: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """What lies outside a cell: a file, a server at a Unix socket and one for UDP, which is given."""
    (target / "victim").write_text("mine")
    (target / "victim").chmod(0o600)
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        monkeypatch.chdir(tmp_path)  # the path of a socket is short
        server.bind("it")
        server.listen()
        listener.bind(("127.0.0.1", 0))
        listener.settimeout(0.5)
        monkeypatch.setenv("TEST_SOCKET", str(tmp_path / "it"))
        monkeypatch.setenv("TEST_PORT", str(listener.getsockname()[1]))
        _restart_the_fork_server()
        yield listener


@needs_seccomp
@pytest.mark.parametrize("sandbox", ["fence", pytest.param("bwrap", marks=needs_bwrap)])
def test_native_calls_change_nothing_outside_and_reach_nobody(
    run: Run, around: socket.socket, target: Path, sandbox: str
) -> None:
    before = (target / "victim").stat()
    kind, message = words(run("tries-natively", sandbox=sandbox))
    assert (kind, message.partition(" (")[0]) == ("RuntimeError", "RuntimeError: got: ")
    assert (target / "victim").stat() == before
    with pytest.raises(TimeoutError):
        around.recv(1)


def test_without_the_fence_the_same_calls_succeed(run: Run, around: socket.socket, target: Path) -> None:
    _, message = words(run("tries-natively", guarded=False))
    assert all(word in message for word in ("udp", "unix", "mode", "owner", "times", "terminal", "signal")), message
    assert around.recv(1) == b"x"
    assert (target / "victim").stat().st_mode & 0o777 == 0o777


@pytest.mark.skipif(not SUPERVISED, reason="only Linux gives orphans to an ancestor")
@pytest.mark.parametrize("guarded", [True, False])
def test_an_orphan_does_not_outlive_its_cell(run: Run, target: Path, guarded: bool) -> None:
    assert words(run("leaves-an-orphan", guarded=guarded)) == ("ProcessDied", "the process ended with exit code 3")
    assert copies(target) <= 1


@needs_bwrap
def test_behind_bubblewrap_a_cell_has_the_same_record(run: Run) -> None:
    boxed, fenced = run("writes-inside", sandbox="bwrap"), run("writes-inside")
    assert boxed.failure is None, boxed.failure
    assert (boxed.clean, boxed.weights_sha256) == (fenced.clean, fenced.weights_sha256)
    assert [[tier.robust for tier in threat.tiers] for threat in boxed.threats] == [
        [tier.robust for tier in threat.tiers] for threat in fenced.threats
    ]


@needs_bwrap
def test_behind_bubblewrap_the_watch_is_the_same(run: Run, target: Path) -> None:
    assert words(run("writes-outside", sandbox="bwrap"))[0] == "FenceError"
    assert words(run("hangs", Allowance(silence=20.0), sandbox="bwrap"))[0] == "TimeLimit"
    assert words(run("leaves-an-orphan", sandbox="bwrap"))[0] == "ProcessDied"
    assert copies(target) <= 1


def test_bubblewrap_that_does_not_work_is_an_error_where_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bubblewrap, "works", lambda: False)
    assert not bubblewrap.is_chosen("auto")
    with pytest.raises(DeviceError, match="--sandbox fence"):
        bubblewrap.is_chosen("bwrap")


def test_a_cell_that_multiplies_is_ended_with_all_its_children(run: Run, target: Path) -> None:
    kind, message = words(run("forks-natively", Allowance(processes=8)))
    assert (kind, "more than 8 processes" in message) == ("ProcessLimit", True)
    end = time.monotonic() + 20
    while copies(target) > 1 and time.monotonic() < end:  # a killed process takes a moment to go
        time.sleep(0.1)
    assert copies(target) <= 1  # the fork server itself


def copies(target: Path) -> int:
    """How many processes live that are, or were copied from, this test's fork server."""
    found = 0
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            alive = process.status() != psutil.STATUS_ZOMBIE
            ours = process.environ().get("TEST_TARGET") == str(target)
            found += alive and ours and any("multiprocessing.forkserver" in word for word in process.cmdline())
    return found


def test_a_cell_that_hangs_is_ended(run: Run) -> None:
    started = time.monotonic()
    kind, message = words(run("hangs", Allowance(silence=3.0)))
    assert (kind, "no sign of life" in message) == ("TimeLimit", True)
    assert time.monotonic() - started < 120  # it would sleep for ten minutes


def test_a_cell_that_takes_too_long_is_ended(run: Run) -> None:
    kind, message = words(run("hangs", Allowance(seconds=3.0)))
    assert (kind, "--time-limit" in message) == ("TimeLimit", True)


def test_a_cell_that_grows_is_ended(run: Run) -> None:
    kind, message = words(run("grows", Allowance(memory=2 * 2**30)))
    assert (kind, "--memory-limit" in message) == ("MemoryLimit", True)


@pytest.mark.slow
def test_a_cell_may_write_in_its_own_directory_and_leaves_nothing_there(run: Run, out: Path) -> None:
    assert run("writes-inside").failure is None
    assert list(out.glob(".cells/tiny/standard/nrms-writes-inside*")) == []


@pytest.mark.slow
def test_what_a_cell_prints_reaches_no_terminal(run: Run, capfd: pytest.CaptureFixture[str]) -> None:
    assert run("paints-the-terminal").failure is None
    assert "owned" not in "".join(capfd.readouterr())


@needs_landlock
def test_a_model_s_process_cannot_write_record_journal_or_memory_of_its_cell(run: Run) -> None:
    kind, message = words(run("forges-the-record"))
    assert (kind, "the kernel said no" in message) == ("OSError", True)

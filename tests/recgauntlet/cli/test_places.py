"""What `recgauntlet run` writes to: one run at a time in a directory, and a cache that can be written."""

from __future__ import annotations

import errno
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from command_line import Call, Run, run_words

from recgauntlet.core.errors import OutputError
from recgauntlet.core.files import check_cache
from recgauntlet.core.locks import locked

Held = tuple[Path, subprocess.Popen[str]]
HOLD = """\
import sys
from pathlib import Path
from recgauntlet.core.locks import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def other_run(tmp_path: Path) -> Iterator[Held]:
    """A directory into which another process writes, and that process."""
    out = tmp_path / "out"
    out.mkdir()
    command = [sys.executable, "-c", HOLD, str(out)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield out, process
        process.kill()


def test_a_second_run_into_one_directory_is_refused(call: Call, tiny_card: Path, other_run: Held) -> None:
    out, process = other_run
    code, _, err = call(*run_words(tiny_card, out))
    assert code == 2
    assert f"{out}: --out: another run (process {process.pid} on " in err
    assert "wait until it has ended, or stop it; or name another directory with --out" in err
    assert sorted(path.name for path in out.iterdir()) == [".lock"]


def test_shards_of_one_division_write_side_by_side_and_keep_others_out(tmp_path: Path) -> None:
    with locked(tmp_path, "1-of-8"), locked(tmp_path, "3-of-8"):
        for refused in ("1-of-8", "1-of-4", ""):
            with pytest.raises(OutputError, match="another run"), locked(tmp_path, refused):
                pass
        assert sorted(path.name for path in tmp_path.iterdir()) == [".lock-1-of-8", ".lock-3-of-8"]
    with locked(tmp_path), pytest.raises(OutputError, match="another run"), locked(tmp_path, "1-of-8"):
        pass
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("shard", ["0/4", "5/4", "1", "a/b", "1/0", "-1/4"])
def test_a_shard_that_is_none_is_refused(call: Call, tiny_card: Path, tmp_path: Path, shard: str) -> None:
    code, _, err = call(*run_words(tiny_card, tmp_path / "out", f"--shard={shard}"))
    assert (code, "give I/N with I from 1 to N, like 3/8" in err) == (2, True)


def test_a_shard_has_its_own_cells_and_their_twins(run: Run, tiny_card: Path, tmp_path: Path) -> None:
    words = run_words(tiny_card, tmp_path / "out", "--seeds", "0,1,2", "--dry-run", "--shard")
    assert "Plan: 4 cells" in run(*words, "1/2")
    assert "Plan: 2 cells" in run(*words, "2/2")
    assert "shard 4/4 has no cells: fewer undefended twins than shards" in run(*words, "4/4")


def test_a_dry_run_may_look_at_a_directory_in_use(run: Run, tiny_card: Path, other_run: Held) -> None:
    assert "Plan: 2 cells" in run(*run_words(tiny_card, other_run[0], "--dry-run"))
    assert "Trials" in run(
        "tune", "--task", tiny_card, "--defense", "pgd", "--out", other_run[0], "--offline", "--dry-run"
    )


def test_tuning_is_locked_too(call: Call, tiny_card: Path, other_run: Held) -> None:
    code, _, err = call("tune", "--task", tiny_card, "--defense", "pgd", "--out", other_run[0], "--offline")
    assert (code, "another run (process" in err) == (2, True)


def test_a_killed_run_leaves_no_lock_and_an_ended_one_no_file(other_run: Held) -> None:
    out, process = other_run
    process.kill()
    process.wait()
    with locked(out):
        assert (out / ".lock").read_text().startswith("process ")
        with pytest.raises(OutputError), locked(out):
            pass
    assert not list(out.iterdir())


def test_where_there_are_no_locks_a_note_says_so(
    run: Run, tiny_card: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flock(*_: object) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr("fcntl.flock", flock)
    monkeypatch.setattr("recgauntlet.cli.tune.run_studies", lambda *_, **__: None)
    words = ("tune", "--task", tiny_card, "--defense", "pgd", "--out", tmp_path / "out", "--offline")
    assert "cannot be locked here: start no other run into it meanwhile" in run(*words, code=1)
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize("directory", ["downloads", "prepared", "vectors", "twins"])
def test_a_cache_that_cannot_be_written_ends_a_run_before_it_begins(
    call: Call, tiny_card: Path, tiny_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, directory: str
) -> None:
    cache = tmp_path / "cache"
    shutil.copytree(tiny_cache, cache)
    monkeypatch.setenv("RECGAUNTLET_CACHE", str(cache))
    check_cache(cache)
    shutil.rmtree(cache / directory)
    (cache / directory).write_text("a file, so that nothing can be written below it")
    code, out, err = call(*run_words(tiny_card, tmp_path / "out"))
    assert code == 2
    assert f"{cache / directory}: cannot be written" in err
    assert "set RECGAUNTLET_CACHE to a directory that you may write to" in err
    assert not list((tmp_path / "out").rglob("*.json")), out


def test_a_cache_on_a_read_only_disk_is_named(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot be written") as error:
        check_cache(Path("/proc/cache"))
    assert error.value.where == "/proc/cache/downloads"

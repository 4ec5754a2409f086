"""A crew: the same results from one process or several, and no process that outlives its work."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import crew_jobs
import psutil
import pytest

from recgauntlet.leaderboard.crew import Crew, cores


@pytest.mark.parametrize("workers", [1, 2])
def test_results_come_in_order_from_any_number_of_processes(workers: int) -> None:
    with Crew(workers) as crew:
        assert list(crew.map(crew_jobs.squared, range(50), worth=True)) == [n * n for n in range(50)]


def test_work_is_shared_and_the_processes_stay_for_more() -> None:
    with Crew(2) as crew:
        found = list(crew.map(crew_jobs.whose, range(60), worth=True))
        again = list(crew.map(crew_jobs.whose, range(60), worth=False))
    assert [number for number, _ in found] == list(range(60))
    processes = {process for _, process in [*found, *again]}
    assert os.getpid() not in processes
    assert len(processes) <= 2


def test_processes_begin_before_anybody_asks_for_a_result(tmp_path: Path) -> None:
    begun = [tmp_path / str(number) for number in range(4)]
    with Crew(2) as crew:
        results = crew.map(crew_jobs.touched, begun, worth=True)
        deadline = time.monotonic() + 120
        while not all(path.exists() for path in begun):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert list(results) == [path.name for path in begun]


def test_processes_can_begin_before_there_is_work() -> None:
    with Crew(2) as crew:
        crew.begin("colorsys")
        assert any(crew.map(crew_jobs.has_imported, ["colorsys"] * 20, worth=False))
        assert os.getpid() not in {process for _, process in crew.map(crew_jobs.whose, range(20), worth=False)}


def test_no_process_is_started_for_little_work() -> None:
    with Crew(2) as crew:
        assert {process for _, process in crew.map(crew_jobs.whose, range(60), worth=False)} == {os.getpid()}
        assert {process for _, process in crew.map(crew_jobs.whose, range(1), worth=True)} == {os.getpid()}
    assert cores() >= 1


@pytest.mark.parametrize("workers", [1, 2])
def test_what_a_function_raises_is_raised(workers: int) -> None:
    with Crew(workers) as crew, pytest.raises(ValueError, match="no five"):
        list(crew.map(crew_jobs.refused, range(20), worth=True))


def test_where_processes_cannot_be_started_this_one_does_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> ProcessPoolExecutor:
        raise OSError("no semaphores here")

    monkeypatch.setattr("recgauntlet.leaderboard.crew.ProcessPoolExecutor", refuse)
    with Crew(2) as crew:
        assert {process for _, process in crew.map(crew_jobs.whose, range(20), worth=True)} == {os.getpid()}
    with Crew(2) as crew:
        crew.begin("colorsys")
        assert {process for _, process in crew.map(crew_jobs.whose, range(20), worth=True)} == {os.getpid()}


def test_where_a_process_is_killed_this_one_does_the_rest() -> None:
    with Crew(2) as crew:
        assert list(crew.map(crew_jobs.deadly, range(40), worth=True)) == list(range(40))
        assert {process for _, process in crew.map(crew_jobs.whose, range(20), worth=True)} == {os.getpid()}


@pytest.mark.skipif(os.name != "posix", reason="signals of a terminal")
def test_an_interrupt_ends_all_processes_and_none_complains() -> None:
    program = subprocess.Popen(
        [sys.executable, crew_jobs.__file__],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        cwd=Path(crew_jobs.__file__).parent,
    )
    assert program.stdout is not None
    assert program.stdout.readline() == "working\n"
    children = psutil.Process(program.pid).children(recursive=True)
    assert len(children) >= 2
    os.killpg(program.pid, signal.SIGINT)  # as Ctrl-C does: the whole group
    _, complaints = program.communicate(timeout=120)
    assert program.returncode != 0
    assert complaints.count("Traceback") == 1
    assert complaints.rstrip().endswith("KeyboardInterrupt")
    assert psutil.wait_procs(children, timeout=60)[1] == []


@pytest.mark.skipif(os.name != "posix", reason="a signal that cannot be caught")
def test_processes_do_not_outlive_a_program_that_was_killed() -> None:
    program = subprocess.Popen(
        [sys.executable, crew_jobs.__file__], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    with program:
        assert program.stdout is not None
        assert program.stdout.readline() == "working\n"
        children = psutil.Process(program.pid).children(recursive=True)
        program.kill()
    assert psutil.wait_procs(children, timeout=60)[1] == []

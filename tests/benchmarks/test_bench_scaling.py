"""What attacks take as there is more to attack: memory beside training, and seconds as examples grow."""

from __future__ import annotations

import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bench_figures import Figure
from bench_memory import REFERENCES
from bench_subject import Subject, survivors
from bench_timing import seconds_of

from recgauntlet.attacks.suite import suite_ref

PROBE = Path(__file__).with_name("bench_memory.py")
PAIRS = 256
"""A training step of NRMS on a standard track."""
FEW, TIMES = 50, (1, 4, 16)
THREATS = ("embedding", "embedding-linf", "headline-tampering", "title-stuffing", "history-perturbation")
pytestmark = [pytest.mark.measures, pytest.mark.timeout(7200), pytest.mark.filterwarnings("ignore")]


@pytest.fixture(params=THREATS)
def threat(request: pytest.FixtureRequest, subject: Subject) -> str:
    name: str = request.param
    if name not in {threat.id for threat in subject.cell.task.card.threats}:
        pytest.skip(f"{subject.cell.spec.task_id} has no threat {name}")
    return name


@pytest.fixture(scope="module")
def training_bytes(subject: Subject) -> int:
    return peak("training")


def peak(what: str) -> int:
    """Bytes, the median of three fresh processes."""
    runs = [subprocess.run([sys.executable, PROBE, what, str(PAIRS)], capture_output=True, text=True) for _ in range(3)]
    for run in runs:
        assert run.returncode == 0, run.stderr
    return int(statistics.median(int(run.stdout.split()[-1]) for run in runs))


@pytest.mark.skipif(not REFERENCES.exists(), reason="peaks are read from Linux's /proc")
def test_an_attack_takes_little_more_memory_than_training(
    threat: str, subject: Subject, training_bytes: int, book: Callable[[Figure], None]
) -> None:
    found = peak(threat)
    book(
        Figure(
            f"peak memory of {threat} over that of training",
            found / training_bytes,
            f"{found / 2**20:.0f} MiB against {training_bytes / 2**20:.0f} MiB, {PAIRS} pairs at once",
            at_most=1.5,
            subject=subject.name,
            suite=suite_ref().id,
        )
    )


def test_seconds_grow_with_the_examples(
    threat: str, subject: Subject, benchmark: Any, book: Callable[[Figure], None]
) -> None:
    card_threat = subject.threat(threat)
    trials = {times: subject.trial(FEW, times=times) for times in TIMES}
    survivors(trials[1], card_threat, "standard")
    rounds: list[dict[int, float]] = []

    def once() -> None:
        rounds.append(
            {
                times: seconds_of(lambda trial=trial: survivors(trial, card_threat, "standard"))
                for times, trial in trials.items()
            }
        )

    benchmark.pedantic(once, rounds=3, iterations=1)
    growth = {t: statistics.median(seconds[t] / seconds[1] / t for seconds in rounds) for t in TIMES}
    seconds = {t: statistics.median(r[t] for r in rounds) for t in TIMES}
    told = ", ".join(f"{seconds[t]:.2f} s for {2 * FEW * t}" for t in TIMES)
    book(
        Figure(
            f"seconds an example of {threat}, {TIMES[-1]} times the examples over once",
            growth[TIMES[-1]],
            f"{told}; {TIMES[1]} times over once {growth[TIMES[1]]:.2f}",
            at_most=1.2,
            subject=subject.name,
            suite=suite_ref().id,
        )
    )

"""What attacks take as there is more to attack: memory beside training, and seconds as examples grow."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from bench_figures import Book
from bench_memory import REFERENCES
from bench_subject import Subject, survivors
from bench_timing import seconds_of

PROBE = Path(__file__).with_name("bench_memory.py")
PAIRS = 256
"""A training step of NRMS on a standard track."""
FEW, TIMES = 50, (1, 4, 16)
THREATS = ("embedding", "embedding-linf", "headline-tampering", "title-stuffing", "history-perturbation")


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
    return int(np.median([int(run.stdout.split()[-1]) for run in runs]))


@pytest.mark.skipif(not REFERENCES.exists(), reason="peaks are read from Linux's /proc")
def test_an_attack_takes_little_more_memory_than_training(
    threat: str, subject: Subject, training_bytes: int, book: Book
) -> None:
    found = peak(threat)
    book(
        "attacks",
        f"peak memory, {threat} ÷ training",
        found / training_bytes,
        f"{found / 2**20:.0f} MiB against {training_bytes / 2**20:.0f} MiB, {PAIRS} pairs at once",
        at_most=1.5,
        subject=subject.name,
    )


def test_seconds_grow_with_the_examples(threat: str, subject: Subject, book: Book) -> None:
    card_threat = subject.threat(threat)
    trials = [subject.trial(FEW, times=times) for times in TIMES]
    survivors(trials[0], card_threat, "standard")
    rounds = [
        [seconds_of(lambda trial=trial: survivors(trial, card_threat, "standard")) for trial in trials]
        for _ in range(3)
    ]
    seconds = np.array(rounds)
    growth = np.median(seconds / seconds[:, :1] / TIMES, axis=0)
    measured = ", ".join(f"{s:.2f} s for {2 * FEW * t}" for s, t in zip(np.median(seconds, axis=0), TIMES, strict=True))
    book(
        "attacks",
        f"seconds per example, {threat}, {TIMES[-1]}× the examples ÷ 1×",
        float(growth[-1]),
        f"{measured}; {TIMES[1]}× the examples ÷ 1× {growth[1]:.2f}",
        at_most=1.2,
        subject=subject.name,
    )

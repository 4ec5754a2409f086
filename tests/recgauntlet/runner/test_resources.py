from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from recgauntlet.runner import resources
from recgauntlet.runner.sandbox.limits import GIB, Allowance

WHOLE = 64 * GIB


@pytest.fixture
def control(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(psutil, "virtual_memory", lambda: type("Memory", (), {"total": WHOLE}))
    monkeypatch.setattr(resources, "_GROUPS", tmp_path / "groups")
    monkeypatch.setattr(resources, "_CONTROL", tmp_path / "control")
    monkeypatch.delenv("SLURM_MEM_PER_NODE", raising=False)
    return tmp_path


def limit(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{value}\n")


def test_without_limits_all_memory_counts(control: Path) -> None:
    assert resources.memory() == WHOLE
    limit(control / "groups", "0::/job")
    assert resources.memory() == WHOLE
    limit(control / "control/job/memory.max", "max")
    assert resources.memory() == WHOLE


@pytest.mark.parametrize(
    ("groups", "file"),
    [
        ("0::/slurm/job_7/step_0", "slurm/job_7/step_0/memory.max"),
        ("0::/slurm/job_7/step_0", "slurm/job_7/memory.max"),
        ("0::/", "memory.max"),
        ("0::/not/seen/here", "memory.max"),
        ("4:memory:/slurm/job_7\n0::/", "memory/slurm/job_7/memory.limit_in_bytes"),
    ],
)
def test_the_smallest_limit_of_the_groups_counts(control: Path, groups: str, file: str) -> None:
    limit(control / "groups", groups)
    limit(control / "control" / file, 16 * GIB)
    assert resources.memory() == 16 * GIB
    assert Allowance.of_machine(4).memory == int(0.9 * 16 * GIB / 4)


def test_what_slurm_gave_counts(control: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limit(control / "groups", "0::/")
    limit(control / "control/memory.max", 16 * GIB)
    for value, expected in {"8192": 8, "65536": 16, "": 16, "0": 16}.items():
        monkeypatch.setenv("SLURM_MEM_PER_NODE", value)
        assert resources.memory() == expected * GIB


def test_cores_are_those_that_the_process_may_run_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: {3, 5, 7}, raising=False)
    assert resources.cpus() == 3
    monkeypatch.delattr("os.sched_getaffinity")
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    assert resources.cpus() == 8

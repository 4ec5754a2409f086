"""Training in several processes that accelerate connects: the steps of one process, in parts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recgauntlet.training.parallel import Team

ROOT = Path(__file__).parents[3]
PROGRAM = ROOT / "tests" / "helpers" / "train_in_parallel.py"
pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot copy a process")


def processes(size: int, place: Path) -> list[dict[str, Any]]:
    """What each process saw."""
    done = subprocess.run([sys.executable, PROGRAM, str(size), place], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return [json.loads((place / f"{rank}.json").read_text()) for rank in range(size)]


def test_one_process_by_accelerate_does_bit_for_bit_what_a_process_alone_does(tmp_path: Path) -> None:
    (only,) = processes(1, tmp_path)
    assert only["steps"] == only["alone"]["steps"]
    assert only["training"] == only["alone"]["training"]


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    return processes(2, tmp_path_factory.mktemp("both"))


def test_each_step_of_two_processes_is_that_of_the_whole_batch(both: list[dict[str, Any]]) -> None:
    first, second = both
    for name, alone in first["alone"]["steps"].items():
        one, other = first["steps"][name], second["steps"][name]
        assert one["gradient"] == other["gradient"], name
        assert one["weights"] == other["weights"], name
        assert max(map(abs, alone["gradient"])) > 1e-3, name
        apart = np.linalg.norm(np.subtract(one["gradient"], alone["gradient"])) / np.linalg.norm(alone["gradient"])
        assert apart < (1e-5 if name.startswith("standard") else 1e-2), name  # reach is in mean norms of a batch
        assert one["share"] + other["share"] == 1.0
        if "too small" not in name:
            assert one["rows"] + other["rows"] == alone["rows"]


def test_two_processes_choose_the_epochs_that_one_would_and_count_the_work_of_both(both: list[dict[str, Any]]) -> None:
    first, second = both[0]["training"], both[1]["training"]
    alone = both[0]["alone"]["training"]
    assert first["epochs"] == second["epochs"]
    assert [epoch["kept"] for epoch in first["epochs"]] == [epoch["kept"] for epoch in alone["epochs"]]
    for name in ("loss", "valid_auc"):
        found, expected = ([epoch[name] for epoch in each["epochs"]] for each in (first, alone))
        np.testing.assert_allclose(found, expected, atol=2e-3)
    assert first["passes"] == alone["passes"]
    assert first["steps"] == alone["steps"]
    assert (first["devices"], alone["devices"]) == (2, 1)


def test_each_process_draws_from_a_stream_of_its_own() -> None:
    from recgauntlet.core.rng import Randomness

    rng = Randomness(3, "training")
    drawn = [Team(rank, 3).own(rng).torch(7).initial_seed() for rank in range(3)]
    assert len(set(drawn)) == 3
    assert drawn[0] == rng.torch(7).initial_seed()

"""The simulation of rows that are equal in truth. The counts of the release are tested beside its ranks."""

from __future__ import annotations

import json

import numpy as np
import pytest
from rank_simulation import simulation


def test_equal_rows_are_hardly_ever_alone_at_rank_1_where_trainings_do_not_vary() -> None:
    written = json.loads(simulation().FILE.read_text())["simulated"]
    assert [(own["seeds"], own["deviation"]) for own in written] == [*simulation().VARIANTS]
    assert all(own["boards"] == simulation().BOARDS and own["rows"] == simulation().ROWS for own in written)
    assert written[1]["alone"] < 0.01
    assert written[-1]["alone"] > written[1]["alone"]  # three seeds know little of trainings that vary much


def test_the_simulation_repeats_itself() -> None:
    assert simulation().simulated(3, 0.01, 3) == simulation().simulated(3, 0.01, 3)


def test_a_row_that_is_better_in_truth_is_alone_at_rank_1() -> None:
    rng = np.random.default_rng(1)
    found = simulation().judged(simulation().simulated_outcomes(rng, 3, 0.0, better_by=0.08))
    assert found["alone"] == 1
    assert found["told_apart"] >= 9 / 45
    assert found["most_probably_best"] > 0.99


def test_outcomes_of_two_rows_correlate_as_on_the_release() -> None:
    bits = simulation().simulated_outcomes(np.random.default_rng(2), 3, 0.0)
    correlation = np.corrcoef(bits.transpose(0, 2, 1).reshape(-1, simulation().PAIRS))
    assert correlation[~np.eye(len(correlation), dtype=bool)].mean() == pytest.approx(0.78, abs=0.03)

"""The simulation of gaps between groups, and what was committed of it."""

from __future__ import annotations

import json

from scripts import loaded

simulation = loaded("tools/simulate_gaps.py")


def test_false_alarms_are_few_where_trainings_vary_little_and_wide_gaps_are_found() -> None:
    written = json.loads(simulation.FILE.read_text(encoding="utf-8"))
    variants = [(own["twin"], own["defense"], own["deviation"]) for own in written]
    assert variants == [(*gaps, deviation) for gaps in simulation.GAPS for deviation in simulation.DEVIATIONS]
    assert all(own["boards"] == simulation.BOARDS and own["covered"] >= 0.9 for own in written)
    equal = [own["told_apart"] for own in written if own["twin"] == own["defense"] and own["deviation"] < 0.02]
    assert max(equal) <= 0.1
    assert min(own["told_apart"] for own in written if own["defense"] - own["twin"] == 0.1) > 0.7


def test_the_simulation_repeats_itself() -> None:
    assert simulation.simulated((0.0, 0.1), 0.01, 3) == simulation.simulated((0.0, 0.1), 0.01, 3)

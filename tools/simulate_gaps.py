"""How often the test of a gap beside the twin's tells rows apart, and how often the interval of a gap is right.

    python tools/simulate_gaps.py                        writes docs/reference/gaps.json (minutes)

A simulated defense and its twin have three seeds, 1,500 pairs and five groups. Outcomes are drawn as in
`tools/simulate_ranks.py`: most of an example's variance is its own, the same for both rows. The true accuracy of each
group varies between trainings. Gaps are tested by the leaderboard's own functions.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np

from recgauntlet.metrics.bootstrap import Floats, means_by_group
from recgauntlet.metrics.groups import PARTS, gap_change, largest_gap
from recgauntlet.metrics.significance import LEVEL

FILE = Path(__file__).resolve().parents[1] / "docs" / "reference" / "gaps.json"
SEEDS, PAIRS, BOARDS, SEED = 3, 1500, 200, 20261130
ACCURACY = 0.6
SHARED = 0.94
"""As in `tools/simulate_ranks.py`."""
GAPS = ((0.0, 0.0), (0.1, 0.1), (0.0, 0.05), (0.0, 0.1))
"""The true gaps of the twin and of the defense; accuracies of the groups are evenly spaced."""
DEVIATIONS = (0.0, 0.01, 0.02)
"""Standard deviations of a group's true accuracy between trainings."""


def found_in(rng: np.random.Generator, gaps: tuple[float, float], deviation: float) -> tuple[bool, bool]:
    """Whether the test tells one defense from its twin, and whether the interval of the twin's gap has the true one."""
    groups = rng.integers(0, PARTS, PAIRS)
    twin, defense = (ACCURACY + gap * np.linspace(-0.5, 0.5, PARTS) for gap in gaps)
    truth = np.stack([defense, twin], axis=1) + rng.normal(scale=deviation, size=(SEEDS, PARTS, 2))
    threshold = np.vectorize(NormalDist().inv_cdf)(1 - truth)[:, groups, None]
    own = np.sqrt(SHARED) * rng.normal(size=(PAIRS, 2, 1))
    noise = np.sqrt(1 - SHARED) * rng.normal(size=(SEEDS, PAIRS, 2, 2))
    outcomes: Floats = (own + noise > threshold).mean(axis=2)
    values, draws = means_by_group(outcomes, groups)
    of_twin = largest_gap(values[:, 1], draws[:, :, 1]).gap
    return gap_change(values, draws).p <= LEVEL, of_twin.low <= gaps[0] <= of_twin.high


def simulated(gaps: tuple[float, float], deviation: float, boards: int = BOARDS) -> dict[str, Any]:
    """Shares of `boards`."""
    rng = np.random.default_rng([SEED, round(1000 * gaps[0]), round(1000 * gaps[1]), round(1000 * deviation)])
    apart, covered = np.mean([found_in(rng, gaps, deviation) for _ in range(boards)], axis=0).round(4).tolist()
    names = {"twin": gaps[0], "defense": gaps[1], "deviation": deviation, "boards": boards}
    return {**names, "told_apart": apart, "covered": covered}


def main() -> None:
    """Simulate and write the file."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--boards", type=int, default=BOARDS, help=f"boards of each variant [{BOARDS}]")
    boards: int = parser.parse_args().boards
    content = [simulated(gaps, deviation, boards) for gaps in GAPS for deviation in DEVIATIONS]
    FILE.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

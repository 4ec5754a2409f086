"""How often ranks separate rows that are equal in truth, and how many rows of the release they separate.

    python tools/simulate_ranks.py                        writes docs/reference/ranks.json (minutes)

A simulated board has ten rows of the same true accuracy. An example is right where a normal variable is above a
threshold: most of its variance is the example's own, the same for all rows and trainings; trainings of a row differ in
their true accuracy. Ranks and ranges are computed by the leaderboard's own
functions.
"""

from __future__ import annotations

import argparse
import json
from itertools import combinations
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np

from recgauntlet.core.files import CURRENT
from recgauntlet.leaderboard.build import build_table
from recgauntlet.leaderboard.paired import Quantity, better
from recgauntlet.leaderboard.schema import Row, TaskTable
from recgauntlet.metrics.bootstrap import Floats, estimates, paired_p, rank_range, resampled_means, shared_ranks
from recgauntlet.metrics.significance import LEVEL
from recgauntlet.records.io import read_records

ROOT = Path(__file__).resolve().parents[1]
FILE = ROOT / "docs" / "reference" / "ranks.json"
ROWS, PAIRS, BOARDS, SEED = 10, 500, 1000, 20260529
ACCURACY = 0.6
SHARED = 0.94
"""The part of the variance that is an example's own. Outcomes of two rows then correlate by 0.78, as on `video-watch`
and `ecommerce-purchase` in release 2026.5."""
VARIANTS = ((1, 0.0), (3, 0.0), (3, 0.01), (3, 0.02), (3, 0.04))
"""Seeds, and the standard deviation of the true accuracy between trainings."""


def simulated_outcomes(rng: np.random.Generator, seeds: int, deviation: float, better_by: float = 0.0) -> Floats:
    """`[S, P, K]`: the share of each pair's two examples that each of the ROWS rows has right. The first row is better
    by `better_by` than the others, 0.0 for a board of equal rows."""
    truth = ACCURACY + rng.normal(scale=deviation, size=(seeds, ROWS))
    truth[:, 0] += better_by
    threshold = np.array([NormalDist().inv_cdf(1 - p) for p in truth.ravel()]).reshape(seeds, ROWS)
    own = np.sqrt(SHARED) * rng.normal(size=2 * PAIRS)[None, :, None]
    noise = np.sqrt(1 - SHARED) * rng.normal(size=(seeds, 2 * PAIRS, ROWS))
    right = own + noise > threshold[:, None, :]
    outcomes: Floats = right.reshape(seeds, PAIRS, 2, ROWS).mean(axis=2)
    return outcomes


def judged(outcomes: Floats) -> dict[str, float]:
    """What the leaderboard's test and overlapping intervals find on one board, whatever the number of seeds."""
    means, draws = outcomes.mean(axis=(0, 1)), resampled_means(outcomes)
    rows = range(means.size)
    ahead = np.zeros((means.size, means.size), dtype=bool)
    for row in rows:
        difference = means[row] - means
        ahead[row] = (difference > 0) & (paired_p(difference, draws[:, [row]] - draws) <= LEVEL)
    intervals = estimates(means.tolist(), draws)
    apart = [intervals[a].low > intervals[b].high or intervals[b].low > intervals[a].high for a, b in _pairs(rows)]
    top = int(means.argmax())
    ranges = [
        rank_range((draws > draws[:, [row]]).sum(axis=1), (draws == draws[:, [row]]).sum(axis=1) - 1.0) for row in rows
    ]
    return {
        "alone": float(shared_ranks(means, ahead).count(1) == 1),
        "alone_by_intervals": float(all(intervals[top].low > intervals[n].high for n in rows if n != top)),
        "told_apart": ahead.sum() / len(apart),
        "told_apart_by_intervals": float(np.mean(apart)),
        "range_width": float(np.mean([1 + place.high - place.low for place in ranges])),
        "most_probably_best": max(place.best for place in ranges),
    }


def simulated(seeds: int, deviation: float, boards: int = BOARDS) -> dict[str, Any]:
    """Means over `boards` of rows that are equal in truth."""
    rng = np.random.default_rng([SEED, seeds, round(1000 * deviation)])
    found = [judged(simulated_outcomes(rng, seeds, deviation)) for _ in range(boards)]
    means = {name: round(float(np.mean([one[name] for one in found])), 4) for name in found[0]}
    return {"seeds": seeds, "deviation": deviation, "rows": ROWS, "pairs": PAIRS, "boards": boards, **means}


def separated(table: TaskTable) -> dict[str, Any]:
    """How many pairs of ranked rows of a table the test of the ranks separates, and how many have intervals that do not
    overlap, both by robust accuracy under each row's worst ranked threat at the medium tier."""
    ranked = [row for row in table.rows if row.rank is not None]
    ahead = better([row.records for row in ranked], [Quantity(row.worst or "") for row in ranked])
    pairs = _pairs(range(len(ranked)))
    return {
        "task": table.task,
        "rows": len(ranked),
        "pairs": len(pairs),
        "by_ranks": sum(bool(ahead[a, b] or ahead[b, a]) for a, b in pairs),
        "by_intervals": sum(_apart(ranked[a], ranked[b]) for a, b in pairs),
    }


def _apart(a: Row, b: Row) -> bool:
    assert a.worst_cell is not None  # a ranked row has one
    assert b.worst_cell is not None
    return a.worst_cell.robust.low > b.worst_cell.robust.high or b.worst_cell.robust.low > a.worst_cell.robust.high


def _pairs(rows: range) -> list[tuple[int, int]]:
    return list(combinations(rows, 2))


def main() -> None:
    """Simulate, count, and write the file."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--boards", type=int, default=BOARDS, help=f"boards of each variant [{BOARDS}]")
    boards: int = parser.parse_args().boards
    tables = build_table(read_records(ROOT / "results" / CURRENT))
    content = {
        "release": [separated(table) for table in tables if table.ranked],
        "simulated": [simulated(seeds, deviation, boards) for seeds, deviation in VARIANTS],
    }
    FILE.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

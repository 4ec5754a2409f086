"""Numbers, budgets and foreign text in words."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from board import CARD
from synthetic_records import make_record

from recgauntlet.core.card import TIERS
from recgauntlet.leaderboard.address import slug
from recgauntlet.leaderboard.build import build_table
from recgauntlet.leaderboard.schema import TaskTable, ThreatColumn, TierBudget
from recgauntlet_site.format import (
    budget,
    headline,
    joined,
    limits,
    percent,
    points,
    queries,
    scalar,
    times,
    visible,
)


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (percent(0.6125), "61.3"),
        (points(-0.035), "−3.5"),
        (points(0.0), "+0.0"),
        (times(None), "1×"),
        (times(1.3749), "1.37×"),
        (joined(["a"]), "a"),
        (joined(["a", "b", "c"]), "a, b and c"),
        (joined([]), ""),
        (slug("../../Etc/<x>"), "etc-x"),
        (slug("___"), "unnamed"),
        (visible("a\u0000\u202eb\u200dc\nd"), "a\\u0000\\u202eb\u200dc\nd"),
        (scalar(0.1), "0.1"),
        (scalar(None), "None"),
        (scalar(True), "True"),
    ],
)
def test_numbers_and_names_as_text(told: str, expected: str) -> None:
    assert told == expected


def test_budgets_as_text() -> None:
    budgets = tuple(TierBudget(tier, amount, 0, 200) for tier, amount in zip(TIERS, (1, 2, 5), strict=True))
    column = ThreatColumn("x", "history", "flip", True, budgets)
    assert budget(column, None) == "1 / 2 / 5 items"
    assert queries(column) == "200"
    assert limits(column, None) == []
    assert budget(replace(column, budgets=()), None) == "not applicable to any model in this table"
    ball = ThreatColumn("embedding", "embedding", "flip", True, budgets)
    assert budget(ball, CARD).endswith("mean norm of the model’s embeddings (L2)")


def demo_table(**options: object) -> TaskTable:
    return build_table([make_record(**options)])[0]  # type: ignore[arg-type]


def test_a_table_without_ranked_rows_says_so() -> None:
    assert headline(demo_table()) == "No row can be ranked yet; see the flags of the rows."
    assert "simulated" in headline(demo_table(track="demo", simulated=True))
    assert headline(build_table([make_record(failure="x")])[0]) == "No run of this task has finished yet."


def test_a_shared_first_rank_is_told() -> None:
    records = [make_record(seed=seed, defense=defense) for seed in range(3) for defense in ("standard", "pgd")]
    told = headline(build_table(records)[0])
    assert "share rank 1: the paired test does not tell them apart." in told


def test_rows_of_one_name_are_counted_where_they_share_a_rank() -> None:
    options: list[dict[str, Any]] = [{"hyperparameters": {"steps": steps}, "defense": "pgd"} for steps in (1, 3)]
    records = [make_record(seed=seed, **own) for seed in range(3) for own in (*options, {"defense": "fgm"})]
    told = headline(build_table(records)[0])
    assert "nrms + pgd (2 rows)" in told
    assert "nrms + fgm (" not in told
    assert "share rank 1" in told

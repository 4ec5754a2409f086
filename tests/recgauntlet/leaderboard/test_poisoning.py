"""Poisoning of a row: measures counted by hand, intervals, and ranks apart from those by evasion."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from synthetic_poisoning import USERS, poisoned_record, poisoning

from recgauntlet.leaderboard.build import build_table
from recgauntlet.leaderboard.poisoning_schema import Poisoning
from recgauntlet.leaderboard.schema import Row
from recgauntlet.metrics.bootstrap import RankRange, grouped_means
from recgauntlet.records.parts import Gate

SEEDS = range(3)
FAILED = Gate(name="a-check", threat="brushing", passed=False, value=1, limit=0, explanation="e")


def row_of(*records: Any) -> Row:
    (table,) = build_table(records)
    (row,) = table.rows
    return row


@pytest.fixture(scope="module")
def found() -> Poisoning:
    (one,) = row_of(*(poisoned_record(seed, pairs=USERS) for seed in SEEDS)).poisoning
    return one


def test_robust_accuracy_is_the_worst_case_of_what_counts(found: Poisoning) -> None:
    # 8 eligible pairs of two examples; clicks are right in 3, 2 and 0 of them, targets of the tail in all
    assert found.clean is not None
    assert found.clean.value == pytest.approx((3 + 2 + 6) / 16)
    standard, low = found.at(), found.at("low")
    assert standard is not None
    assert low is not None
    assert low.robust.value == pytest.approx((3 + 2 + 6) / 16)
    assert standard.robust.value == pytest.approx((3 + 2 + 5) / 16)  # coattails breaks one target
    assert {name: each.value for name, each in standard.by_set} == {
        "tail": pytest.approx((2 + 2 + 5) / 12),
        "head": pytest.approx(1 / 4),
    }
    assert standard.by_seed == (pytest.approx(10 / 16),) * 3
    assert found.every is not None
    assert found.every.value == pytest.approx((3 + 0 + 5) / 16)  # random loses the second user's click too
    assert [(one.attack, one.tier, one.counted) for one in found.trainings] == [
        ("coattails", "standard", True),
        ("random", "standard", False),
        ("coattails", "low", True),
        ("coattails", "high", True),
    ]
    assert found.worst is not None
    assert found.worst.attack == "coattails"


def test_exposure_is_that_of_users_who_never_take_the_target(found: Poisoning) -> None:
    (name, ten, fifty, win), (head, *_) = found.exposure
    assert (name, head) == ("tail", "head")
    assert (ten.value, fifty.value) == (0.0, 0.0)
    assert win.value == pytest.approx((9 + 19) / 2 / 99)
    tail = found.trainings[0].sets[0]
    assert tail.exposure10.value.value == pytest.approx(1 / 6)
    assert tail.exposure50.value.value == pytest.approx(2 / 6)
    assert tail.exposure50.uplift.value == pytest.approx(2 / 6)
    assert tail.win_rate.uplift.value == pytest.approx((50 + 72) / 6 / 99)
    assert found.trainings[0].sets[1].win_rate.uplift.value == 0.0
    assert tail.exposure50.value.low < tail.exposure50.value.value < tail.exposure50.value.high


def test_collateral_damage_and_what_a_filter_removed(found: Poisoning) -> None:
    one = found.trainings[1]
    assert one.accuracy.value.value == pytest.approx(1 / 3)
    assert one.accuracy.uplift.value == pytest.approx(-1 / 3)
    assert found.trainings[0].ndcg10.uplift.value == pytest.approx(-0.1, abs=1e-3)
    assert one.filtered is not None
    assert (one.filtered.precision, one.filtered.recall, one.filtered.genuine) == (0.25, 0.5, 9.0)


def test_intervals_resample_targets_users_and_seeds() -> None:
    rng = np.random.default_rng(0)
    sums = np.repeat(rng.normal(size=(1, 1, 6, 1)), 50, axis=1)  # targets differ, users do not
    values, draws = grouped_means(sums, np.ones((50, 6)), [slice(0, 3), slice(3, 6)])
    assert values[:, 0] == pytest.approx([sums[0, 0, :3, 0].mean(), sums[0, 0, 3:, 0].mean(), sums.mean()])
    spread = np.sqrt((sums[0, 0, :3, 0].var() / 3 + sums[0, 0, 3:, 0].var() / 3) / 4)
    assert draws[:, 2, 0].std() == pytest.approx(spread, rel=0.1)
    seeds = np.repeat(rng.normal(size=(3, 1, 1, 1)), 50, axis=1)
    _, draws = grouped_means(seeds, np.ones((50, 1)), [slice(0, 1)])
    assert draws[:, 1, 0].std() == pytest.approx(seeds[:, 0, 0, 0].std() / np.sqrt(3), rel=0.1)


def test_rows_are_ranked_apart_by_evasion_and_by_poisoning() -> None:
    unharmed = poisoning(200, harm=False)
    records = [poisoned_record(seed, model="falls") for seed in SEEDS]
    records += [poisoned_record(seed, model="stands", outcome=unharmed) for seed in SEEDS]
    without = [poisoned_record(seed, model="text").model_copy(update={"poisoning": ()}).sealed() for seed in SEEDS]
    (table,) = build_table([*records, *without])
    rows = {row.model.name: row for row in table.rows}
    assert {name: row.poisoning_rank for name, row in rows.items()} == {"falls": 1, "stands": 1, "text": None}
    first, second, third = (rows[name].poisoning_range for name in ("falls", "stands", "text"))
    assert third is None
    assert first is not None
    assert second is not None
    assert (first.low, first.high, second.low) == (1, 2, 1)
    assert first.best + second.best == pytest.approx(1.0)
    assert first.best < second.best
    assert all(row.rank is not None for row in rows.values())
    ranks = [row.rank for row in table.rows]
    (apart,) = build_table([record.model_copy(update={"poisoning": ()}).sealed() for record in [*records, *without]])
    assert [row.rank for row in apart.rows] == ranks


def test_a_clear_difference_makes_a_rank() -> None:
    worse = poisoning(200)
    clean = worse.clean  # type: ignore[attr-defined]
    nothing = clean.model_copy(
        update={
            "clicked": type(clean.clicked).of(np.zeros(200, dtype=np.bool_)),
            "targets": type(clean.targets).of(np.zeros(600, dtype=np.bool_)),
        }
    )
    lost = tuple(one.model_copy(update={"outcome": nothing}) for one in worse.trainings)  # type: ignore[attr-defined]
    falls = worse.model_copy(update={"trainings": lost})  # type: ignore[attr-defined]
    records = [poisoned_record(seed, model="falls", outcome=falls) for seed in SEEDS]
    records += [poisoned_record(seed, model="stands", outcome=poisoning(200, harm=False)) for seed in SEEDS]
    (table,) = build_table(records)
    assert {row.model.name: row.poisoning_rank for row in table.rows} == {"falls": 2, "stands": 1}
    ranges = {row.model.name: row.poisoning_range for row in table.rows}
    assert ranges == {"falls": RankRange(2, 2, 0.0), "stands": RankRange(1, 1, 1.0)}


def test_equal_rows_share_the_rank_in_every_draw_and_half_the_chance_to_be_best() -> None:
    records = [poisoned_record(seed, model=model) for seed in SEEDS for model in ("one", "other")]
    (table,) = build_table(records)
    assert [(row.poisoning_rank, row.poisoning_range) for row in table.rows] == [(1, RankRange(1, 1, 0.5))] * 2


def test_rows_of_too_few_common_seeds_may_stand_on_either_side() -> None:
    records = [poisoned_record(seed, model="one") for seed in SEEDS]
    records += [poisoned_record(seed, model="other") for seed in (2, 3, 4)]
    (table,) = build_table(records)
    assert [(row.poisoning_rank, row.poisoning_range) for row in table.rows] == [(1, RankRange(1, 2, 0.5))] * 2


@pytest.mark.parametrize(
    ("outcome", "kind"),
    [
        (poisoning(200, chosen=("coattails",), ranked=False), "chosen-attacks"),
        (poisoning(200, checks=(FAILED,)), "failed-gate"),
    ],
)
def test_a_fault_of_poisoning_takes_its_rank_and_not_that_by_evasion(outcome: Any, kind: str) -> None:
    row = row_of(*(poisoned_record(seed, outcome=outcome) for seed in SEEDS))
    assert row.rank == 1
    assert row.poisoning_rank is None
    assert kind in [flag.kind for flag in row.poisoning[0].flags]


def test_a_model_that_was_not_trained_again_says_why() -> None:
    empty = {"clean": None, "trainings": (), "users": 0, "eligible": None, "pair_users": None}
    row = row_of(*(poisoned_record(seed, outcome=poisoning(200, reason="reads text", **empty)) for seed in SEEDS))
    assert row.rank == 1
    assert row.poisoning_rank is None
    assert row.poisoning[0].reason == "reads text"
    assert row.poisoning[0].tiers == ()

"""Accuracy of rows by attributes of users, and whether a defense widens a gap between them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from pydantic import TypeAdapter
from synthetic_groups import USERS, record_by_group, with_user_groups
from synthetic_records import make_record

from recgauntlet.leaderboard.build import build_table
from recgauntlet.leaderboard.groups_schema import GroupGap, Groups
from recgauntlet.leaderboard.schema import Row
from recgauntlet.metrics.bootstrap import means_by_group, means_of_sums
from recgauntlet.metrics.groups import largest_gap
from recgauntlet.records.user_groups import BLOCKS


def board(defended: Sequence[float], undefended: Sequence[float], seeds: int = 3) -> dict[str, Row]:
    """The rows of a defense and its twin with these robust accuracies by age."""
    records = [
        with_user_groups(record_by_group(shares, seed=seed, defense=defense))
        for seed in range(seeds)
        for defense, shares in (("pgd", defended), ("standard", undefended))
    ]
    (table,) = build_table(records)
    return {row.defense.name: row for row in table.rows}


def by_age(row: Row) -> Groups:
    (found,) = [groups for groups in row.groups if groups.name == "age"]
    return found


def robust(row: Row) -> GroupGap:
    found = by_age(row).gap("robust")
    assert found is not None
    return found


def test_accuracies_and_the_largest_gap_are_those_counted_by_hand() -> None:
    row = board((0.8, 0.5, 0.35), (0.6, 0.6, 0.6))["pgd"]
    groups = by_age(row)
    assert groups.names == ["young", "middle", "old"]
    assert [(line.pairs, line.users) for line in groups.lines] == [(200, 20)] * 3
    assert [line.robust.value for line in groups.lines if line.robust] == pytest.approx([0.8, 0.5, 0.35])
    assert [line.clean.value for line in groups.lines if line.clean] == pytest.approx([0.9] * 3)
    assert robust(row).gap.gap.value == pytest.approx(0.45)
    assert (robust(row).gap.best, robust(row).gap.worst) == (0, 2)
    content = TypeAdapter(Row).dump_python(row)["groups"][1]["lines"][0]
    assert (content["label"], content["users"]) == ("young", 20)
    assert "least" not in content


def test_a_defense_that_widens_a_gap_is_told_from_one_that_does_not() -> None:
    found = robust(board((0.8, 0.6, 0.5), (0.65, 0.6, 0.55))["pgd"]).beside_twin
    assert found is not None
    assert (found.change.own, found.change.other, found.change.wider.value) == pytest.approx((0.3, 0.1, 0.2))
    assert found.told_apart
    same = robust(board((0.7, 0.6, 0.5), (0.7, 0.6, 0.5))["pgd"]).beside_twin
    assert same is not None
    assert not same.told_apart


def test_a_row_has_groups_only_where_all_its_records_agree() -> None:
    records = [with_user_groups(make_record(seed=seed)) for seed in range(2)]
    for odd in (make_record(seed=2), with_user_groups(make_record(seed=2), ["young", "middle", "other"])):
        (table,) = build_table([*records, odd])
        assert table.rows[0].groups == ()


def test_a_model_that_no_ranked_threat_applies_to_has_clean_groups() -> None:
    (table,) = build_table([with_user_groups(make_record(seed=seed, threats={"stuffing": None})) for seed in range(3)])
    assert [gap.measure for gap in by_age(table.rows[0]).gaps] == ["clean"]


def test_users_are_drawn_and_not_their_pairs() -> None:
    """Users are of one accuracy in both groups but differ much: by pairs a gap is found where there is none."""
    rng = np.random.default_rng(0)
    alarms = {"pairs": 0, "users": 0}
    users = np.arange(900) % USERS
    for _ in range(60):
        accuracy = rng.choice([0.3, 0.9], USERS)
        outcomes = (rng.random((1, 900, 1)) < accuracy[users][None, :, None]).astype(np.float64)
        groups = (users // BLOCKS) % 2
        alarms["pairs"] += largest_gap(*_column(means_by_group(outcomes, groups))).p <= 0.05
        sums, sizes = np.zeros((BLOCKS, 2, 1, 1)), np.zeros((BLOCKS, 2))
        np.add.at(sums, (users % BLOCKS, groups), outcomes.transpose(1, 0, 2))
        np.add.at(sizes, (users % BLOCKS, groups), 1)
        alarms["users"] += largest_gap(*_column(means_of_sums(sums, sizes))).p <= 0.05
    assert alarms["users"] <= 9 < 18 <= alarms["pairs"]


def _column(found: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    means, draws = found
    return means[:, 0], draws[:, :, 0]

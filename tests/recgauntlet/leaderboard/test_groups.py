"""Fairness of rows: accuracy and exposure by group, and whether a defense widens a gap."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from pydantic import TypeAdapter
from synthetic_groups import record_by_group, with_groups
from synthetic_places import with_places
from synthetic_records import cut, make_record

from recgauntlet.leaderboard.build import build_table
from recgauntlet.leaderboard.groups import _beside_twin
from recgauntlet.leaderboard.groups_schema import TwinGap
from recgauntlet.leaderboard.schema import Row
from recgauntlet.metrics.significance import holm


def board(defended: Sequence[float], undefended: Sequence[float], seeds: int = 3) -> dict[str, Row]:
    """The rows of a defense and its twin with these robust accuracies by group."""
    records = [
        record_by_group(shares, seed=seed, defense=defense)
        for seed in range(seeds)
        for defense, shares in (("pgd", defended), ("standard", undefended))
    ]
    (table,) = build_table(records)
    return {row.defense.name: row for row in table.rows}


def beside(row: Row, measure: str = "robust") -> TwinGap:
    (found,) = [gap.beside_twin for groups in row.groups for gap in groups.gaps if gap.measure == measure]
    assert found is not None
    return found


def test_accuracies_and_the_largest_gap_are_those_counted_by_hand() -> None:
    (groups,) = board((0.8, 0.5, 0.35), (0.6, 0.6, 0.6))["pgd"].groups
    assert (groups.name, groups.threat) == ("activity", "stuffing")
    assert [(line.least, line.most, line.pairs) for line in groups.lines] == [(0, 0, 200), (3, 9, 200), (10, 40, 200)]
    robust = [line.robust.value for line in groups.lines if line.robust is not None]
    assert robust == pytest.approx([0.8, 0.5, 0.35])
    assert all(line.clean is not None and line.clean.value == pytest.approx(0.9) for line in groups.lines)
    gap, clean = groups.gap("robust"), groups.gap("clean")
    assert gap is not None
    assert clean is not None
    assert gap.gap.gap.value == pytest.approx(0.45)
    assert (gap.gap.best, gap.gap.worst, gap.gap.p) == (0, 2, 0)
    assert gap.gap.gap.low > 0.3
    assert (clean.gap.gap.value, clean.gap.p) == (pytest.approx(0), 1)


def test_a_defense_that_widens_a_gap_is_told_from_one_that_does_not() -> None:
    rows = board((0.8, 0.6, 0.5), (0.65, 0.6, 0.55))
    found, clean = beside(rows["pgd"]), beside(rows["pgd"], "clean")
    wider = found.change
    assert (wider.best, wider.worst, found.seeds) == (0, 2, (0, 1, 2))
    assert (wider.own, wider.other, wider.wider.value) == pytest.approx((0.3, 0.1, 0.2))
    assert 0.05 < wider.wider.low < 0.2 < wider.wider.high < 0.35
    assert found.told_apart
    assert not clean.told_apart
    assert (found.holm, clean.holm) == holm([wider.p, clean.change.p])
    assert all(gap.beside_twin is None for groups in rows["standard"].groups for gap in groups.gaps)
    narrower = beside(board((0.6, 0.6, 0.6), (0.8, 0.6, 0.5))["pgd"])
    assert narrower.told_apart
    assert narrower.change.wider.high < 0
    same = beside(board((0.75, 0.6, 0.5), (0.75, 0.6, 0.5))["pgd"]).change  # other examples, equal shares
    assert (same.wider.value, same.p) == (pytest.approx(0), pytest.approx(1, abs=0.2))


def test_two_seeds_are_not_compared_and_too_few_pairs_have_no_accuracy() -> None:
    (groups,) = board((0.8, 0.5, 0.3), (0.6, 0.6, 0.6), seeds=2)["pgd"].groups
    assert all(gap.beside_twin is None for gap in groups.gaps)
    codes = [0] * 191 + [2] * 9
    (table,) = build_table([with_groups(make_record(seed=seed), codes) for seed in range(3)])
    (few,) = table.rows[0].groups
    assert [line.pairs for line in few.lines] == [191, 0, 9]
    assert [line.clean is None for line in few.lines] == [False, True, True]
    assert few.gaps == ()


def test_a_row_has_groups_only_where_all_its_records_agree() -> None:
    records = [with_groups(make_record(seed=seed)) for seed in range(2)]
    for odd in (make_record(seed=2), with_groups(make_record(seed=2), [0] * 200)):
        (table,) = build_table([*records, odd])
        assert table.rows[0].groups == ()
    (plain,) = build_table([make_record(seed=seed) for seed in range(3)])
    assert "groups" not in TypeAdapter(Row).dump_python(plain.rows[0])


def test_a_model_that_no_ranked_threat_applies_to_has_clean_groups() -> None:
    (table,) = build_table([with_groups(make_record(seed=seed, threats={"stuffing": None})) for seed in range(3)])
    (groups,) = table.rows[0].groups
    assert groups.threat is None
    assert [gap.measure for gap in groups.gaps] == ["clean"]


def test_first_pairs_are_compared_on_the_pairs_of_both() -> None:
    twins = [make_record(seed=seed) for seed in range(3)]
    first = [with_groups(cut(make_record(seed=seed, defense="pgd"))) for seed in range(3)]
    found = _beside_twin(first, [with_groups(twin) for twin in twins], "stuffing")
    assert set(found) == {("activity", "clean"), ("activity", "robust")}
    assert found == _beside_twin(first, [with_groups(cut(twin)) for twin in twins], "stuffing")


def test_exposure_is_the_share_of_the_first_places() -> None:
    records = [
        with_groups(with_places(make_record(seed=seed, defense=defense)), exposed=True)
        for seed in range(3)
        for defense in ("standard", "pgd")
    ]
    (table,) = build_table(records)
    for row in table.rows:
        (groups,) = row.groups
        found = [line.exposure.value for line in groups.lines if line.exposure is not None]
        assert found == pytest.approx([0.05, 0.1, 0.85])
        gap = groups.gap("exposure")
        assert gap is not None
        assert gap.gap.gap.value == pytest.approx(0.8)
    defended = next(row for row in table.rows if row.defense.name == "pgd")
    change = beside(defended, "exposure").change
    assert (change.wider.value, change.p) == (pytest.approx(0), 1)

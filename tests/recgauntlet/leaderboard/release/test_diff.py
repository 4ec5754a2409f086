"""Two releases compared row by row."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from made_releases import make_release, small, write_all
from synthetic_records import failed_gate

from recgauntlet.core.errors import RecordError
from recgauntlet.leaderboard.release.diff import ReleaseDiff, diff_releases
from recgauntlet.records.release import Release, open_release
from recgauntlet.records.schema import RunRecord

BETTER = {"stuffing": (0.7, 0.65, 0.6), "embedding": (0.65, 0.55, 0.3)}


def released(folder: Path, name: str, records: list[RunRecord]) -> Release:
    return open_release(make_release(folder, name, records))


def told(found: ReleaseDiff) -> list[tuple[str, str, tuple[str, ...]]]:
    return [(change.kind, change.row.defense.name, change.fields) for change in found.changes]


def versioned(records: list[RunRecord], version: str) -> list[RunRecord]:
    return [
        r.model_copy(update={"defense": r.defense.model_copy(update={"version": version})}).sealed() for r in records
    ]


def test_a_release_does_not_differ_from_itself_nor_from_its_own_records(tmp_path: Path) -> None:
    release = released(tmp_path, "a", [*small(), *small(defense="pgd")])
    assert diff_releases(release, release) == ReleaseDiff("a", "a", (), (), 2)
    mine = open_release(tmp_path / "records-of-a")
    assert diff_releases(release, mine).changes == diff_releases(mine, release).changes == ()


def test_rows_that_are_new_gone_or_changed_are_told(tmp_path: Path) -> None:
    first = released(tmp_path, "a", [*small(), *small(defense="pgd"), *small(defense="old")])
    second = released(tmp_path, "b", [*small(), *small(defense="pgd", threats=BETTER), *small(defense="new")])
    found = diff_releases(first, second)
    assert sorted(told(found)) == [
        ("changed", "pgd", ("robust",)),
        ("changed", "standard", ("rank",)),
        ("gone", "old", ()),
        ("new", "new", ()),
    ]
    (change,) = [change for change in found.changes if change.row.defense.name == "pgd"]
    assert change.was is not None
    assert change.now is not None
    assert change.was.robust is not None
    assert change.now.robust is not None
    assert change.was.robust.value < change.now.robust.value


def test_flags_and_seeds_that_changed_are_told(tmp_path: Path) -> None:
    first = released(tmp_path, "a", small(defense="pgd"))
    second = released(tmp_path, "b", small(2, defense="pgd", gates=(failed_gate(),)))
    ((kind, _, fields),) = told(diff_releases(first, second))
    assert kind == "changed"
    assert {"flags", "seeds", "rank"} <= set(fields)


def test_other_options_make_another_row_and_another_version_the_same(tmp_path: Path) -> None:
    first = released(tmp_path, "a", small(defense="pgd", hyperparameters={"epsilon": 0.1}))
    second = released(tmp_path, "b", small(defense="pgd", hyperparameters={"epsilon": 0.2}))
    assert [kind for kind, *_ in told(diff_releases(first, second))] == ["new", "gone"]
    third = released(tmp_path, "c", versioned(small(defense="pgd", hyperparameters={"epsilon": 0.1}), "0.2.0"))
    assert told(diff_releases(first, third)) == [("changed", "pgd", ("defense",))]


def test_rows_that_only_a_version_tells_apart_are_paired_in_its_order(tmp_path: Path) -> None:
    both = [*versioned(small(defense="pgd"), "0.1.0"), *versioned(small(defense="pgd"), "0.2.0")]
    release = released(tmp_path, "a", both)
    assert told(diff_releases(release, release)) == []
    assert len(diff_releases(release, released(tmp_path, "b", both[:3])).changes) == 1


def test_numbers_of_another_suite_are_said_not_to_be_comparable(tmp_path: Path) -> None:
    first = released(tmp_path, "a", small())
    second = released(tmp_path, "b", small(suite_fingerprint="9" * 64))
    (setting,) = diff_releases(first, second).settings
    assert setting.task == "shop"
    assert "another attack suite" in setting.why


def test_a_directory_that_mixes_what_may_not_be_compared_is_refused_with_the_reason(tmp_path: Path) -> None:
    first = released(tmp_path, "a", small())
    mixed = open_release(write_all(tmp_path / "mixed", [*small(), *small(1, defense="pgd", version=2)]))
    with pytest.raises(RecordError, match=r"another version of the task \(2 and 1\)"):
        diff_releases(first, mixed)


def test_the_json_of_a_difference_has_both_rows_unrounded(tmp_path: Path) -> None:
    first = released(tmp_path, "a", small())
    second = released(tmp_path, "b", small(clean=0.71))
    content = json.loads(json.dumps(diff_releases(first, second).to_json()))
    assert (content["first"], content["second"], content["same"]) == ("a", "b", 0)
    (change,) = content["changes"]
    assert "clean" in change["fields"]
    assert second.manifest is not None
    assert change["now"]["clean"]["value"] == second.manifest.summary[0].clean.value

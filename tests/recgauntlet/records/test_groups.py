"""Groups of test pairs in a record: optional, checked, printed."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError
from rich.console import Console
from synthetic_groups import record_by_group, with_groups
from synthetic_places import with_places
from synthetic_records import cut, make_record

from recgauntlet.core.errors import RecordError
from recgauntlet.records.columns import FloatColumn, IntColumn
from recgauntlet.records.groups import Group, group_name
from recgauntlet.records.io import read_record, write_record
from recgauntlet.records.reruns import numbers_of
from recgauntlet.records.summary import print_summary
from recgauntlet.records.validate import check_record


def test_they_are_kept_and_records_without_keep_their_bytes(tmp_path: Path) -> None:
    plain, record = make_record(), with_groups(make_record())
    write_record(record, tmp_path / "record.json")
    assert read_record(tmp_path / "record.json") == record
    assert "groups" not in plain.model_dump(mode="json")
    assert plain.sealed().digest == plain.digest != record.digest
    assert numbers_of(record) == numbers_of(plain)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"groups": ()}, "groups.activity.groups"),
        ({"groups": (Group(least=0, most=4), Group(least=4, most=9))}, "groups.activity.groups"),
        ({"groups": (Group(least=3, most=2),)}, "groups.activity.groups"),
        ({"groups": (Group(least=0, most=2),)}, "groups.activity.pairs"),
        ({"pairs": IntColumn.of(np.zeros(7, dtype=np.int64))}, "groups.activity.pairs"),
        ({"pairs": IntColumn(kind="u4", n=200, data="broken")}, "groups"),
        ({"exposed": FloatColumn.of(np.ones(6))}, "groups.activity.exposed"),
    ],
)
def test_groups_that_cannot_be_are_refused(changes: dict[str, object], field: str) -> None:
    record = with_groups(make_record())
    check_record(record)
    (one,) = record.groups
    with pytest.raises(RecordError) as caught:
        check_record(record.model_copy(update={"groups": (one.model_copy(update=changes),)}))
    assert caught.value.field == field
    with pytest.raises(RecordError, match="twice"):
        check_record(record.model_copy(update={"groups": (one, one)}))


def test_no_more_groups_and_no_larger_bounds_are_read_than_are_made() -> None:
    (one,) = with_groups(make_record()).groups
    groups = [group.model_dump() for group in one.groups]
    for wrong in (2 * groups, [], [{"least": 0, "most": 10**5000}]):
        with pytest.raises(ValidationError):
            type(one).model_validate({**one.model_dump(), "groups": wrong})


def test_exposure_needs_the_lists_that_it_is_of() -> None:
    record = with_groups(with_places(make_record()), exposed=True)
    check_record(record)
    (one,) = record.groups
    shares = one.shares()
    assert shares is not None
    assert shares.tolist() == [pytest.approx([0.1, 0.2, 0.7]), [0, 0, 1]]
    for places in ([1, 2, 11, 0, 0, 10], [1, 2, 7, 0, 0, 0], [1, 2, 7]):
        wrong = one.model_copy(update={"exposed": FloatColumn.of(np.array(places, dtype=np.float64))})
        with pytest.raises(RecordError, match=r"numbers from 0 to 10|each of 2 lists"):
            check_record(record.model_copy(update={"groups": (wrong,)}))
    with pytest.raises(RecordError, match="each of 0 lists"):
        check_record(with_groups(make_record(), exposed=True))


def test_the_summary_prints_them() -> None:
    console = Console(file=io.StringIO(), width=200)
    print_summary(console, record_by_group((0.8, 0.5, 0.3)))
    assert isinstance(console.file, io.StringIO)
    lines = [line.split() for line in console.file.getvalue().splitlines()]
    assert ["activity", "0", "items", "(new", "users)", "200", "90.0%", "80.0%"] in lines
    assert ["10–40", "items", "200", "90.0%", "30.0%"] in lines
    assert ["largest", "gap", "0.0", "points", "50.0", "points"] in lines


def test_a_group_of_too_few_pairs_has_no_accuracy() -> None:
    console = Console(file=io.StringIO(), width=200)
    print_summary(console, with_groups(make_record(), [0] * 191 + [2] * 9))
    assert isinstance(console.file, io.StringIO)
    lines = [line.split() for line in console.file.getvalue().splitlines()]
    assert ["3–9", "items", "0"] in lines
    assert ["10–40", "items", "9"] in lines
    assert "largest gap" not in console.file.getvalue()


def test_the_first_pairs_keep_their_groups() -> None:
    record = with_groups(make_record())
    (one,) = record.groups
    first = cut(make_record())
    check_record(with_groups(first))
    with pytest.raises(RecordError, match="for each of 60 test pairs"):
        check_record(first.model_copy(update={"groups": (one,)}))


def test_bounds_in_words() -> None:
    assert group_name("activity", 0, 0) == "0 items (new users)"
    assert group_name("history", 1, 1) == "1 item"
    assert group_name("popularity", 0, 1) == "0–1 users"
    assert group_name("popularity", 1200, 3000) == "1,200–3,000 users"

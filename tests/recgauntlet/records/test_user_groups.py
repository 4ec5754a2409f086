"""Sums by attributes of users in a record: optional, checked, printed."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError
from rich.console import Console
from synthetic_groups import record_by_group, with_groups, with_user_groups
from synthetic_records import make_record

from recgauntlet.core.errors import RecordError
from recgauntlet.records.columns import IntColumn
from recgauntlet.records.io import read_record, write_record
from recgauntlet.records.reruns import numbers_of
from recgauntlet.records.schema import RunRecord
from recgauntlet.records.summary import print_summary
from recgauntlet.records.user_groups import BLOCKS, ThreatSums
from recgauntlet.records.validate import check_record


def column(value: int, groups: int = 3) -> IntColumn:
    return IntColumn.of(np.full(BLOCKS * groups, value))


def summary(record: RunRecord) -> str:
    console = Console(file=io.StringIO(), width=200)
    print_summary(console, record)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_they_are_kept_and_records_without_keep_their_bytes(tmp_path: Path) -> None:
    plain, record = make_record(), with_user_groups(make_record())
    write_record(record, tmp_path / "record.json")
    assert read_record(tmp_path / "record.json") == record
    assert "user_groups" not in plain.model_dump(mode="json")
    assert plain.sealed().digest == plain.digest != record.digest
    assert numbers_of(record) == numbers_of(plain)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"labels": ("a", "a", "b")}, "user_groups.age.labels"),
        ({"users": (5, 5)}, "user_groups.age.labels"),
        ({"pairs": column(1, 2)}, "user_groups.age.pairs"),
        ({"pairs": column(0)}, "user_groups.age.pairs"),
        ({"pairs": column(100)}, "user_groups.age.pairs"),
        ({"clean": column(2**32 - 1)}, "user_groups.age.clean"),
        ({"clean": column(0)}, "user_groups.age.clean"),
        ({"robust": (ThreatSums(threat="stuffing", right=column(0)),)}, "user_groups.age.robust.stuffing"),
        ({"robust": (ThreatSums(threat="unknown", right=column(0)),)}, "user_groups.age.robust"),
        ({"pairs": IntColumn(kind="u4", n=3 * BLOCKS, data="broken")}, "user_groups"),
    ],
)
def test_sums_that_cannot_be_are_refused(changes: dict[str, object], field: str) -> None:
    record = with_user_groups(make_record())
    check_record(record)
    (one,) = record.user_groups
    with pytest.raises(RecordError) as caught:
        check_record(record.model_copy(update={"user_groups": (one.model_copy(update=changes),)}))
    assert caught.value.field == field
    with pytest.raises(RecordError, match="twice"):
        check_record(record.model_copy(update={"user_groups": (one, one)}))


def test_no_more_groups_longer_labels_or_smaller_groups_are_read_than_are_made() -> None:
    (one,) = with_user_groups(make_record()).user_groups
    for wrong in ({"labels": ["x" * 41] * 3}, {"labels": list("abcdefghijk")}, {"users": [4, 20, 20]}, {"name": "zip"}):
        with pytest.raises(ValidationError):
            type(one).model_validate({**one.model_dump(), **wrong})


def test_the_summary_prints_the_accuracies_of_the_groups() -> None:
    plain = summary(record_by_group((0.8, 0.5, 0.3)))
    text = summary(with_user_groups(record_by_group((0.8, 0.5, 0.3)), ["young", "[red]middle", "o\x1b[31mld"]))
    assert "age" not in plain.split()
    lines = [line.split() for line in text.splitlines()]
    assert ["age", "young", "200", "90.0%", "80.0%"] in lines
    assert ["[red]middle", "200", "90.0%", "50.0%"] in lines
    assert lines.count(["largest", "gap", "0.0", "points", "50.0", "points"]) == 2  # by activity and by age
    assert "\x1b" not in text


def test_they_need_no_other_groups() -> None:
    record = with_groups(make_record()).model_copy(update={"groups": ()})
    assert "young" in summary(with_user_groups(record))

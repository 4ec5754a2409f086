"""Poisoning in a record: what is written is read again, and contradictions are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from synthetic_poisoning import poisoned_record, poisoning
from synthetic_records import make_record

from recgauntlet.core.errors import RecordError
from recgauntlet.records.columns import IntColumn
from recgauntlet.records.io import read_record, write_record
from recgauntlet.records.validate import check_record


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    record = poisoned_record()
    write_record(record, tmp_path / "one.json")
    assert read_record(tmp_path / "one.json") == record


def test_nothing_is_written_where_nothing_was_poisoned() -> None:
    assert "poisoning" not in make_record().model_dump(mode="json")


def test_whole_numbers_are_packed() -> None:
    values = np.array([0, 1, 70_000, 2**32 - 1])
    assert IntColumn.of(values).to_int().tolist() == values.tolist()
    with pytest.raises(ValueError, match="2\\^32"):
        IntColumn.of(np.array([-1]))


def changed(**changes: Any) -> Any:
    outcome: Any = poisoning(200)
    return outcome.model_copy(update=changes)


def with_training(**changes: Any) -> Any:
    outcome: Any = poisoning(200)
    first, *rest = outcome.trainings
    return outcome.model_copy(update={"trainings": (first.model_copy(update=changes), *rest)})


SHORT = IntColumn.of(np.zeros(3, dtype=np.int64))


@pytest.mark.parametrize(
    ("outcome", "field"),
    [
        (changed(reason="reads text"), "poisoning.brushing.reason"),
        (changed(sets=()), "poisoning.brushing.sets"),
        (changed(eligible=None), "poisoning.brushing.eligible"),
        (changed(users=0), "poisoning.brushing.eligible"),
        (changed(pair_users=SHORT), "poisoning.brushing.pair_users"),
        (changed(trainings=poisoning(200).trainings[:1] * 2), "poisoning.brushing.trainings"),  # type: ignore[attr-defined]
        (with_training(dropped_fakes=7), "poisoning.brushing.coattails.standard.dropped_fakes"),
        (with_training(faults=("a fault",)), "poisoning.brushing.coattails.standard.faults"),
    ],
)
def test_contradictions_are_refused(outcome: Any, field: str) -> None:
    with pytest.raises(RecordError) as caught:
        check_record(poisoned_record(outcome=outcome))
    assert caught.value.field == field


def test_a_target_stands_no_deeper_than_the_list() -> None:
    outcome: Any = poisoning(200)
    deep = outcome.clean.model_copy(update={"above": IntColumn.of(np.full(9, 100))})
    with pytest.raises(RecordError) as caught:
        check_record(poisoned_record(outcome=outcome.model_copy(update={"clean": deep})))
    assert caught.value.field == "poisoning.brushing.clean.above"

"""What a cell that is run again is compared by, beside its scores: attacks on training data."""

from __future__ import annotations

from typing import Any

from synthetic_poisoning import poisoned_record, poisoning

from recgauntlet.runner.submission.rerun import _differences


def fields(record: Any, again: Any) -> list[str]:
    return [field for field, _ in _differences(record, again)]


def test_the_same_cell_has_no_difference() -> None:
    assert fields(poisoned_record(), poisoned_record()) == []


def test_another_robust_accuracy_under_poisoning_is_found() -> None:
    unharmed = poisoned_record(outcome=poisoning(200, harm=False))
    assert fields(unharmed, poisoned_record()) == ["poisoning.brushing.standard", "poisoning.brushing.high"]


def test_poisoning_that_is_gone_is_found() -> None:
    record = poisoned_record()
    assert fields(record, record.model_copy(update={"poisoning": ()})) == ["poisoning.brushing"]

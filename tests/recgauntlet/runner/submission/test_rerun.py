"""What a cell that is run again is compared by, beside accuracy: lists of candidates, and attacks on training data."""

from __future__ import annotations

from typing import Any

import numpy as np
from synthetic_poisoning import poisoned_record, poisoning
from synthetic_popular import with_popular
from synthetic_records import make_record

from recgauntlet.records.columns import BitColumn, FloatColumn
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


def test_other_scores_of_popular_candidates_are_found() -> None:
    record = with_popular(make_record(), above=2)
    assert fields(record, with_popular(make_record(), above=2)) == []
    # two of three above the click: AUC 33.3 %; one of three: 66.7 %
    ((field, problem),) = _differences(record, with_popular(make_record(), above=1))
    assert field == "clean.popular.scores"
    assert "AUC is 33.3 % in the record and 66.7 % run again" in problem


def test_popular_candidates_of_one_record_alone_or_with_other_labels_are_found() -> None:
    record = with_popular(make_record())
    assert fields(record, make_record()) == fields(make_record(), record) == ["clean.popular"]
    count = len(record.clean.impression_sizes) if record.clean else 0
    moved = with_popular(make_record(), labels=BitColumn.of(np.tile([False, True, False, False], count)))
    assert fields(record, moved) == ["clean.popular.labels"]


def test_other_scores_of_uniform_lists_are_found() -> None:
    record = make_record()
    assert record.clean is not None
    turned = FloatColumn.of(-record.clean.impression_scores.to_float())
    again = record.model_copy(update={"clean": record.clean.model_copy(update={"impression_scores": turned})})
    assert fields(record, again) == ["clean.impression_scores"]

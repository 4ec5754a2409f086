"""The files of explanations: kept as they are, read within bounds, refused where they contradict themselves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from synthetic_explanations import EDITS, WORDS, evident_record, explanation_of, side

from recgauntlet.core.errors import RecordError
from recgauntlet.core.types import Edit
from recgauntlet.records.explanations import LONGEST_TEXT, MOST_PARTS, Turn, write_explanation
from recgauntlet.records.io import read_records, write_record

RECORD = evident_record()


def read_back(folder: Path, **changes: Any) -> RecordError:
    """Why the explanation with these changes is refused."""
    write_explanation(explanation_of(RECORD, **changes), folder / "explanations" / "why.json")
    results = read_records(folder)
    assert results.explanations == ()
    ((path, error),) = results.broken
    assert path == folder / "explanations" / "why.json"
    assert error.remedy
    return error


def test_it_comes_back_as_it_was_beside_the_records(tmp_path: Path) -> None:
    made = explanation_of(RECORD)
    write_record(RECORD, tmp_path / "shop" / "standard" / "a.json")
    write_explanation(made, tmp_path / "explanations" / "why.json")
    results = read_records(tmp_path)
    assert results.broken == ()
    assert [one for _, one in results.explanations] == [made]
    assert list(results) == [RECORD]
    assert made.is_of(RECORD)
    assert made.evidence_in(RECORD) == RECORD.evidence[0]


@pytest.mark.parametrize(
    "changes",
    [
        {"flip": None},
        {"example": 3},
        {"tier": "high"},
        {"flip": Turn(edits=EDITS[:2], score=0.25, attack="greedy")},
        {"flip": Turn(edits=EDITS, score=0.5, attack="greedy")},
        {"before": side(WORDS, -0.25, 0.25)},
    ],
)
def test_another_edit_or_score_is_no_evidence_of_the_record(changes: dict[str, Any]) -> None:
    assert explanation_of(RECORD, **changes).evidence_in(RECORD) is None


def test_rounding_of_another_machine_and_titles_of_items_make_no_difference() -> None:
    titled = tuple(edit.model_copy(update={"title": "a title"}) for edit in EDITS)
    found = explanation_of(RECORD, flip=Turn(edits=titled, score=0.2503, attack="greedy"))
    assert found.evidence_in(RECORD) is not None


def test_other_weights_or_no_such_example_is_another_decision() -> None:
    assert not explanation_of(RECORD.model_copy(update={"weights_sha256": "a" * 64})).is_of(RECORD)
    assert not explanation_of(evident_record(seed=1)).is_of(RECORD)
    assert not explanation_of(RECORD, example=10**6 + 1).is_of(RECORD)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"after": None}, "after"),
        ({"before": side(WORDS, -0.5, 0.25).model_copy(update={"parts": ()})}, "before"),
        ({"after": side(WORDS, 0.25, 1.0).model_copy(update={"deletion": (1.0,)})}, "after"),
        ({"right": False}, "right"),
        ({"clicked": True}, "clicked"),
        ({"flip": Turn(edits=EDITS, score=-0.25, attack="greedy")}, "flip.score"),
        ({"rows": ((0, 0), (1, 1), (2, None))}, "rows"),
        ({"rows": ((0, 0), (1, 1), (2, None), (None, 1))}, "rows"),
        ({"flip": Turn(edits=(Edit(op="delete", at=4),), score=0.25, attack="greedy")}, "flip.edits"),
        ({"flip": Turn(edits=(Edit(op="insert", at=0, new="x" * 301),), score=0.25, attack="a")}, "flip.edits"),
    ],
)
def test_what_contradicts_itself_is_refused(tmp_path: Path, changes: dict[str, Any], field: str) -> None:
    assert read_back(tmp_path, **changes).field == field


def test_data_that_may_not_be_passed_on_is_refused(tmp_path: Path) -> None:
    task = RECORD.task.model_copy(update={"redistributable": False})
    error = read_back(tmp_path, explained=explanation_of(RECORD).explained.model_copy(update={"task": task}))
    assert error.field == "explained.task.redistributable"
    assert "move it out of the results" in str(error)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("candidate",), "x" * (LONGEST_TEXT + 1)),
        (("before", "parts"), ["x"] * (MOST_PARTS + 1)),
        (("before", "score"), "NaN"),
        (("rows",), [[0, 0]] * (2 * MOST_PARTS + 1)),
        (("rows",), [[-1, 0]]),
        (("html",), "<b>"),
    ],
)
def test_no_more_is_read_than_is_made(tmp_path: Path, place: tuple[str, ...], value: object) -> None:
    path = tmp_path / "why.json"
    write_explanation(explanation_of(RECORD), path)
    content = json.loads(path.read_text())
    inner = content
    for name in place[:-1]:
        inner = inner[name]
    inner[place[-1]] = value
    path.write_text(json.dumps(content))
    ((_, error),) = read_records(tmp_path).broken
    assert error.field is not None
    assert error.field.startswith(".".join(place))


def test_an_edited_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "why.json"
    write_explanation(explanation_of(RECORD), path)
    path.write_text(path.read_text().replace('"war"', '"raw"'))
    ((_, error),) = read_records(tmp_path).broken
    assert error.field == "digest"

"""Clean inputs beside edits: only the first of an attack, true to the data, and never where a licence forbids it."""

from __future__ import annotations

import pytest
import torch
from synthetic_records import make_record

from recgauntlet.core.batch import Batch, Users
from recgauntlet.core.dataset import Catalog
from recgauntlet.core.errors import RecordError
from recgauntlet.core.types import PAD, Edit
from recgauntlet.evaluation.evidence import with_inputs
from recgauntlet.records.schema import Evidence
from recgauntlet.records.validate import check_record

CATALOG = Catalog(("a", "b", "c"), ("red cup", "blue cup", "tea  for two"), ("",) * 3)
SURFACES = {"stuffing": "candidate-text", "history": "history"}


def batch() -> Batch:
    users = Users(ids=torch.tensor([7, 8]), histories=torch.tensor([[PAD, 0, 2], [1, 2, 0]]))
    return Batch(
        users=users,
        rows=torch.tensor([0, 0, 1, 1]),
        items=torch.tensor([1, 2, 0, 2]),
        labels=torch.tensor([1.0, 0.0, 1.0, 0.0]),
        example_ids=torch.arange(4),
    )


def found(threat: str, example: int, *edits: Edit, attack: str = "one", tier: str = "standard") -> Evidence:
    return Evidence.model_validate(
        {
            "threat": threat,
            "tier": tier,
            "attack": attack,
            "example": example,
            "edits": [edit.model_dump() for edit in edits],
            "clean_score": -1.0,
            "score": 1.0,
        }
    )


def test_the_first_input_of_each_attack_has_its_clean_words() -> None:
    insert = Edit(op="insert", at=1, new="gift")
    low = found("stuffing", 3, insert, tier="low")
    first, second = found("stuffing", 3, insert), found("stuffing", 1, insert)
    other = found("stuffing", 1, insert, attack="two")
    shown = with_inputs([low, first, second, other], CATALOG, batch(), SURFACES)
    assert [entry.before for entry in shown] == [(), ("tea", "for", "two"), (), ("tea", "for", "two")]
    assert shown[1].edits == first.edits
    assert shown[1].candidate == ""


def test_a_history_has_its_titles_those_that_came_in_and_the_candidate() -> None:
    edits = (Edit(op="replace", at=0, new="b"), Edit(op="delete", at=1))
    (shown,) = with_inputs([found("history", 0, *edits)], CATALOG, batch(), SURFACES)
    assert shown.before == ("red cup", "tea  for two")
    assert shown.candidate == "blue cup"
    assert [edit.title for edit in shown.edits] == ["blue cup", ""]


def test_what_is_not_shown_leaves_the_bytes_of_a_record_as_they_were() -> None:
    assert set(found("history", 0, Edit(op="delete", at=1)).model_dump(mode="json")) == {
        "threat",
        "tier",
        "attack",
        "example",
        "edits",
        "clean_score",
        "score",
    }


@pytest.mark.parametrize("redistributable", [True, False])
def test_a_record_may_show_text_only_where_the_data_may_be_passed_on(redistributable: bool) -> None:
    record = make_record()
    entry = found("stuffing", 1, Edit(op="insert", at=0, new="gift")).model_copy(update={"before": ("red", "cup")})
    task = record.task.model_copy(update={"redistributable": redistributable})
    record = record.model_copy(update={"evidence": (entry,), "task": task})
    if redistributable:
        check_record(record)
    else:
        with pytest.raises(RecordError, match="may not be redistributed"):
            check_record(record)

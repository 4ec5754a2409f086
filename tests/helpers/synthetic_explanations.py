"""Records with evidence, and explanations of it, made up."""

from __future__ import annotations

from typing import Any

from synthetic_records import make_record

from recgauntlet.core.types import Edit
from recgauntlet.records.best_known import Challenged
from recgauntlet.records.explanations import ExplainedDecision, Gradients, Side, SmallestTurn, Turn
from recgauntlet.records.schema import Evidence, RunRecord

WORDS = ("tin", "war", "box")
EDITS = (Edit(op="replace", at=1, new="peace"), Edit(op="delete", at=2), Edit(op="insert", at=3, new="jumbo"))


def with_evidence(record: RunRecord) -> RunRecord:
    """The record with one edit as evidence, that of test example 1."""
    entry = Evidence(
        threat="stuffing", tier="standard", attack="greedy", example=1, edits=EDITS, clean_score=-0.5, score=0.25
    )
    return record.model_copy(update={"evidence": (entry,), "digest": ""}).sealed()


def evident_record(**options: Any) -> RunRecord:
    """A synthetic record with that evidence."""
    return with_evidence(make_record(**options))


def side(parts: tuple[str, ...], score: float, first: float) -> Side:
    """An input of three words, the first of which adds `first` by deletion and half of it by gradients."""
    return Side(
        score=score,
        parts=parts,
        deletion=(first, None, -0.125),
        integrated_gradients=Gradients(
            parts=(first / 2, 0.0, -0.0625), rest=0.0, baseline_score=-0.1, gap=0.0, steps=32, complete=True
        ),
    )


def explanation_of(record: RunRecord, **changes: Any) -> ExplainedDecision:
    """The explanation of that evidence; with `changes`, of something else. Sealed."""
    made = ExplainedDecision(
        explained=Challenged.of(record),
        threat="stuffing",
        surface="candidate-text",
        tier="standard",
        example=1,
        clicked=False,
        candidate=" ".join(WORDS),
        right=True,
        flip=Turn(edits=EDITS, score=0.25, attack="greedy, evidence of the record"),
        smallest=SmallestTurn(edits=EDITS[:1], score=0.125, way="part of the edit", is_smallest=True),
        before=side(WORDS, -0.5, 0.25),
        after=side(("tin", "peace", "jumbo"), 0.25, 1.0),
        rows=((0, 0), (1, 1), (2, None), (None, 2)),
    )
    return made.model_copy(update=changes).sealed()

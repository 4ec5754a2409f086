"""Explanations of decisions that lie beside records: which belong to a row, and why others are left out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from recgauntlet.records.explanations import ExplainedDecision
from recgauntlet.records.schema import RunRecord


@dataclass(frozen=True)
class Misplaced:
    """Why an explanation is left out, the field at fault, and what to do."""

    problem: str
    field: str
    remedy: str


def misplaced(records: Iterable[RunRecord], found: ExplainedDecision) -> Misplaced | None:
    """Why `found` cannot stand beside `records`; None where it can: one of them is of its model and data, and has its
    edit as evidence."""
    own = [record for record in records if found.is_of(record)]
    if not own:
        return Misplaced(
            "explains no record here: the weights, the data, the plugins or the seed are others",
            "explained",
            "put it beside the record that it explains, or make it again with recgauntlet explain",
        )
    if not any(found.evidence_in(record) for record in own):
        return Misplaced(
            "explains an edit or scores that the record does not have as evidence",
            "flip",
            "explain an example that recgauntlet explain RECORD lists",
        )
    return None


def explanations_of(records: Sequence[RunRecord], found: Iterable[ExplainedDecision]) -> list[ExplainedDecision]:
    """Those of `found` that explain a decision of one of `records`, a row, in order of seed and example."""
    own = [one for one in found if any(one.evidence_in(record) for record in records if one.is_of(record))]
    return sorted(own, key=lambda one: (one.explained.seed, one.example, one.threat, one.tier, one.digest))

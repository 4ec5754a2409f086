"""The file of an explanation, from what was computed; without texts where the data may not be redistributed."""

from __future__ import annotations

import math
from collections.abc import Iterable

from recgauntlet.core.escape import shortened
from recgauntlet.core.types import Edit
from recgauntlet.evaluation.attribution import Attribution
from recgauntlet.evaluation.explanation import Explanation
from recgauntlet.records.best_known import Challenged
from recgauntlet.records.explanations import (
    LONGEST_TEXT,
    ExplainedDecision,
    Gradients,
    Side,
    SmallestTurn,
    Turn,
)
from recgauntlet.records.schema import RunRecord


def explanation_file(record: RunRecord, found: Explanation) -> ExplainedDecision:
    """What a file has of `found`, a decision of the model of `record`. Of data that may not be redistributed it has no
    text, but the words or item ids that came in, as records have them."""
    texts, flip, smallest = record.task.redistributable, found.flip, found.smallest
    return ExplainedDecision(
        explained=Challenged.of(record),
        threat=found.threat.id,
        surface=found.threat.surface,
        tier=found.tier,
        example=found.example,
        clicked=found.clicked,
        candidate=_short(found.candidate) if texts else "",
        right=found.right,
        flip=None
        if flip is None
        else Turn(edits=_edits(flip.edits, texts), score=_number(flip.score), attack=flip.attack),
        smallest=None
        if smallest is None
        else SmallestTurn(
            edits=_edits(smallest.edits, texts),
            score=_number(smallest.score),
            way=smallest.way,
            is_smallest=smallest.is_smallest,
        ),
        before=_side(found.before, texts),
        after=None if found.after is None else _side(found.after, texts),
        rows=found.rows,
    )


def _side(found: Attribution, texts: bool) -> Side:
    gradients = found.gradients
    return Side(
        score=_number(found.score),
        parts=tuple(map(_short, found.labels)) if texts else (),
        deletion=_numbers(found.deletion),
        integrated_gradients=None
        if gradients is None
        else Gradients(
            parts=_numbers(gradients.parts),
            rest=_number(gradients.rest),
            baseline_score=_number(gradients.baseline),
            gap=_number(gradients.gap),
            steps=gradients.steps,
            complete=gradients.complete,
        ),
    )


def _edits(edits: Iterable[Edit], texts: bool) -> tuple[Edit, ...]:
    return tuple(edit.model_copy(update={"title": _short(edit.title) if texts else ""}) for edit in edits)


def _short(text: str) -> str:
    return shortened(text, LONGEST_TEXT)


def _numbers(values: Iterable[float | None]) -> tuple[float | None, ...]:
    return tuple(map(_number, values))


def _number(value: float | None) -> float | None:
    """The number, None where it is not finite."""
    return value if value is not None and math.isfinite(value) else None

"""The file of an explanation: what turns one decision of a record's model, and what each part of the input adds to it.

It stands beside the records and never in them: attributions need the weights, which a page does not have. The edit is
evidence of the record, so it can be compared; attributions and the smallest edit are those of who ran
`recgauntlet explain`, and anyone with weights and data can run it again.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from recgauntlet.core.card import Tier
from recgauntlet.core.errors import RecordError
from recgauntlet.core.files import write_atomically
from recgauntlet.core.types import Edit, Surface
from recgauntlet.records.best_known import Challenged
from recgauntlet.records.digest import digest_of, to_bytes, validated
from recgauntlet.records.references import Part
from recgauntlet.records.schema import Evidence, RunRecord

SCHEMA_VERSION: Literal[1] = 1
KIND: Literal["explanation"] = "explanation"
FOLDER = "explanations"
"""Where they lie in a results directory and in a release."""
REMEDY = "restore it from where it was published, or make it again with recgauntlet explain"
MOST_PARTS = 400
"""Words or items of an input."""
LONGEST_TEXT = 300
"""Characters of a part, an edit or the candidate's text; longer ones are shortened when the file is made."""
_SAME_SCORE = 1e-3
"""How far two evaluations of one input may differ, relative to 1 + the size of the score."""

Text = Annotated[str, Field(max_length=LONGEST_TEXT)]
Number = Annotated[float, Field(allow_inf_nan=False)]
Place = Annotated[int, Field(ge=0, lt=MOST_PARTS)]
Edits = Annotated[tuple[Edit, ...], Field(min_length=1, max_length=MOST_PARTS)]


class Turn(Part):
    """An edit that turns the decision, the score with it, and the attack that found it."""

    edits: Edits
    score: Number | None
    attack: Text


class SmallestTurn(Part):
    """The smallest edit found, the score with it, and how it was found. `is_smallest`: all smaller ones were tried."""

    edits: Edits
    score: Number | None
    way: Text
    is_smallest: bool


class Gradients(Part):
    """Integrated gradients: of each part, of the rest (special tokens and padding), the score of the baseline, how far
    their sum is from the difference of the scores, and whether that is little enough."""

    parts: tuple[Number | None, ...] = Field(max_length=MOST_PARTS)
    rest: Number | None
    baseline_score: Number | None
    gap: Number | None
    steps: int = Field(ge=0)
    complete: bool


class Side(Part):
    """An input: its score, the texts of its parts (none of data that may not be passed on), and what each part adds:
    the score less that without the part (None where that is unknown), and integrated gradients, where there are any."""

    score: Number | None
    parts: tuple[Text, ...] = Field(default=(), max_length=MOST_PARTS, exclude_if=lambda found: not found)
    deletion: tuple[Number | None, ...] = Field(max_length=MOST_PARTS)
    integrated_gradients: Gradients | None


class ExplainedDecision(Part):
    """The explanation of the decision on the test example `example`.

    `before` is the clean input and `after` the input with the edit `flip`. `rows` has each part once: its place before
    and its place after, None where it is not there.
    """

    kind: Literal["explanation"] = KIND
    schema_version: Literal[1] = SCHEMA_VERSION
    explained: Challenged
    threat: Text
    surface: Surface
    tier: Tier
    example: int = Field(ge=0)
    clicked: bool
    candidate: Text = Field(default="", exclude_if=lambda found: not found)
    right: bool
    flip: Turn | None
    smallest: SmallestTurn | None
    before: Side
    after: Side | None
    rows: tuple[tuple[Place | None, Place | None], ...] = Field(max_length=2 * MOST_PARTS)
    digest: str = ""

    def sealed(self) -> ExplainedDecision:
        """The same with its digest."""
        return self.model_copy(update={"digest": digest_of(self.model_dump(mode="json"))})

    def is_of(self, record: RunRecord) -> bool:
        """Whether it explains a decision of the record's model on its data."""
        return self.explained.is_cell_of(record) and record.clean is not None and self.example < record.clean.labels.n

    def evidence_in(self, record: RunRecord) -> Evidence | None:
        """The entry of the record with this very edit and these scores; None where there is none."""
        if self.flip is None:
            return None
        wanted = (self.threat, self.tier, self.example, [_untitled(edit) for edit in self.flip.edits])
        for entry in record.evidence:
            found = (entry.threat, entry.tier, entry.example, [_untitled(edit) for edit in entry.edits])
            if (
                found == wanted
                and _alike(entry.clean_score, self.before.score)
                and _alike(entry.score, self.flip.score)
            ):
                return entry
        return None


def _untitled(edit: Edit) -> tuple[str, int, str]:
    return edit.op, edit.at, edit.new


def _alike(one: float, other: float | None) -> bool:
    return other is not None and math.isclose(one, other, abs_tol=_SAME_SCORE * (1 + abs(one)))


def write_explanation(found: ExplainedDecision, path: Path) -> None:
    """Write `found` to `path` atomically; OutputError where the place cannot be written."""
    write_atomically(path, to_bytes(found.sealed()))


def is_explanation(content: dict[str, Any]) -> bool:
    """Whether a JSON object says that it is one of these files."""
    return content.get("kind") == KIND


def parse_explanation(content: dict[str, Any], path: Path) -> ExplainedDecision:
    """The content of the file `path`, which lies beside records, checked.

    Raises RecordError where it was edited, is of another schema version, contradicts itself, or is of data that may not
    be redistributed.
    """
    found = validated(content, ExplainedDecision, (SCHEMA_VERSION,), path, "run recgauntlet explain again", REMEDY)
    if not found.explained.task.redistributable:
        raise RecordError(
            "explains a decision on data that may not be redistributed",
            where=path,
            field="explained.task.redistributable",
            remedy="move it out of the results: it is for you alone",
        )
    fault = _fault(found)
    if fault is not None:
        raise RecordError(fault[1], where=path, field=fault[0], remedy=REMEDY)
    return found


def _fault(found: ExplainedDecision) -> tuple[str, str] | None:
    """The field and what is wrong with it, of what the schema cannot say; None where nothing is."""
    if (found.flip is None) != (found.after is None):
        return "after", "must be there exactly where an edit was found"
    for name, side in (("before", found.before), ("after", found.after)):
        if side is None:
            continue
        gradients = side.integrated_gradients
        if not len(side.parts) == len(side.deletion) == len(side.deletion if gradients is None else gradients.parts):
            return name, "must have a text, a deletion and a gradient for each part"
    if found.clicked != (found.example % 2 == 0):
        return "clicked", "must be true of even test examples alone"
    if _is_right(found, found.before.score) is not found.right:
        return "right", "does not go with the score of the clean input and what the user did"
    if found.flip is not None and not (found.right and _is_right(found, found.flip.score) is False):
        return "flip.score", "must turn a right decision"
    sides = (found.before, found.before if found.after is None else found.after)
    for number, side in enumerate(sides):
        places = [row[number] for row in found.rows if row[number] is not None]
        if places != list(range(len(side.deletion))):
            return "rows", "must have each part of both inputs once, in order"
    for name, turn in (("flip", found.flip), ("smallest", found.smallest)):
        for edit in () if turn is None else turn.edits:
            if max(len(edit.new), len(edit.title)) > LONGEST_TEXT or not 0 <= edit.at <= len(found.before.deletion):
                return f"{name}.edits", "must be at a place of the input, with texts that are not too long"
    return None


def _is_right(found: ExplainedDecision, score: float | None) -> bool | None:
    """Whether a decision by `score` is right; None where there is no score."""
    return None if score is None else (score > 0) == found.clicked

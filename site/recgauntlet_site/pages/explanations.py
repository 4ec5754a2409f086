"""What turns a decision, on the page of a row: the edit, the smallest edit, and what each part of the input adds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from recgauntlet.core.types import Edit
from recgauntlet.leaderboard.explanations import explanations_of
from recgauntlet.records.explanations import ExplainedDecision, Side
from recgauntlet.records.schema import RunRecord

SHOWN = 3
"""Explanations on a page; the others are linked as files."""
MOST_LINES = 24
"""Parts of an input that a page shows; those of the edit always, then those that add most."""
_MARKS = {(True, False): "went", (False, True): "came in"}
Values = tuple[float | None, float | None, float | None, float | None]


class PartLine(NamedTuple):
    """A word or item: how the edit touches it, its text before and after (one where they are equal), and what it
    adds: by deletion before and after, by integrated gradients before and after; None where that is not known."""

    mark: str
    texts: tuple[str, ...]
    values: Values


class ExplanationView(NamedTuple):
    """An explanation as the page of its row shows it. `largest` are the largest sizes by deletion and by gradients, the
    lengths of the bars; `left_out` counts parts that add less than those shown."""

    found: ExplainedDecision
    file: str
    edits: tuple[str, ...]
    smallest: tuple[str, ...]
    lines: tuple[PartLine, ...]
    left_out: int
    largest: tuple[float, float]
    notes: tuple[str, ...]

    @property
    def unit(self) -> str:
        """What a part is."""
        return "item" if self.found.surface == "history" else "word"

    def width(self, place: int, value: float | None) -> float:
        """The length of the bar of a line's value number `place`, from 0 to 50."""
        largest = self.largest[place // 2]
        return 0.0 if value is None or not largest else round(50 * abs(value) / largest, 2)


def explanation_views(
    records: Sequence[RunRecord], found: Mapping[str, ExplainedDecision]
) -> tuple[list[ExplanationView], list[str]]:
    """The explanations of the `records` of a row that its page shows, and the files of the others. `found` are those of
    all rows by the paths of their files."""
    files = {one.digest: path for path, one in found.items()}
    own = explanations_of(records, found.values())
    return [_view(one, files[one.digest]) for one in own[:SHOWN]], [files[one.digest] for one in own[SHOWN:]]


def _view(found: ExplainedDecision, file: str) -> ExplanationView:
    lines = [_line(found, old, new) for old, new in found.rows]
    order = sorted(range(len(lines)), key=lambda n: (not lines[n].mark, -_size(lines[n]), n))
    kept = sorted(order[:MOST_LINES])
    largest = tuple(
        max(
            (abs(value) for line in lines for value in line.values[first : first + 2] if value is not None), default=0.0
        )
        for first in (0, 2)
    )
    return ExplanationView(
        found=found,
        file=file,
        edits=_edit_texts(found.before, () if found.flip is None else found.flip.edits),
        smallest=_edit_texts(found.before, () if found.smallest is None else found.smallest.edits),
        lines=tuple(lines[n] for n in kept),
        left_out=len(lines) - len(kept),
        largest=(largest[0], largest[1]),
        notes=tuple(_notes(found)),
    )


def _line(found: ExplainedDecision, old: int | None, new: int | None) -> PartLine:
    after = found.after or found.before
    texts = [*(() if old is None else (found.before.parts[old],)), *(() if new is None else (after.parts[new],))]
    replaced = len(set(texts)) == 2
    values = [value for place in (0, 1) for value in (_at(found.before, old, place), _at(found.after, new, place))]
    mark = "replaced" if replaced else _MARKS.get((old is not None, new is not None), "")
    return PartLine(mark, tuple(dict.fromkeys(texts)), (values[0], values[1], values[2], values[3]))


def _at(side: Side | None, place: int | None, measure: int) -> float | None:
    if side is None or place is None:
        return None
    if measure == 0:
        return side.deletion[place]
    return None if side.integrated_gradients is None else side.integrated_gradients.parts[place]


def _size(line: PartLine) -> float:
    return max((abs(value) for value in line.values if value is not None), default=0.0)


def _edit_texts(before: Side, edits: Iterable[Edit]) -> tuple[str, ...]:
    return tuple(_edit_text(before.parts, edit) for edit in edits)


def _edit_text(parts: Sequence[str], edit: Edit) -> str:
    at = f"“{parts[edit.at]}”" if edit.at < len(parts) else "the end"
    new = f"“{edit.title or edit.new}”"
    words = {"delete": f"delete {at}", "replace": f"replace {at} by {new}", "insert": f"insert {new} before {at}"}
    return words[edit.op]


def _notes(found: ExplainedDecision) -> Iterator[str]:
    """Where integrated gradients are missing or not to be trusted."""
    for name, side in (("before", found.before), ("after", found.after)):
        gradients = None if side is None else side.integrated_gradients
        if side is not None and gradients is None:
            yield f"There are no integrated gradients {name} the edit: the model’s scores are random."
        if gradients is not None and not gradients.complete:
            yield f"Integrated gradients {name} the edit do not sum to the difference of the scores: do not trust them."

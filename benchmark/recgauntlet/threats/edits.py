"""Edits between a clean and a perturbed input: how evidence is kept without any text of the data.

Found by alignment (Levenshtein): a shortest list of edits. Positions refer to the clean sequence; an
insertion comes in before the clean element at its position, several at one position in their order.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import TypeVar

from recgauntlet.core.dataset import Catalog
from recgauntlet.core.types import PAD, Edit
from recgauntlet.threats.lexicon import words_of

Element = TypeVar("Element", bound=Hashable)


def text_edits(clean: str, perturbed: str) -> tuple[Edit, ...]:
    """The words to insert, replace and delete; white space is no part of a word."""
    return tuple(_edits(words_of(clean), words_of(perturbed), str))


def apply_text_edits(clean: str, edits: Sequence[Edit]) -> str:
    """The perturbed text, its words set apart by single spaces; the clean text itself where there is no edit."""
    if not edits:
        return clean
    return " ".join(_applied(words_of(clean), edits, str))


def history_edits(clean: Sequence[int], perturbed: Sequence[int], catalog: Catalog) -> tuple[Edit, ...]:
    """The items to insert, replace and delete, by their ids in the catalog.

    Both are rows `[H]`, PAD in front. Positions count the clean items from the oldest, 0, padding left out.
    Where the perturbed row is full, items that insertions push out in front are no edits.
    """
    before, after = items_of(clean), items_of(perturbed)
    best = list(_edits(before, after, lambda item: catalog.ids[item]))
    if len(after) == len(perturbed):
        for pushed_out in range(1, len(before) + 1):
            if pushed_out + len(after) - len(before) >= len(best):
                break
            found = list(_edits(before, after, lambda item: catalog.ids[item], pushed_out))
            if len(found) < len(best):
                best = found
    return tuple(best)


def apply_history_edits(clean: Sequence[int], edits: Sequence[Edit], catalog: Catalog) -> list[int]:
    """The perturbed row, as wide as the clean one: PAD in front, or cut to its newest items."""
    items = _applied(items_of(clean), edits, catalog.ids.index)
    return [PAD] * (len(clean) - len(items)) + items[max(0, len(items) - len(clean)) :]


def items_of(row: Sequence[int]) -> list[int]:
    """The items of a row of a history, padding left out."""
    return [item for item in row if item != PAD]


def _edits(
    before: Sequence[Element], after: Sequence[Element], name: Callable[[Element], str], skip: int = 0
) -> Iterator[Edit]:
    """A shortest list of edits that make `after` of `before[skip:]`, in order of their positions in `before`."""
    rows, columns = len(before) - skip, len(after)
    cost = [[0] * (columns + 1) for _ in range(rows + 1)]  # of making after[j:] of before[skip + i:]
    for i in range(rows, -1, -1):
        for j in range(columns, -1, -1):
            if i == rows or j == columns:
                cost[i][j] = (rows - i) + (columns - j)
            else:
                same = before[skip + i] == after[j]
                cost[i][j] = min(cost[i + 1][j + 1] + (not same), cost[i + 1][j] + 1, cost[i][j + 1] + 1)
    i = j = 0
    while i < rows or j < columns:
        both = i < rows and j < columns
        if both and before[skip + i] == after[j] and cost[i][j] == cost[i + 1][j + 1]:
            i, j = i + 1, j + 1
        elif both and cost[i][j] == cost[i + 1][j + 1] + 1:
            yield Edit(op="replace", at=skip + i, new=name(after[j]))
            i, j = i + 1, j + 1
        elif i < rows and cost[i][j] == cost[i + 1][j] + 1:
            yield Edit(op="delete", at=skip + i)
            i += 1
        else:
            yield Edit(op="insert", at=skip + i, new=name(after[j]))
            j += 1


def _applied(before: Sequence[Element], edits: Sequence[Edit], value: Callable[[str], Element]) -> list[Element]:
    out: list[Element] = []
    ahead = sorted(edits, key=lambda edit: edit.at)  # stable: insertions at one place keep their order
    for at in range(len(before) + 1):
        here = [edit for edit in ahead if edit.at == at]
        out += [value(edit.new) for edit in here if edit.op == "insert"]
        out += [value(edit.new) for edit in here if edit.op == "replace"]
        if at < len(before) and not any(edit.op in ("replace", "delete") for edit in here):
            out.append(before[at])
    return out

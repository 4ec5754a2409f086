"""The verifier's rules for histories.

A perturbed history is what at most `amount` edits make of the clean one, found by alignment (Levenshtein over
the sequences of items, so the order of everything else is kept):

- Only the last `window` items of the clean history may change; what is older stays.
- A replacement is another item of the catalog with a cosine of at least `min_cosine` to what it replaces
  (frozen text encoder).
- An inserted item has that cosine to at least one of the two clean items it comes between.
- Only the operations that the threat names.
- The width is fixed. Where the clean history fills it, insertions push the oldest items out, as a new click
  does; that costs no edit of its own.
- Padding stands in front, and at least one item is left.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from torch import Tensor

from recgauntlet.core.batch import PAD
from recgauntlet.core.card import HistoryThreat

_ROUNDING = 1e-5
_FAR = 10**6


def history_fault(
    vectors: Tensor, threat: HistoryThreat, edits: int, clean: Sequence[int], perturbed: Sequence[int]
) -> str:
    """Why the row `perturbed [H]` is not a legal change of the row `clean [H]`; empty where it is.

    `vectors [N, E]` are the catalog's unit vectors.
    """
    if list(clean) == list(perturbed):
        return ""
    before, after = _items(clean), _items(perturbed)
    if not after:
        return "the history became empty"
    if list(perturbed[len(perturbed) - len(after) :]) != after:
        return "padding stands behind or between items"
    if not all(0 <= item < len(vectors) for item in after):
        return "an item is not in the catalog"
    overflow = min(edits, len(before)) if len(after) == len(perturbed) else 0
    if any(_distance(vectors, threat, before, after, pushed_out, edits) <= edits for pushed_out in range(overflow + 1)):
        return ""
    return f"not within {edits} edits of the last {threat.window} items"


def _items(row: Sequence[int]) -> list[int]:
    return [item for item in row if item != PAD]


def _distance(
    vectors: Tensor, threat: HistoryThreat, before: list[int], after: list[int], pushed_out: int, edits: int
) -> int:
    """The least number of legal edits that make `after` of `before`, its `pushed_out` oldest items gone for
    free; `_FAR` where it takes more than `edits`.

    `cost[j]` is that number for the clean items seen so far and the first `j` of `after`; only a band around
    the diagonal can be within `edits`.
    """
    may_replace, may_insert, may_delete = (op in threat.operations for op in ("replace", "insert", "delete"))
    fixed = len(before) - threat.window
    close = partial(_close, vectors, threat.min_cosine)
    cost = [0] + [_FAR] * len(after)
    for done in range(pushed_out, len(before) + 1):
        middle = done - pushed_out
        band = range(max(0, middle - edits), min(len(after), middle + edits) + 1)
        if may_insert and done >= fixed:
            around = before[max(0, done - 1) : done + 1]
            for j in band:
                gains = j < len(after) and cost[j] < min(edits, cost[j + 1] - 1)
                if gains and any(close(after[j], other) for other in around):
                    cost[j + 1] = cost[j] + 1
        if done == len(before):
            break
        old, frozen = before[done], done < fixed
        following = [_FAR] * (len(after) + 1)
        for j in band:
            if cost[j] > edits:
                continue
            if j < len(after) and after[j] == old:
                following[j + 1] = min(following[j + 1], cost[j])
            elif j < len(after) and not frozen and may_replace and close(after[j], old):
                following[j + 1] = min(following[j + 1], cost[j] + 1)
            if not frozen and may_delete:
                following[j] = min(following[j], cost[j] + 1)
        cost = following
    return cost[-1] if cost[-1] <= edits else _FAR


def _close(vectors: Tensor, least: float, first: int, second: int) -> bool:
    return float(vectors[first] @ vectors[second]) >= least - _ROUNDING

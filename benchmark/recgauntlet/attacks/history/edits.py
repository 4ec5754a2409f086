"""Legal edits of histories: one replacement, insertion or deletion at a time, vectorized over histories.

The rules are those of the threat: only the last `window` items, replacements near what they replace,
insertions near the item they come behind. A place that was edited once is not edited again, so that every
move costs one edit and similarity is always that to a clean item.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from recgauntlet.attacks.common import rank_within
from recgauntlet.attacks.history.neighbours import Neighbours
from recgauntlet.core.card import HistoryThreat
from recgauntlet.core.types import PAD

REPLACE, INSERT, DELETE = 0, 1, 2
_ELEMENTS = 2**18
"""The most elements of one temporary tensor of products, so that it stays in a core's cache: seven times as fast as one
of a hundred megabytes."""


@dataclass(frozen=True)
class Histories:
    """Histories under edit: `items [B, H]`, and `origin [B, H]`: where a clean item inside the window still stands, its
    place in the clean history; else PAD."""

    items: Tensor
    origin: Tensor

    @classmethod
    def of(cls, items: Tensor, window: int, room: int = 0) -> Histories:
        """Clean histories `[B, H]`, PAD in front, and `room` more places before them."""
        items = F.pad(items, (room, 0), value=PAD)
        place = torch.arange(items.shape[1], device=items.device).expand_as(items)
        return cls(items, torch.where((items != PAD) & (place >= items.shape[1] - window), place, PAD))

    @property
    def fresh(self) -> Tensor:
        """`[B, H]`: where a clean item inside the window still stands."""
        return self.origin != PAD

    def shown(self, width: int) -> Tensor:
        """What the model sees: the newest `width` places, `[B, width]`."""
        return self.items[:, self.items.shape[1] - width :]

    def select(self, rows: Tensor) -> Histories:
        """The histories at `rows`, repeats allowed."""
        return Histories(self.items[rows], self.origin[rows])

    def put(self, rows: Tensor, other: Histories) -> Histories:
        """These histories with `other` in place of the ones at `rows`."""
        return Histories(self.items.index_copy(0, rows, other.items), self.origin.index_copy(0, rows, other.origin))

    def may_delete(self) -> Tensor:
        """`[B, H]`: the places that may be deleted; the last item left may not."""
        return self.fresh & ((self.items != PAD).sum(dim=1, keepdim=True) > 1)

    def moved(self, operation: Tensor, place: Tensor, item: Tensor) -> Histories:
        """Each history `b` after `operation[b]` at `place[b]`: the item there replaced by `item[b]`,
        `item[b]` inserted behind it, or the item there deleted. An insertion shifts what is older to the
        front, where the oldest leaves."""
        column = torch.arange(self.items.shape[1], device=self.items.device).expand_as(self.items)
        place, operation = place[:, None], operation[:, None]
        inserting, deleting = operation == INSERT, operation == DELETE
        # `source` is the column that each column's item comes from. The newest item stands last, so what is older than
        # the place moves one to the left when an item comes in behind it, and one to the right when it goes.
        source = torch.where(inserting & (column < place), column + 1, column)
        source = torch.where(deleting & (column <= place), column - 1, source)
        empty, source = source < 0, source.clamp(min=0)
        items = self.items.gather(1, source).masked_fill(empty, PAD)
        here = (column == place) & ~deleting
        origin = self.origin.gather(1, source).masked_fill(empty | here, PAD)
        return Histories(torch.where(here, item[:, None], items), origin)


class Moves(NamedTuple):
    """`K` moves for each of `B` histories, all `[B, K]`."""

    operation: Tensor
    place: Tensor
    item: Tensor
    possible: Tensor


def carried_over(alone: Moves, histories: Histories, most: Tensor) -> Moves:
    """Moves `[B, K]` of clean histories in the edited `histories [B, H]` of the same examples: each at the place where
    its clean item stands now; of those where that still does, the first `most [B]` are possible."""
    here = histories.origin[:, :, None] == alone.place[:, None, :]
    place = here.int().argmax(dim=1)
    allowed = (alone.operation != DELETE) | histories.may_delete().gather(1, place)
    possible = alone.possible & here.any(dim=1) & allowed
    return Moves(alone.operation, place, alone.item, possible & (possible.cumsum(dim=1) <= most[:, None]))


def elsewhere(alone: Moves, histories: Histories, threat: HistoryThreat, public: Tensor, items: int) -> Moves:
    """The new items of the first `items` moves of `alone [B, K]` at every other place of the clean `histories [B, H]`,
    item by item, where that is a legal move and none of `alone`."""
    operations = [kind for name, kind in (("replace", REPLACE), ("insert", INSERT)) if name in threat.operations]
    item = alone.item[:, :items]
    width, count, shape = histories.items.shape[1], len(public), (len(item), item.shape[1], histories.items.shape[1])
    near = (public[item.clamp(min=0)] @ public[histories.items.clamp(min=0)].transpose(1, 2)) >= threat.min_cosine
    near &= (histories.items[:, None, :] != item[:, :, None]) & histories.fresh[:, None, :]
    near &= (alone.possible & (alone.operation != DELETE))[:, :items, None]
    kinds = torch.tensor(operations, dtype=torch.int64, device=item.device)
    found = Moves(
        operation=kinds.expand(*shape, -1).flatten(1),
        place=torch.arange(width, device=item.device)[:, None].expand(*shape, len(kinds)).flatten(1),
        item=item[:, :, None, None].expand(*shape, len(kinds)).flatten(1),
        possible=near[..., None].expand(*shape, len(kinds)).flatten(1),
    )

    def keys(moves: Moves) -> Tensor:
        row = torch.arange(len(item), device=item.device)[:, None]
        return ((row * (DELETE + 1) + moves.operation) * width + moves.place) * count + moves.item

    return found._replace(possible=found.possible & ~torch.isin(keys(found), keys(alone)[alone.possible]))


def best_moves(
    histories: Histories,
    threat: HistoryThreat,
    near: Neighbours,
    slopes: Tensor,
    values: Tensor,
    moves: Tensor,
    limit: int,
    seen: int,
    per_place: int,
    barred: Tensor | None = None,
) -> Moves:
    """About `moves [B]` legal moves for each history, at most `limit`, that promise most to first order.

    Parameters
    ----------
    near
        The items that the threat's cosine allows in place of, or behind, each.
    slopes
        `[B, seen, D]`: how the damage grows with the vector at each place; places without a slope are left
        alone. `[B, 1, D]` where one slope holds for all places.
    values
        `[N, D]`: the vector of each catalog item.
    seen
        How many places, the newest ones, the model sees; the others are left alone.
    per_place
        The most items proposed for a place: first-order estimates of one place err together.
    barred
        `[B, M]`: items that may not come into each history; None for none.

    Notes
    -----
    A replacement promises `slope · (new - old)`. An insertion promises `slope · (new - mean)` and a deletion
    `slope · (mean - old)`, `mean` over the history: exact for a user vector that is a mean of items.
    """
    width, count = histories.items.shape[1], len(values)
    steep = F.pad((slopes.abs().amax(dim=2) > 0).expand(-1, seen), (width - seen, 0))
    alike = slopes.shape[1] == 1
    slopes = slopes if alike else F.pad(slopes, (0, 0, width - seen, 0))
    real = (histories.items != PAD).unsqueeze(-1)
    old = values[histories.items.clamp(min=0)] * real
    mean = old.sum(dim=1, keepdim=True) / real.sum(dim=1, keepdim=True).clamp(min=1)
    at_old, at_mean = (slopes * old).sum(dim=2), (slopes * mean).sum(dim=2)
    b, h = torch.nonzero(histories.fresh & steep, as_tuple=True)
    at, most = histories.items[b, h], min(per_place, count)
    if near.everything:
        along = (slopes.squeeze(1) @ values.T)[b] if alike else slopes[b, h] @ values.T
        out = at[:, None] if barred is None else torch.cat([at[:, None], barred[b]], dim=1)
        top, item = along.scatter_(1, out, -torch.inf).topk(most, dim=1)
    else:
        place, new = near.of(at)
        if barred is not None:
            free = ~(barred[b[place]] == new[:, None]).any(dim=1)
            place, new = place[free], new[free]
        along = (slopes.squeeze(1) @ values.T)[b[place], new] if alike else _dots(slopes[b, h], place, values, new)
        top, item = _first_of_places(along, place, new, len(b), most)
    best = torch.full((*histories.items.shape, top.shape[1]), -torch.inf, device=slopes.device)
    items = torch.zeros_like(best, dtype=torch.int64)
    best[b, h], items[b, h] = top, item
    found: list[tuple[int, Tensor, Tensor, Tensor]] = []
    shares = {"replace": 5, "insert": 2, "delete": 1}
    whole = sum(shares[operation] for operation in threat.operations)
    for operation in threat.operations:
        part = shares[operation] / whole
        if operation == "delete":
            gain = (at_mean - at_old).masked_fill(~(histories.may_delete() & steep), -torch.inf)
            top, place = _first(gain, part * moves, part * limit)
            found.append((DELETE, place, torch.zeros_like(place), top))
            continue
        base = at_old if operation == "replace" else at_mean
        top, flat = _first((best - base.unsqueeze(-1)).flatten(1), part * moves, part * limit)
        kind = REPLACE if operation == "replace" else INSERT
        found.append((kind, flat // items.shape[2], items.flatten(1).gather(1, flat), top))
    return Moves(
        operation=torch.cat([torch.full_like(place, kind) for kind, place, _, _ in found], dim=1),
        place=torch.cat([place for _, place, _, _ in found], dim=1),
        item=torch.cat([item for _, _, item, _ in found], dim=1),
        possible=torch.cat([top > -torch.inf for _, _, _, top in found], dim=1),
    )


def _dots(left: Tensor, rows: Tensor, right: Tensor, columns: Tensor) -> Tensor:
    """`[M]`: `left[rows] · right[columns]`, pair by pair."""
    size = max(1, _ELEMENTS // left.shape[1])
    pairs = zip(torch.split(rows, size), torch.split(columns, size), strict=True)
    return torch.cat([(left.index_select(0, r) * right.index_select(0, c)).sum(dim=1) for r, c in pairs])


def _first_of_places(along: Tensor, place: Tensor, new: Tensor, count: int, most: int) -> tuple[Tensor, Tensor]:
    """The `most` largest of `along [M]` at each of `count` places, and their items, both `[count, most]`; -inf and any
    item beyond what a place has. `place` ascends."""
    column = rank_within(place)
    width = max(most, int(column.max()) + 1 if len(column) else 0)
    table = torch.full((count, width), -torch.inf, device=along.device)
    items = torch.zeros((count, width), dtype=torch.int64, device=new.device)
    table[place, column], items[place, column] = along, new
    top, best = table.topk(most, dim=1)
    return top, items.gather(1, best)


def _first(gain: Tensor, wanted: Tensor, limit: float) -> tuple[Tensor, Tensor]:
    """The largest of each row of `gain [B, K]` and where they stand, about `limit` columns; -inf beyond a row's own
    number `wanted [B]`, so that no other row changes what is tried."""
    top, place = gain.topk(min(max(1, round(limit)), gain.shape[1]), dim=1)
    beyond = torch.arange(top.shape[1], device=top.device) >= wanted.round().clamp(min=1)[:, None]
    return top.masked_fill(beyond, -torch.inf), place

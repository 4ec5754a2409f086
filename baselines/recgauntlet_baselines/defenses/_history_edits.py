"""Random legal edits of histories, vectorized over many histories.

A place that was edited once is not edited again, so every edit costs one and similarity is always that to a clean item.
Items that an insertion pushes out of a full history stay in reserve: a deletion brings them back, as in the data.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from recgauntlet.core.card import HistoryThreat
from recgauntlet.core.types import PAD
from recgauntlet.threats.budget import Budget

REPLACE, INSERT, DELETE = 0, 1, 2
_KINDS = {"replace": REPLACE, "insert": INSERT, "delete": DELETE}
_BLOCK = 512


@dataclass(frozen=True)
class Histories:
    """Histories under edit: `items [B, R + H]`, the first `R` places in reserve, and `fresh [B, R + H]`, where a clean
    item that may change still stands."""

    items: Tensor
    fresh: Tensor
    reserve: int

    @property
    def shown(self) -> Tensor:
        """What the model sees, `[B, H]`."""
        return self.items[:, self.reserve :]

    def after(self, operation: Tensor, place: Tensor, item: Tensor) -> Histories:
        """Each history `b` after `operation[b]` at the shown place `place[b]`: the item there replaced by `item[b]`,
        `item[b]` inserted behind it, or the item there deleted; -1 for a place leaves it as it is."""
        column = torch.arange(self.items.shape[1], device=self.items.device).expand_as(self.items)
        at, kind = (place + self.reserve)[:, None], operation[:, None]
        untouched = place[:, None] < 0
        # what is older moves towards the front where an item comes in, and away from it where one goes
        shift = (kind == INSERT).long() - (kind == DELETE).long()
        moves = torch.where(kind == DELETE, column <= at, column < at) & ~untouched
        source = torch.where(moves, column + shift, column)
        gone, source = source < 0, source.clamp(min=0)
        items = self.items.gather(1, source).masked_fill(gone, PAD)
        fresh = self.fresh.gather(1, source) & ~gone
        here = (column == at) & (kind != DELETE) & ~untouched
        return Histories(torch.where(here, item[:, None], items), fresh & ~here, self.reserve)


@dataclass(frozen=True)
class ItemMoves:
    """`M` proposals for each of `B` histories, all `[B, M]`; a place of -1 is no proposal."""

    operation: Tensor
    place: Tensor
    item: Tensor

    def at(self, column: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Operation, place and item of proposal `column[b]` of each history `b`."""
        chosen = column[:, None]
        return (
            self.operation.gather(1, chosen)[:, 0],
            self.place.gather(1, chosen)[:, 0],
            self.item.gather(1, chosen)[:, 0],
        )


class HistoryEdits:
    """What a history threat allows within `budget`: `rounds` items of a history are replaced, inserted or deleted.

    `vectors [N, E]` are the catalog's unit vectors in the frozen encoder.
    """

    def __init__(self, vectors: Tensor, threat: HistoryThreat, budget: Budget) -> None:
        self.threat = threat
        self.rounds = int(budget.amount)
        self._vectors = vectors
        self._operations = torch.tensor([_KINDS[name] for name in threat.operations])

    def start(self, histories: Tensor) -> Histories:
        """The unchanged `histories [B, H]`, on the CPU."""
        histories = histories.cpu()
        width = histories.shape[1]
        fresh = (histories != PAD) & (torch.arange(width) >= width - self.threat.window)
        room = (self.rounds, 0)
        return Histories(F.pad(histories, room, value=PAD), F.pad(fresh, room, value=False), self.rounds)

    def draw(self, histories: Histories, generator: np.random.Generator, count: int) -> ItemMoves:
        """`count` random proposals a history: the operation uniform, then the place, then an item near the one
        there."""
        chance = torch.from_numpy(generator.random((3, len(histories.items), count)))
        operation = self._operations[(chance[0] * len(self._operations)).long()]
        fresh = histories.fresh[:, histories.reserve :]
        number = fresh.sum(dim=1, keepdim=True)
        order = torch.argsort((~fresh).byte(), dim=1, stable=True)  # the fresh places first
        place = order.gather(1, (chance[1] * number).long())
        old = histories.shown.gather(1, place).clamp(min=0)
        offsets, near = self._neighbours
        sizes = offsets[old + 1] - offsets[old]
        item = near[(offsets[old] + (chance[2] * sizes).long()).clamp(max=len(near) - 1)]
        last = (histories.items != PAD).sum(dim=1, keepdim=True) <= 1
        deleting = operation == DELETE
        impossible = (number == 0) | torch.where(deleting, last, sizes == 0)
        return ItemMoves(operation, place.masked_fill(impossible, -1), item.masked_fill(deleting, 0))

    def random(self, histories: Tensor, generator: np.random.Generator) -> Tensor:
        """Each of `histories [B, H]` with 1 to `rounds` random legal edits, all numbers alike; where a proposal is not
        possible there is one less."""
        changed = self.start(histories)
        if not self.rounds:
            return histories
        wanted = torch.from_numpy(generator.integers(1, self.rounds, size=len(histories), endpoint=True))
        for done in range(self.rounds):
            operation, place, item = self.draw(changed, generator, 1).at(torch.zeros(len(histories), dtype=torch.long))
            changed = changed.after(operation, place.masked_fill(wanted <= done, -1), item)
        return changed.shown.to(histories.device)

    @cached_property
    def _neighbours(self) -> tuple[Tensor, Tensor]:
        """`near[offsets[i] : offsets[i + 1]]` are the items near enough to item i, itself left out."""
        rows, columns = [], []
        for start in range(0, len(self._vectors), _BLOCK):
            near = self._vectors[start : start + _BLOCK] @ self._vectors.T >= self.threat.min_cosine
            near[torch.arange(len(near)), torch.arange(start, start + len(near))] = False
            row, column = torch.nonzero(near, as_tuple=True)
            rows.append(row + start)
            columns.append(column)
        counts = torch.bincount(torch.cat(rows), minlength=len(self._vectors))
        near_items = torch.cat([*columns, torch.zeros(1, dtype=torch.long)])  # never empty
        return F.pad(counts.cumsum(dim=0), (1, 0)), near_items

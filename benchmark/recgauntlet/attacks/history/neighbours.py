"""Which catalog items may stand beside or in place of which: the few that a threat's cosine leaves, found once."""

from __future__ import annotations

import torch
from torch import Tensor

from recgauntlet.attacks.common import rank_within
from recgauntlet.core.types import PAD

_ELEMENTS = 2**24
"""The most cosines of one temporary tensor, and the most neighbours that are kept."""


class Neighbours:
    """The neighbours of catalog items: those whose public vectors have at least the cosine `min_cosine`, and not the
    item itself. Found when first asked for, and kept.

    vectors
        `[N, E]`: unit vectors of the catalog.

    Attributes
    ----------
    everything
        Whether no cosine is too small, so that all items are neighbours.
    """

    def __init__(self, vectors: Tensor, min_cosine: float) -> None:
        self._vectors, self._min_cosine = vectors, min_cosine
        self.everything = min_cosine <= -1
        self._forget()

    def of(self, items: Tensor) -> tuple[Tensor, Tensor]:
        """The neighbours of each of `items [P]`, none of which is PAD: the pairs `(place among items, neighbour)`, two
        tensors `[M]`, by place and then by neighbour."""
        if len(self._items) > _ELEMENTS:
            self._forget()
        asked = torch.unique(items)
        self._find(asked[self._start[asked] < 0])
        place = torch.repeat_interleave(torch.arange(len(items), device=items.device), self._count[items])
        return place, self._items[self._start[items][place] + rank_within(place)]

    def _forget(self) -> None:
        device = self._vectors.device
        self._start = torch.full((len(self._vectors),), -1, device=device)
        self._count = torch.zeros_like(self._start)
        self._items = torch.zeros(0, dtype=torch.int64, device=device)

    def _find(self, items: Tensor) -> None:
        for part in torch.split(items, max(1, _ELEMENTS // len(self._vectors))):
            near = allowed_items(self._vectors, part, self._min_cosine)
            count = near.sum(dim=1)
            self._start[part] = len(self._items) + count.cumsum(0) - count
            self._count[part] = count
            self._items = torch.cat([self._items, near.nonzero()[:, 1]])


def allowed_items(vectors: Tensor, items: Tensor, min_cosine: float) -> Tensor:
    """`[..., N]`: which catalog items are near enough to each of `items [...]` and are not that item; PAD has none."""
    unique, inverse = torch.unique(items, return_inverse=True)
    near = vectors[unique.clamp(min=0)] @ vectors.T >= min_cosine
    near.scatter_(1, unique.clamp(min=0)[:, None], False)
    near[unique == PAD] = False
    return near[inverse]

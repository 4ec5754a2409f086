"""The precision of a search: on processors that compute in bfloat16, passes cost half or a third; scores that rounding
could turn are made again in full, so that a search never stops at what the evaluator would find still right."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor

from recgauntlet.core.batch import Batch

TRIED = 256
"""Clean examples that tell how much rounding moves a score."""
DOUBT = 4.0
"""Scores within so many times that of 0 are made again."""


@dataclass
class Precision:
    """How a search over the examples `clean` computes.

    half
        Whether users are encoded and candidates scored in bfloat16; else everything here leaves things as they are.
    score
        Scores a batch, at the precision that is set.
    """

    half: bool
    clean: Batch
    score: Callable[[Batch], Tensor]
    _doubt: float | None = None

    def of_passes(self) -> AbstractContextManager[object]:
        """Where the model encodes and scores. What is kept (tables of vectors, states of clean users) is made outside,
        in full."""
        return torch.autocast(self.clean.items.device.type, dtype=torch.bfloat16) if self.half else nullcontext()

    def settled(self, batch: Batch, logits: Tensor, where: Tensor | None = None) -> Tensor:
        """`logits [B]` of `batch` in single precision; those that are no numbers or near 0 made again, `where [B]` says
        that they count (None: all)."""
        if not self.half:
            return logits
        logits, limit = logits.float(), self._near()
        doubtful = ~(logits.abs() > limit)
        near = torch.nonzero(doubtful if where is None else doubtful & where).squeeze(1)
        if not len(near):
            return logits
        with self._in_full():
            return logits.index_copy(0, near, self.score(batch.select(near)).float())

    def _near(self) -> float:
        if self._doubt is None:
            tried = self.clean.select(torch.arange(min(TRIED, len(self.clean)), device=self.clean.items.device))
            rounded = self.score(tried).float()
            with self._in_full():
                self._doubt = DOUBT * float((rounded - self.score(tried).float()).abs().max())
        return self._doubt

    @contextmanager
    def _in_full(self) -> Iterator[None]:
        self.half = False
        try:
            yield
        finally:
            self.half = True

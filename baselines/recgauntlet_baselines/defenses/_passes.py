"""A batch encoded once, and passes over it that give the gradient of the weights with that of the embeddings.

Training needs the same pass for the weights. So one backward pass gives both; what lies behind users and embeddings is
gone through once, when the loss is minimized.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from recgauntlet.core.batch import Batch, Candidates, UserState
from recgauntlet.core.recommender import Recommender


@dataclass(frozen=True)
class Encoded:
    """A batch with the states of its rows and the candidates' embeddings `[B, L, D]`, both in their graphs."""

    model: Recommender
    batch: Batch
    state: UserState
    candidates: Candidates
    embedded: Tensor

    def scores(self, embedded: Tensor | None = None) -> Tensor:
        """The logits `[B]`, at other embeddings `embedded [B, L, D]` where given."""
        return self.model.score(self.state, self.candidates, self.embedded if embedded is None else embedded)

    def loss(self, embedded: Tensor | None = None) -> Tensor:
        """The model's own loss there."""
        return self.model.click_loss(self.scores(embedded), self.batch)


def encode(model: Recommender, batch: Batch) -> Encoded:
    """Encode the users once, then embed the candidates."""
    state = model.encode_user(batch.users).select(batch.rows)
    candidates = model.candidates(batch.items, batch.texts)
    return Encoded(model, batch, state, candidates, model.embed(candidates))


@contextmanager
def evaluation_mode(model: Recommender) -> Iterator[None]:
    """The model in evaluation mode, and then as it was."""
    was = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was)


class DrawnPasses:
    """Passes of one encoded batch."""

    def __init__(self, encoded: Encoded) -> None:
        states = encoded.state.tensors
        # copies that the passes start from
        cut = UserState(tuple(t.detach().requires_grad_(t.requires_grad) for t in states))
        self._cut = replace(encoded, state=cut)
        learning = [p for p in encoded.model.parameters() if p.requires_grad]
        self._asked = [*(t for t in cut.tensors if t.requires_grad), *learning]
        self._sources = [encoded.embedded, *(t for t in states if t.requires_grad), *learning]
        self._total: list[Tensor | None] = [None] * len(self._sources)
        self._value = encoded.embedded.new_zeros(())
        self._count = 0

    def draw(self, embeddings: Tensor) -> tuple[Tensor, Tensor]:
        """One pass at `embeddings [B, L, D]`: the logits `[B]`, and the gradient `[B, L, D]` of their loss."""
        with torch.enable_grad():
            handle = embeddings.detach().requires_grad_(True)
            scores = self._cut.scores(handle)
            loss = self._cut.model.click_loss(scores, self._cut.batch)
            found = torch.autograd.grad(loss, [handle, *self._asked], allow_unused=True)
        self._total = [_added(old, new) for old, new in zip(self._total, found, strict=True)]
        self._value = self._value + loss.detach()
        self._count += 1
        uphill = found[0]
        return scores.detach(), torch.zeros_like(handle) if uphill is None else uphill

    def loss(self) -> Tensor:
        """The mean loss of the passes, a scalar to be minimized or weighed like any other."""
        shares = [None if gradient is None else gradient / self._count for gradient in self._total]
        known: Any = _Known
        answer: Tensor = known.apply(self._value / self._count, shares, *self._sources)
        return answer


def _added(old: Tensor | None, new: Tensor | None) -> Tensor | None:
    if old is None or new is None:
        return new if old is None else old
    return old + new


class _Known(torch.autograd.Function):
    """A scalar whose gradient with respect to `sources` is known beforehand: a backward pass only hands it on."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, gradients: list[Tensor | None], *sources: Tensor) -> Tensor:
        ctx.gradients = gradients
        return value.clone()

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> Any:
        (scale,) = grad_outputs
        return None, None, *(None if known is None else known * scale for known in ctx.gradients)

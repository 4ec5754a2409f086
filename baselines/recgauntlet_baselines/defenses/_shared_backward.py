"""Forward and backward passes whose weight gradients are computed together with those of the embeddings.

Training needs the same pass for the weights. So one backward pass gives both; what lies behind users and embeddings is
gone through once, when the loss is minimized.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from recgauntlet.core.batch import Batch, Candidates, UserState
from recgauntlet.core.recommender import Recommender


class DrawnPasses:
    """Passes of one batch, given the states of its rows and the candidates' embeddings `[B, L, D]` in their graphs."""

    def __init__(
        self, model: Recommender, state: UserState, candidates: Candidates, batch: Batch, embedded: Tensor
    ) -> None:
        self._model, self._candidates, self._batch = model, candidates, batch
        # copies that the passes start from
        self._cut = UserState(tuple(t.detach().requires_grad_(t.requires_grad) for t in state.tensors))
        learning = [p for p in model.parameters() if p.requires_grad]
        self._asked = [*(t for t in self._cut.tensors if t.requires_grad), *learning]
        self._sources = [embedded, *(t for t in state.tensors if t.requires_grad), *learning]
        self._total: list[Tensor | None] = [None] * len(self._sources)
        self._value = embedded.new_zeros(())
        self._count = 0

    def draw(self, embeddings: Tensor) -> tuple[Tensor, Tensor]:
        """One pass at `embeddings [B, L, D]`: the logits `[B]`, and the gradient `[B, L, D]` of their loss."""
        with torch.enable_grad():
            handle = embeddings.detach().requires_grad_(True)
            scores = self._model.score(self._cut, self._candidates, handle)
            loss = self._model.click_loss(scores, self._batch)
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

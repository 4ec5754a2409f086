"""Fake defenses with wrong gradients: the scores are those of the model inside, the gradients are not."""

from __future__ import annotations

import torch
from torch import Tensor

from recgauntlet.core.batch import Candidates
from recgauntlet.testing.audit.fake import Fake


class _OtherGradients(Fake):
    """Candidates' and history's embeddings pass unchanged, their gradients do not."""

    def masked_history(self, embedded: Tensor) -> Tensor:
        shown = embedded.view_as(embedded)
        if shown.requires_grad:
            shown.register_hook(self.masked_gradient)  # type: ignore[no-untyped-call]
        return shown

    def masked_embeddings(self, embedded: Tensor, candidates: Candidates) -> Tensor:
        return self.masked_history(embedded)

    def masked_gradient(self, gradient: Tensor) -> Tensor:
        """What arrives at the embeddings instead of `gradient`."""
        return gradient


class DetachedGradients(_OtherGradients):
    """The inputs' embeddings are cut out of the graph: no gradient at all.

    Scores, and with them every decision, stay. An attack without a gradient stands still; one that asks for scores, or
    takes the gradient of a twin, does not.
    """

    name = "detached-gradients"

    def masked_history(self, embedded: Tensor) -> Tensor:
        return embedded.detach()


class FlippedGradients(_OtherGradients):
    """The gradient of the inputs has the wrong sign: every attack climbs down.

    Scores and decisions are unchanged. Flipping the sign back restores the attack.
    """

    name = "flipped-gradients"

    def masked_gradient(self, gradient: Tensor) -> Tensor:
        return -gradient


class ShuffledGradients(_OtherGradients):
    """The gradient of the inputs arrives with its dimensions in another order: as large as the true one, and useless.

    Scores, and with them every decision, stay. No look at the gradient's size can tell.
    """

    name = "shuffled-gradients"

    def masked_gradient(self, gradient: Tensor) -> Tensor:
        return gradient.roll(1, dims=-1)


class BrokenGradients(_OtherGradients):
    """The gradient of the inputs is not a number: attacks crash or stand still.

    Scores, and with them every decision, stay.
    """

    name = "broken-gradients"

    def masked_gradient(self, gradient: Tensor) -> Tensor:
        return torch.full_like(gradient, torch.nan)

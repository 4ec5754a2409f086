"""Shared parts of adversarial training: the inner problem, a radius that rises, and `L + lambda * L_adv`.

The candidates' embeddings are perturbed. The user side does not depend on them, so it is encoded once: its value is
reused by every inner step, its graph by the clean and the adversarial loss together. The clean pass, which training
needs anyway, gives the first inner step its gradient: K steps cost as much as K + 1 passes.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from recgauntlet.core.batch import Batch
from recgauntlet.core.recommender import Recommender, embedding_mask
from recgauntlet.training.defense import Defense, TrainingContext
from recgauntlet_baselines.defenses._passes import DrawnPasses, Encoded, encode

Objective = Callable[[Tensor], Tensor]
"""A scalar of the logits `[B]`."""


@dataclass(frozen=True)
class Inner(Encoded):
    """The inner problem of one batch: raise the loss by moving the embeddings inside a ball.

    States and embeddings are taken out of their graphs. `mask [B, L]` says which embeddings are real; `norm` is their
    mean L2 norm: radii are relative to it. `clean` is what a pass at the clean embeddings has given already, if there
    was one: the logits `[B]` and the gradient `[B, L, D]` of their loss.
    """

    mask: Tensor
    norm: Tensor
    clean: tuple[Tensor, Tensor] | None = None

    @classmethod
    def of(cls, encoded: Encoded, clean: tuple[Tensor, Tensor] | None = None) -> Inner:
        """The problem around the embeddings of `encoded`."""
        fixed = encoded.embedded.detach()
        mask = embedding_mask(encoded.candidates, fixed)
        norm = (fixed * mask.unsqueeze(-1)).norm(dim=2).sum() / mask.sum()
        return cls(encoded.model, encoded.batch, encoded.state.detach(), encoded.candidates, fixed, mask, norm, clean)

    def gradient(self, delta: Tensor | None, objective: Objective | None = None) -> Tensor:
        """The gradient `[B, L, D]` of the model's loss at `delta` (None: at the clean embeddings), or of another
        `objective`; parameters get none."""
        return self.look(delta, objective)[1]

    def look(self, delta: Tensor | None, objective: Objective | None = None) -> tuple[Tensor, Tensor]:
        """The logits `[B]` at `delta`, and the gradient of their loss as `gradient` gives it."""
        if delta is None and objective is None and self.clean is not None:
            scores, gradient = self.clean
        else:
            with torch.enable_grad():
                handle = (self.embedded if delta is None else self.embedded + delta).requires_grad_(True)
                scores = self.scores(handle)
                loss = self.model.click_loss(scores, self.batch) if objective is None else objective(scores)
                (gradient,) = torch.autograd.grad(loss, handle)
        return scores.detach(), gradient * self.mask.unsqueeze(-1)

    def ascend(
        self, delta: Tensor | None, reach: Tensor, *, steps: int, step_size: float, objective: Objective | None = None
    ) -> Tensor:
        """`delta [B, L, D]` (None: the clean embeddings) after `steps` steps of length `step_size * reach` up the
        gradient, each projected to the ball of the L2 radius `reach`."""
        moved = self.embedded.new_zeros(self.embedded.shape) if delta is None else delta
        for step in range(steps):
            gradient = self.gradient(None if delta is None and step == 0 else moved, objective)
            moved = l2_clip(moved + l2_unit(gradient) * (step_size * reach), reach)
        return moved


class RisingRadius(Defense):
    """A ball whose radius rises linearly from 0 over the first `warmup` share of training; weights are kept as best
    only after it. A large radius from the start collapses the model to a constant."""

    epsilon: float
    warmup: float

    def share(self, context: TrainingContext) -> float:
        """How far the warm-up has come, 0 to 1."""
        return min(1.0, context.progress / self.warmup if self.warmup else 1.0)

    def radius(self, context: TrainingContext) -> float:
        """The relative radius at this point of training."""
        return self.epsilon * self.share(context)

    def ready(self, context: TrainingContext) -> bool:
        return context.progress >= self.warmup


@dataclass(kw_only=True, eq=False)
class AdversarialTraining(RisingRadius):
    """`L(Y, M(X)) + lam * L(Y, M(X + delta))` with `delta` inside a ball around the candidate's embeddings.

    Parameters
    ----------
    epsilon
        The ball's radius, relative to the model's own embeddings as measured on the batch.
    lam
        The weight of the adversarial loss.
    warmup
        The share of training over which the radius rises linearly from 0.
    """

    epsilon: float = 0.25
    lam: float = 1.0
    warmup: float = 0.3

    @abstractmethod
    def perturb(self, inner: Inner, radius: float) -> Tensor:
        """`delta [B, L, D]` inside the ball of the relative `radius`."""

    def training_loss(self, model: Recommender, batch: Batch, context: TrainingContext) -> Tensor:
        sides = self.sides(model, batch, context)
        if sides.adversarial_loss is None:
            return sides.clean_loss
        return sides.clean_loss + self.lam * sides.adversarial_loss

    def sides(self, model: Recommender, batch: Batch, context: TrainingContext) -> Sides:
        """The clean and the perturbed candidates of a batch, scored; their losses share the graph of users and
        embeddings."""
        encoded = encode(model, batch)
        radius = self.radius(context)
        if radius == 0.0:
            scores = encoded.scores()
            return Sides(scores, model.click_loss(scores, batch))
        passes = DrawnPasses(encoded)
        clean = passes.draw(encoded.embedded)
        delta = self.perturb(Inner.of(encoded, clean), radius)
        adversarial = encoded.scores(encoded.embedded + delta)
        return Sides(clean[0], passes.loss(), adversarial, model.click_loss(adversarial, batch))


@dataclass(frozen=True)
class Sides:
    """The logits `[B]` and the loss of the clean candidates and of the perturbed ones; None where none are yet."""

    clean: Tensor
    clean_loss: Tensor
    adversarial: Tensor | None = None
    adversarial_loss: Tensor | None = None


def l2_unit(tensor: Tensor) -> Tensor:
    """Each example of `[B, L, D]` at L2 norm 1 (zeros stay zeros)."""
    tiny = torch.finfo(tensor.dtype).tiny
    norm: Tensor = tensor.flatten(1).norm(dim=1)
    if bool((norm > 1e-15).all()):
        return tensor / norm[:, None, None]
    # the squares of a confident example's gradient vanish in its norm: scale by the largest element first
    scaled = tensor / tensor.flatten(1).abs().amax(dim=1).clamp(min=tiny)[:, None, None]
    small = scaled / scaled.flatten(1).norm(dim=1).clamp(min=1.0)[:, None, None]
    return torch.where((norm > 1e-15)[:, None, None], tensor / norm.clamp(min=tiny)[:, None, None], small)


def l2_clip(tensor: Tensor, radius: Tensor) -> Tensor:
    """Each example of `[B, L, D]` at L2 norm `radius` at most."""
    norm: Tensor = tensor.flatten(1).norm(dim=1).clamp(min=torch.finfo(tensor.dtype).tiny)
    return tensor * (radius / norm).clamp(max=1.0)[:, None, None]

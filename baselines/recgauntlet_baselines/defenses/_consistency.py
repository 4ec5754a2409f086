"""What TRADES, MART, SMART and VAT share: two predictions of one example, clean and perturbed, and how far apart they
are."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor
from torch.nn import functional as F

from recgauntlet.core.batch import Batch
from recgauntlet.core.recommender import Recommender
from recgauntlet.training.defense import TrainingContext
from recgauntlet_baselines.defenses._adversarial import Inner, RisingRadius, l2_unit
from recgauntlet_baselines.defenses._passes import encode

START = 0.1
"""The L2 norm of a random start, relative to the radius: at the clean point the divergence has no gradient."""


class Consistency(RisingRadius):
    """A loss of the clean and the perturbed logits. The user side is encoded once, for both and for all inner steps."""

    @abstractmethod
    def perturb(self, inner: Inner, clean: Tensor, reach: Tensor, context: TrainingContext) -> Tensor:
        """`delta [B, L, D]` inside the ball of the L2 radius `reach`; `clean [B]` are the logits to get away from."""

    @abstractmethod
    def loss(self, model: Recommender, batch: Batch, clean: Tensor, perturbed: Tensor) -> Tensor:
        """The scalar to be minimized, of logits `[B]` without and with the perturbation."""

    def training_loss(self, model: Recommender, batch: Batch, context: TrainingContext) -> Tensor:
        encoded = encode(model, batch)
        clean = encoded.scores()
        radius = self.radius(context)
        if radius == 0.0:
            return self.loss(model, batch, clean, clean)
        inner = Inner.of(encoded)
        delta = self.perturb(inner, clean.detach(), radius * inner.norm, context)
        return self.loss(model, batch, clean, encoded.scores(encoded.embedded + delta))


def bernoulli_kl(first: Tensor, second: Tensor) -> Tensor:
    """`[B]`: KL(p || q) in nats of the chances `p = sigmoid(first)` and `q = sigmoid(second)`, from their logits."""
    # single precision at least: under autocast the logits come in half. Logarithms of sigmoids keep the gradient of
    # confident examples, whose chances are all the same number.
    first, second = _at_least_single(first), _at_least_single(second)
    taken = torch.sigmoid(first) * (F.logsigmoid(first) - F.logsigmoid(second))
    left = torch.sigmoid(-first) * (F.logsigmoid(-first) - F.logsigmoid(-second))
    return taken + left


def symmetric_kl(first: Tensor, second: Tensor) -> Tensor:
    """`[B]`: KL(p || q) + KL(q || p), from logits."""
    first, second = _at_least_single(first), _at_least_single(second)
    return (torch.sigmoid(first) - torch.sigmoid(second)) * (first - second)


def random_start(inner: Inner, reach: Tensor, context: TrainingContext) -> Tensor:
    """`[B, L, D]` of the L2 norm `START * reach` in a random direction, drawn for each example and step by itself."""
    draws = normal_draws(inner, context) * inner.mask.unsqueeze(-1)
    return l2_unit(draws) * (START * reach)


def normal_draws(inner: Inner, context: TrainingContext) -> Tensor:
    """Standard normal `[B, L, D]`, drawn for each example and step by itself."""
    rng = context.rng.child(f"start/{context.step}")
    shape = (inner.embedded.shape[1], inner.embedded.shape[2])
    return rng.normal(inner.batch.example_ids, shape).to(inner.embedded)


def _at_least_single(logits: Tensor) -> Tensor:
    return logits.to(torch.promote_types(logits.dtype, torch.float32))

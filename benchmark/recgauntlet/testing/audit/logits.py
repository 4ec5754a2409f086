"""Fake defenses on the logit: the decisions stay, the information for an attack is removed."""

from __future__ import annotations

import torch
from torch import Tensor

from recgauntlet.core.dataset import TaskData
from recgauntlet.core.recommender import Recommender
from recgauntlet.core.rng import Randomness
from recgauntlet.testing.audit.fake import Fake


class ScaledLogits(Fake):
    """Every logit is `factor` times as large: a confident model.

    No decision changes. A loss with a sigmoid saturates, so its gradient vanishes; that of the logit does not.
    """

    name = "scaled-logits"
    factor = 1000.0

    def masked_logits(self, logits: Tensor) -> Tensor:
        return logits * self.factor


class TinyLogits(ScaledLogits):
    """Every logit is 1e-30 times as large: gradients too small for floats.

    No decision changes. What is squared or compared with a fixed threshold underflows.
    """

    name = "tiny-logits"
    factor = 1e-30


class SaturatedLogits(Fake):
    """The logit goes through a tanh so steep that only -1 and 1 come out: a model that is sure of everything.

    No decision changes. Floats round the gradient to 0, and scores no longer tell a search whether it came nearer.
    """

    name = "saturated-logits"
    gain = 1e5

    def masked_logits(self, logits: Tensor) -> Tensor:
        return torch.tanh(self.gain * logits)


class ClippedLogits(Fake):
    """Logits are clipped to +-`limit`, deep inside what all of them exceed: calibrated modesty.

    No decision changes. Where the clip holds, the gradient is exactly 0 and all scores of a sign are equal.
    """

    name = "clipped-logits"
    limit = 0.05

    def masked_logits(self, logits: Tensor) -> Tensor:
        return logits.clamp(-self.limit, self.limit)


class NoisyLogits(Fake):
    """Noise is added to every logit, fresh at each call: randomized inference.

    The decision boundary is as near as before. A search climbs the noise, and what broke once may stand at the second
    look: it is luck that is measured.
    """

    name = "noisy-logits"
    sigma, factor = 0.5, 1.0

    def __init__(self, inner: Recommender, data: TaskData) -> None:
        super().__init__(inner, data)
        self.generator = Randomness(0, "audit/noisy-logits").torch()

    def masked_logits(self, logits: Tensor) -> Tensor:
        noise = torch.randn(logits.shape, generator=self.generator).to(logits)
        return self.factor * (logits + self.sigma * noise)


class TinyNoisyLogits(NoisyLogits):
    """Noise is added to every logit, and both are made 1e-12 times as large: noise that looks like rounding.

    As random as noisy logits. A check of determinism that asks for an absolute change sees none.
    """

    name = "tiny-noisy-logits"
    factor = 1e-12


class BatchNormalizedLogits(Fake):
    """Logits are measured from the batch's own mean: normalization at inference.

    A score depends on the other examples of the batch. While an attack pushes many examples the same way, the mean
    goes with them and takes their damage back; alone, each of them would have fallen.
    """

    name = "batch-normalized-logits"

    def masked_logits(self, logits: Tensor) -> Tensor:
        return logits - logits.mean() if len(logits) > 1 else logits


class Constant(Fake):
    """Everybody clicks everything: the model that nothing can change.

    Half of the balanced examples are right before and after any attack, and nothing is recommended.
    """

    name = "constant"

    def masked_logits(self, logits: Tensor) -> Tensor:
        return torch.ones_like(logits) + 0.0 * logits


class Biased(Fake):
    """Nearly everybody clicks nearly everything: a large offset is added to the logit.

    The examples that are right by the offset are out of the attack's reach, the others were given up beforehand. The
    order of items, and so every ranking, is that of the model inside.
    """

    name = "biased"
    offset = 2.0

    def masked_logits(self, logits: Tensor) -> Tensor:
        return logits + self.offset

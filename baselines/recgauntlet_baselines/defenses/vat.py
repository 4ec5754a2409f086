"""VAT: predictions are kept smooth along the direction that moves them most, labels aside (Miyato et al. 2018)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from recgauntlet.core.batch import Batch
from recgauntlet.core.recommender import Recommender
from recgauntlet.core.references import bibtex
from recgauntlet.core.search_space import Between, SearchSpace
from recgauntlet.training.defense import TrainingContext
from recgauntlet_baselines.defenses._adversarial import Inner, l2_unit
from recgauntlet_baselines.defenses._consistency import Consistency, bernoulli_kl


@dataclass(kw_only=True, eq=False)
class VAT(Consistency):
    """`L(Y, M(X)) + lam * KL(M(X) || M(X + r))`, `r = radius * d`, `d` where the KL curves most; `M(X)` is held fixed.

    The paper finds `d` by power iteration on the Hessian `H` of `KL(M(X) || M(X + r))` at `r = 0`, from a random start.
    Of one logit `s` with the chance `p`, `H = p (1 - p) g g^T` with `g` the gradient of `s`: the logit's own curvature
    has the factor `p - p = 0`. `H` has rank one, so the first iteration ends at `g / |g|` or `-g / |g|`, whichever is
    on the side of the start. Both are as likely for a normal start. So `d` is `g / |g|` with a random sign, drawn an
    example and step: exact, with one gradient, where finite differences of two nearly equal divergences lose digits
    (all of them for confident examples, whose `p (1 - p)` vanishes, and under dropout).

    Deviations from the paper: the closed form above; the candidate's embeddings are perturbed; the radius is relative
    and rises over a warm-up; training pairs only, no unlabelled data.

    Parameters
    ----------
    epsilon
        The length of `r` (L2, all token embeddings of an example), relative to the mean L2 norm of a token's embedding.
    lam
        The weight of the KL, `alpha` in the paper (where it is 1).
    warmup
        The share of training over which the radius rises linearly from 0.
    """

    citation = bibtex("miyato2018virtual")
    search_space: ClassVar[SearchSpace] = {
        "epsilon": Between(0.1, 1.0, log=True),
        "lam": Between(0.3, 10.0, log=True),
    }

    epsilon: float = 0.25
    lam: float = 3.0
    warmup: float = 0.3

    def perturb(self, inner: Inner, clean: Tensor, reach: Tensor, context: TrainingContext) -> Tensor:
        steepest = inner.gradient(torch.zeros_like(inner.embedded), torch.sum)
        draws = context.rng.child(f"sign/{context.step}").normal(inner.batch.example_ids, (1, 1))
        return l2_unit(steepest) * draws.sign().to(steepest) * reach

    def loss(self, model: Recommender, batch: Batch, clean: Tensor, perturbed: Tensor) -> Tensor:
        return model.click_loss(clean, batch) + self.lam * bernoulli_kl(clean.detach(), perturbed).mean()

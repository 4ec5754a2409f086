"""FGM adversarial training: one step along the gradient, L2 (Miyato, Dai and Goodfellow 2017)."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from recgauntlet.core.references import bibtex
from recgauntlet.core.search_space import Between, SearchSpace
from recgauntlet_baselines.defenses._adversarial import AdversarialTraining, Inner, l2_unit


class FGM(AdversarialTraining):
    """`delta = epsilon * norm * g / |g|`, the norm taken over all of a candidate's token embeddings.

    Deviation from the paper: embeddings are not normalized beforehand; instead the radius is relative to the mean norm
    of a token's embedding, so a model cannot escape by inflating them.
    """

    citation = bibtex("miyato2017adversarial")
    search_space: ClassVar[SearchSpace] = {"epsilon": Between(0.05, 1.0, log=True), "lam": Between(0.25, 4.0, log=True)}

    def perturb(self, inner: Inner, radius: float) -> Tensor:
        gradient = inner.gradient(None)
        return l2_unit(gradient) * (radius * inner.norm)

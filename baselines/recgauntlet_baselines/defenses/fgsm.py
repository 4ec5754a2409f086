"""FGSM adversarial training: one step along the sign of the gradient (Goodfellow, Shlens and Szegedy 2015)."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from recgauntlet.core.references import bibtex
from recgauntlet.core.search_space import Between, SearchSpace
from recgauntlet_baselines.defenses._adversarial import AdversarialTraining, Inner, l2_unit


class FGSM(AdversarialTraining):
    """`delta` along `sign(g)`, with the L2 norm `epsilon * norm`: every element of an example moves alike.

    Deviations from the paper: embeddings are perturbed instead of inputs, and the step is scaled to the L2 ball of FGM
    and PGD, so that one `epsilon` means one size of perturbation under all three.
    """

    citation = bibtex("goodfellow2015explaining")
    search_space: ClassVar[SearchSpace] = {"epsilon": Between(0.05, 1.0, log=True), "lam": Between(0.25, 4.0, log=True)}

    def perturb(self, inner: Inner, radius: float) -> Tensor:
        gradient = inner.gradient(None)
        return l2_unit(gradient.sign()) * (radius * inner.norm)

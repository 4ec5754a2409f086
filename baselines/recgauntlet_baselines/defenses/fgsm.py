"""FGSM adversarial training: one step along the sign of the gradient (Goodfellow, Shlens and Szegedy 2015)."""

from __future__ import annotations

from torch import Tensor

from recgauntlet_baselines.defenses._adversarial import AdversarialTraining, Inner


class FGSM(AdversarialTraining):
    """`delta = epsilon * rms * sign(g)`: every element moves alike, relative to its root mean square.

    At equal `epsilon` this perturbation has about the L2 norm of FGM's. Deviation from the paper: embeddings are
    perturbed instead of inputs, and the radius is relative.
    """

    def __init__(self, *, epsilon: float = 0.25, lam: float = 1.0, warmup: float = 0.3) -> None:
        super().__init__(epsilon=epsilon, lam=lam, warmup=warmup)

    def perturb(self, inner: Inner, radius: float) -> Tensor:
        gradient = inner.gradient(inner.embedded.new_zeros(()))
        return gradient.sign() * (radius * inner.rms)

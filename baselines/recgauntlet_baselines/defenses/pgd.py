"""PGD adversarial training: several small steps, each projected back to the ball (Madry et al. 2018)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from recgauntlet.core.references import bibtex
from recgauntlet.core.search_space import Between, SearchSpace
from recgauntlet_baselines.defenses._adversarial import AdversarialTraining, Inner


@dataclass(kw_only=True, eq=False)
class PGD(AdversarialTraining):
    """`steps` steps of `step_size * epsilon` in the L2 ball, starting at the clean embeddings.

    Deviations from the paper: L2 ball with a relative radius, no random start (with so few steps it costs strength),
    and the clean loss is kept beside the adversarial one.
    """

    citation = bibtex("madry2018towards")
    search_space: ClassVar[SearchSpace] = {
        "epsilon": Between(0.05, 1.0, log=True),
        "lam": Between(0.25, 4.0, log=True),
        "steps": Between(2, 5),
    }

    steps: int = 3
    step_size: float = 0.5

    def perturb(self, inner: Inner, radius: float) -> Tensor:
        return inner.ascend(None, radius * inner.norm, steps=self.steps, step_size=self.step_size)

"""Intensity control: radius, weight and strength of the adversary adapt to the share of flipped examples."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from recgauntlet.core.batch import Batch
from recgauntlet.core.recommender import Recommender
from recgauntlet.core.references import bibtex
from recgauntlet.core.search_space import Between, SearchSpace
from recgauntlet.training.defense import TrainingContext
from recgauntlet_baselines.defenses._adversarial import AdversarialTraining, Inner, l2_clip, l2_unit


@dataclass(kw_only=True, eq=False)
class IntensityControl(AdversarialTraining):
    """`L(s) + lam_t * L(s_adv)`: `pgd` with a curriculum of the radius `epsilon_t` and of the weight `lam_t`, and with
    as many steps as keep the share of flipped examples near a target.

    - Curriculum: with `r` the share of the warm-up that has passed, `epsilon_t = r * epsilon` and `lam_t = r * lam`.
    - Strength (Cai et al. 2018): a batch is attacked with `k` steps, `k` being the whole number next to a strength
      between 1 and `steps`. Of the examples that the model has right, the attack flips the share `f`; afterwards the
      strength moves by `gain * (target - f)`: up while the model stands, down while it falls. So early training has
      the cheap and weak adversary of one step, and a model that has become robust gets the dear and strong one.
    - Friendly stop (Zhang et al. 2020): an example that is on the wrong side is not pushed further. Those that the
      model has wrong as they are get no perturbation: their adversarial loss is the clean one.

    Deviations: Cai et al. raise the number of steps whenever accuracy under attack stops rising, from then on for good;
    here a controller moves it both ways after every batch. Zhang et al. take `tau` more steps beyond the boundary; here
    `tau = 0`. Their clean losses are none: here it is kept beside the adversarial one, as in `pgd`. The flips are
    counted by scores that training needs anyway, so control costs no pass. The article on adversarial training for
    large-model recommenders asks for such a control and has no equation; the curriculum's line and the controller are
    ours.

    Parameters
    ----------
    steps
        The most steps of the attack.
    step_size
        Of one step, relative to the radius.
    target
        The share of the examples that the model has right which the attack should flip.
    gain
        Steps of strength a batch for a share that is off by 1.
    """

    citation = bibtex("madry2018towards", "cai2018curriculum", "zhang2020attacks")
    search_space: ClassVar[SearchSpace] = {
        "epsilon": Between(0.05, 1.0, log=True),
        "lam": Between(0.1, 4.0, log=True),
        "target": Between(0.05, 0.5),
    }

    steps: int = 5
    step_size: float = 0.5
    target: float = 0.25
    gain: float = 1.0
    _strength: float = field(default=1.0, init=False)

    def training_loss(self, model: Recommender, batch: Batch, context: TrainingContext) -> Tensor:
        if context.step == 0:
            self._strength = 1.0
        sides = self.sides(model, batch, context)
        if sides.adversarial is None or sides.adversarial_loss is None:
            return sides.clean_loss
        self._control(flipped_share(sides.clean, sides.adversarial, batch))
        return sides.clean_loss + self.lam * self.share(context) * sides.adversarial_loss

    def perturb(self, inner: Inner, radius: float) -> Tensor:
        reach = radius * inner.norm
        delta = inner.embedded.new_zeros(inner.embedded.shape)
        for step in range(round(self._strength)):
            scores, gradient = inner.look(delta if step else None)
            standing = is_right(scores, inner.batch)
            if not standing.any():
                break
            moved = delta + l2_unit(gradient) * (self.step_size * reach)
            delta = torch.where(standing[:, None, None], l2_clip(moved, reach), delta)
        return delta

    def _control(self, flipped: float) -> None:
        """Move the strength towards the target."""
        moved = self._strength + self.gain * (self.target - flipped)
        self._strength = min(float(self.steps), max(1.0, moved))


def is_right(scores: Tensor, batch: Batch) -> Tensor:
    """`[B]`: whether the logits are on their label's side of 0."""
    return (scores > 0) == (batch.labels > 0.5)


def flipped_share(clean: Tensor, adversarial: Tensor, batch: Batch) -> float:
    """Of the examples that are right when clean, the share that is wrong under attack; 0 where none is right."""
    right = is_right(clean, batch)
    fallen = right & ~is_right(adversarial, batch)
    return float(fallen.sum()) / max(1, int(right.sum()))

"""The transfer attack: inputs found against a twin are shown to the model at hand."""

from __future__ import annotations

from typing import ClassVar

from recgauntlet.attack import Attack, Budget
from recgauntlet.batch import Batch
from recgauntlet.recommender import Scalar, Surface
from recgauntlet.rng import Randomness
from recgauntlet.victim import Victim


class Transfer(Attack):
    """Perturb against a twin, the undefended model of the same task, architecture and seed (Papernot,
    McDaniel and Goodfellow 2016).

    The model at hand is never asked, so nothing that it does to its logits or gradients can mask it. The
    attack on the twin may ask the twin as often as the budget allows, and should not stop where the twin
    falls (the most wrong input carries over best). An embedding delta is rescaled from the twin's ball to the
    model's own. The work done on the twin is booked to the victim's effort.

    Parameters
    ----------
    attack
        What is run against the twin.
    twin
        A victim made of the twin and the same clean batch.
    """

    name = "transfer"
    surface: ClassVar[Surface] = "candidate-text"

    def __init__(self, attack: Attack, twin: Victim) -> None:
        self.attack = attack
        self.twin = twin
        self.surface = attack.surface  # type: ignore[misc]  # an instance has the surface of what it carries

    def hyperparameters(self) -> dict[str, Scalar]:
        """The name of the attack on the twin (`attack`) and its hyper-parameters."""
        return {"attack": self.attack.name, **self.attack.hyperparameters()}

    def supports(self, budget: Budget) -> bool:
        """As the attack on the twin."""
        return self.attack.supports(budget)

    def perturb(self, victim: Victim, batch: Batch, budget: Budget, rng: Randomness) -> Batch:
        """What the attack makes of `batch` on the twin, rescaled where it moves embeddings."""
        self.twin.reset(budget.queries)
        found = self.attack.perturb(self.twin, batch, budget, rng.child(self.name))
        victim.effort.add(self.twin.effort)
        if found.delta is None:
            return found
        return found.with_delta(found.delta * self._ratio(victim, budget))

    def _ratio(self, victim: Victim, budget: Budget) -> float:
        """The model's radius over the twin's."""
        linf = getattr(budget.threat, "norm", "l2") == "linf"
        ours, theirs = (v.scale.rms if linf else v.scale.norm for v in (victim, self.twin))
        return ours / theirs if theirs > 0 else 0.0

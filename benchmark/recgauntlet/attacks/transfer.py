"""The transfer attack: inputs found against the undefended twin are replayed on the model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from recgauntlet.attacks.base import Attack
from recgauntlet.attacks.common import BestSoFar, with_queries_left
from recgauntlet.attacks.surrogate import SurrogateInputs, Variant
from recgauntlet.core.batch import Batch
from recgauntlet.core.references import bibtex
from recgauntlet.core.rng import Randomness
from recgauntlet.core.scoring import fit
from recgauntlet.core.types import Scalar, Surface
from recgauntlet.threats.budget import Budget
from recgauntlet.threats.victim import Victim


class Transfer(Attack):
    """Replay everything that `attacks` find on a twin, the undefended model of the same task, architecture and seed
    (Papernot, McDaniel and Goodfellow 2016).

    The search never asks the model at hand, so nothing that it does to its logits or gradients can mask it; only where
    several attacks left an input for one example it is asked which is worst. The attacks on the twin may ask it as
    often as the budget allows, and should not stop where the twin falls (the most wrong input carries over best). An
    embedding delta is rescaled from the twin's ball to the model's own. The work done on the twin is booked to the
    victim's effort, also where it was done for another model before.

    Parameters
    ----------
    attacks
        What is run against the twin, one after the other, on what the twin still gets right.
    twin
        The twin's inputs, searched for once.
    """

    name = "transfer"
    citation = bibtex("papernot2016transferability")
    surface: ClassVar[Surface] = "candidate-text"

    def __init__(self, attacks: Sequence[Attack], twin: SurrogateInputs) -> None:
        self.attacks = tuple(attacks)
        self.twin = twin
        self.surface = attacks[0].surface  # type: ignore[misc]  # an instance has the surface of what it carries

    def hyperparameters(self) -> dict[str, Scalar]:
        """For each attack on the twin, its hyper-parameters under its name."""
        return {
            f"{attack.name}.{key}": value for attack in self.attacks for key, value in attack.hyperparameters().items()
        }

    def supports(self, budget: Budget) -> bool:
        """Whether any of the attacks has moves inside the budget."""
        return any(attack.supports(budget) for attack in self.attacks)

    def perturb(self, victim: Victim, batch: Batch, budget: Budget, rng: Randomness) -> Batch:
        """The most damaging of the inputs that fooled the twin, or were found to come nearest to it."""
        variants, effort = self.twin.found(self.attacks, budget)
        victim.effort.add(effort)
        place = _places(self.twin.victim.clean, batch)
        ratio = self._ratio(victim, budget)
        if not variants:
            return batch
        if len(variants) == 1:
            return _shown(batch, variants[0], place, ratio)
        best = BestSoFar(batch)
        shown = [_shown(batch, variant, place, ratio) for variant in variants]
        chosen = torch.zeros(len(batch), dtype=torch.int64, device=batch.items.device)
        for number, (variant, inputs) in enumerate(zip(variants, shown, strict=True)):
            rows = with_queries_left(victim, batch, torch.nonzero(variant.tried[place] & ~best.fallen()).flatten())
            if len(rows):
                better = best.improve(rows, victim.scores(inputs.select(rows)))
                chosen[rows[better]] = number
        return _picked(batch, shown, chosen)

    def _ratio(self, victim: Victim, budget: Budget) -> float:
        """The model's radius over the twin's."""
        linf = getattr(budget.threat, "norm", "l2") == "linf"
        ours, theirs = (v.scale.rms if linf else v.scale.norm for v in (victim, self.twin.victim))
        return ours / theirs if theirs > 0 else 0.0


def _places(clean: Batch, batch: Batch) -> Tensor:
    """Where each example of `batch [B]` stands in the twin's clean batch."""
    order = torch.argsort(clean.example_ids)
    return order[torch.searchsorted(clean.example_ids[order], batch.example_ids)]


def _shown(batch: Batch, variant: Variant, place: Tensor, ratio: float) -> Batch:
    """`batch` with the inputs that the variant has for its examples, clean where it was given none."""
    found = variant.perturbed.select(place)
    if found.delta is not None:
        return batch.with_delta(found.delta * ratio * variant.tried[place].to(found.delta.dtype)[:, None, None])
    if found.texts is not None:
        return batch.with_texts(found.texts)
    return batch.with_histories(found.histories())


def _picked(batch: Batch, shown: Sequence[Batch], chosen: Tensor) -> Batch:
    """For each example `b`, the input that `shown[chosen[b]]` has for it."""
    rows = torch.arange(len(batch), device=chosen.device)
    if shown[0].delta is not None:
        deltas = [inputs.delta for inputs in shown if inputs.delta is not None]
        width = max(delta.shape[1] for delta in deltas)
        return batch.with_delta(torch.stack([fit(delta, width) for delta in deltas])[chosen, rows])
    if shown[0].texts is not None:
        texts = [inputs.texts or () for inputs in shown]
        return batch.with_texts([texts[k][b] for b, k in enumerate(chosen.tolist())])
    return batch.with_histories(torch.stack([inputs.histories() for inputs in shown])[chosen, rows])

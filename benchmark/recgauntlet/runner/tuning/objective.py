"""The objective of tuning, the same for every method: accuracy on validation pairs, clean, after attacks on inputs and
after training on poisoned data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

import numpy as np
import torch
from torch import Tensor

from recgauntlet.attacks.base import Attack
from recgauntlet.attacks.embedding.pgd import FGM, PGD
from recgauntlet.attacks.history.greedy import HistoryGradient
from recgauntlet.attacks.text.greedy import WordGradient, WordQuery
from recgauntlet.core.card import TaskCard, Threat, Tier
from recgauntlet.core.dataset import TaskData
from recgauntlet.core.protocol import LARGEST_SHARE, REFERENCES
from recgauntlet.core.recommender import Recommender
from recgauntlet.core.rng import Randomness
from recgauntlet.evaluation.poisoning import measure_pairs
from recgauntlet.evaluation.robustness import run_attack
from recgauntlet.evaluation.setup import Trial, attackable
from recgauntlet.metrics.exposure import PairOutcomes
from recgauntlet.runner.tuning.poison import TuningPoison
from recgauntlet.threats.budget import Budget
from recgauntlet.threats.knowledge import AttackerKnowledge
from recgauntlet.threats.registry import threat_model

VERSION = 2
"""Rises with any change that can move an objective: trials under another are not gone on with."""
PAIRS = 300
"""Validation pairs that a trial is judged on, at most."""
TIER: Tier = "standard"
ATTACKS: tuple[Attack, ...] = (FGM(), PGD(restarts=0), WordGradient(), WordQuery(), HistoryGradient())
"""The attacks of a trial: cheap ones of the suite with gradients and, where words change, one without."""


@dataclass(frozen=True)
class Judged:
    """How good a trained model is."""

    clean: float
    robust: dict[str, float]
    """By threat: the share of the examples that is right under every attack; under a threat to the training data, of
    pairs of a click and a target, right after every training."""
    one_sided: float
    """The share of the more frequent answer on balanced examples."""

    @property
    def objective(self) -> float:
        """The mean of clean accuracy and of the mean robust accuracy; 0 for a model that is near a constant."""
        if self.one_sided > LARGEST_SHARE:
            return 0.0
        return (self.clean + fmean(self.robust.values())) / 2 if self.robust else self.clean


def threats_of(card: TaskCard, model: Recommender) -> tuple[Threat, ...]:
    """The threats of a trial, as far as the model reads them."""
    return tuple(t for t in card.threats if threat_model(t).judges_tuning and t.surface in model.surfaces)


def judged_on(data: TaskData) -> TaskData:
    """`data` with validation pairs where the test pairs stand. The attacker's references are the first validation
    pairs, and none of them is judged; no example of the test period is left.

    Training keeps the weights that are best on all validation pairs, these among them, whatever the method.
    """
    references = _references(data)
    rest = data.valid.select(slice(references, references + PAIRS))
    impressions = replace(
        data.impressions,
        users=data.impressions.users[:0],
        histories=data.impressions.histories[:0],
        items=data.impressions.items[:0],
        labels=data.impressions.labels[:0],
        offsets=np.zeros(1, dtype=np.int64),
    )
    valid = data.valid.select(slice(references))
    return replace(data, valid=valid, test=rest, impressions=impressions, popular_impressions=None, taken=None)


def _references(data: TaskData) -> int:
    """How many of the first validation pairs the attacker knows."""
    return min(REFERENCES, len(data.valid) // 2)


def judge(
    served: Recommender,
    card: TaskCard,
    data: TaskData,
    seed: int,
    *,
    world: AttackerKnowledge | None = None,
    progress: Callable[[str, float], None] = lambda what, share: None,
) -> Judged:
    """Attack `served` on `data` as `judged_on` gave it; `world` where it was made before."""
    trial = Trial.of(served, data, world or AttackerKnowledge.of(card, data))
    rng = Randomness(seed, "tuning")
    threats = threats_of(card, served)
    robust = {}
    for number, threat in enumerate(threats):
        progress(f"attacking, {threat.id}", number / len(threats))
        robust[threat.id] = float(standing(trial, threat, rng).float().mean())
    said = float((trial.scores > 0).float().mean())
    return Judged(float(trial.right.float().mean()), robust, max(said, 1 - said))


def standing(trial: Trial, threat: Threat, rng: Randomness) -> Tensor:
    """`[B]`: the examples that are right on the clean input and on all that the attacks of `threat` found."""
    trial = trial.under(threat)
    left, touched = trial.right.clone(), attackable(threat, trial.batch)
    budget = Budget.of(threat, TIER)
    for attack in ATTACKS:
        index = torch.nonzero(left & touched).squeeze(1)
        if attack.surface != threat.surface or not attack.supports(budget) or len(index) == 0:
            continue
        found = run_attack(trial, attack, budget, index, rng.child(f"{threat.id}/{attack.name}"))
        left[index[found.broken]] = False
    return left


def pairs_right(served: Recommender, data: TaskData, poison: TuningPoison) -> PairOutcomes:
    """Which pairs of a click and a target are right, of the validation pairs of `judged_on(data)`, where `served` was
    trained on `data`."""
    references = _references(data)
    eligible = poison.eligible[references : references + PAIRS]
    return measure_pairs(served, judged_on(data), poison.targets, eligible)


def robust_to_poison(clean: PairOutcomes, poisoned: Sequence[PairOutcomes]) -> float | None:
    """The share of the pairs that is right after the clean training and after every poisoned one; None without a
    pair."""
    share = clean.and_right_under(poisoned).accuracy()
    return share if np.isfinite(share) else None

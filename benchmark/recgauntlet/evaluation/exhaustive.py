"""What the suite misses of all that the verifier accepts, by exhaustive search on a sample."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from recgauntlet.attacks.exhaustive import exhaustive_for
from recgauntlet.attacks.suite import attacks_for
from recgauntlet.core.card import Threat
from recgauntlet.core.errors import RecGauntletError
from recgauntlet.core.rng import Randomness
from recgauntlet.core.types import Progress
from recgauntlet.evaluation.robustness import broken_by, run_attack
from recgauntlet.evaluation.setup import Trial, attackable
from recgauntlet.threats.budget import Budget
from recgauntlet.threats.registry import threat_model

LARGEST_GAP = 0.01
"""By how much robust accuracy under the suite may exceed what an exhaustive search leaves, or by one example where the
sample is smaller than 100."""
_UNBOUNDED = 10**12
_GROUP = 10
"""Examples searched between two reports of progress."""


@dataclass(frozen=True)
class Gap:
    """Robust accuracy on a sample at one number of edits, as shares of the sample."""

    threat: str
    edits: int
    examples: int
    clean: float
    suite: float
    exhaustive: float
    """Under the exhaustive search alone: exact for one edit, an upper bound for more."""
    together: float
    """Under both."""
    seconds: float = 0.0
    """Processor time of both."""

    @property
    def value(self) -> float:
        """What the suite misses."""
        return self.suite - self.together

    @property
    def passed(self) -> bool:
        """Whether the suite misses next to nothing."""
        return self.value <= max(LARGEST_GAP, 1 / max(1, self.examples)) + 1e-9


def exhaustive_gaps(
    trial: Trial,
    threat: Threat,
    rng: Randomness,
    *,
    sample: int = 50,
    edits: Sequence[int] = (1, 2),
    progress: Progress = lambda what, share: None,
) -> tuple[Gap, ...]:
    """Compare the suite with an exhaustive search on the first `sample` examples that the attacker changes.

    The suite keeps to the queries of the threat's medium tier; the exhaustive search has no limit. None for a threat
    whose changes cannot be counted.
    """
    if not threat_model(threat).is_discrete:
        return ()
    trial = trial.under(threat)
    index = torch.nonzero(attackable(threat, trial.batch)).squeeze(1)[:sample]
    right = trial.right[index]
    gaps = []
    for number, count in enumerate(edits):
        started = time.process_time()
        budget = _of_edits(threat, count)
        free = replace(budget, queries=_UNBOUNDED)
        what = f"{threat.id}, {count} edit{'s' if count > 1 else ''}"
        progress(f"{what}: suite", number / len(edits))
        by_suite = broken_by(trial, budget, attacks_for(threat), index, right, rng)
        by_search = torch.zeros_like(right)
        for part in torch.split(torch.arange(len(index), device=index.device), _GROUP):
            share = (number + int(part[0]) / len(index)) / len(edits)
            progress(f"{what}: search, example {int(part[0]) + 1} of {len(index)}", share)
            by_search[part] = _found(trial, free, index[part], right[part], rng)
        gaps.append(
            Gap(
                threat=threat.id,
                edits=count,
                examples=len(index),
                clean=_share(right),
                suite=_share(right & ~by_suite),
                exhaustive=_share(right & ~by_search),
                together=_share(right & ~by_suite & ~by_search),
                seconds=time.process_time() - started,
            )
        )
    return tuple(gaps)


def _found(trial: Trial, budget: Budget, index: Tensor, within: Tensor, rng: Randomness) -> Tensor:
    """`[K]`: which of the examples at `index [K]` that `within [K]` marks the exhaustive searches break.

    Raises
    ------
    RecGauntletError
        Where a search crashes or makes an illegal input: it would seem to find nothing.
    """
    broken = torch.zeros_like(within)
    for attack in exhaustive_for(budget.threat):
        rows = torch.nonzero(within & ~broken).squeeze(1)
        if not len(rows) or not attack.supports(budget):
            continue
        attempt = run_attack(trial, attack, budget, index[rows], rng.child(attack.name))
        if attempt.error or attempt.violations:
            raise RecGauntletError(
                f"{attack.name}: {attempt.error or f'{attempt.violations} inputs that the verifier refuses'}",
                where=budget.threat.id,
                remedy="report it: the search must score every legal input and no other",
            )
        broken[rows] = attempt.broken
    return broken


def _of_edits(threat: Threat, edits: int) -> Budget:
    """The budget of `edits` words, misspellings or items, as far as the highest tier has them."""
    highest = Budget.of(threat, "high")
    return replace(
        Budget.of(threat, "standard"),
        amount=min(float(edits), highest.amount),
        characters=min(edits, highest.characters),
    )


def _share(marked: Tensor) -> float:
    return int(marked.sum()) / max(1, len(marked))

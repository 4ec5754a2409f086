"""The fewest edits that turn a decision, searched one number after the other inside a threat's budget.

One edit: every legal edit is tried, so that a decision that stands cannot be turned by one. More: the parts of the edit
that was found, and a beam search that goes on from the most damaging inputs with one edit less. Every input goes
through the verifier.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import torch
from torch import Tensor

from recgauntlet.attacks.base import Attack
from recgauntlet.attacks.exhaustive import exhaustive_for
from recgauntlet.core.errors import RecGauntletError
from recgauntlet.core.rng import Randomness
from recgauntlet.core.types import Edit, Progress
from recgauntlet.evaluation.judge import score_in_chunks
from recgauntlet.evaluation.robustness import run_attack
from recgauntlet.evaluation.setup import Trial, is_right
from recgauntlet.threats.budget import Budget
from recgauntlet.threats.registry import threat_model
from recgauntlet.threats.verifier import verify

BEAM = 4
"""Inputs to go on from after the first edit."""
DEEPEST = 2
"""Edits that are searched where no edit is known that turns the decision."""
_UNBOUNDED = 10**12
_MOST_PARTS = 10
"""The parts of a found edit are left out in all ways up to so many of them."""


@dataclass(frozen=True)
class SmallestEdit:
    """The smallest edit found.

    edits
        Of the clean input.
    score
        With them.
    way
        How it was found.
    is_smallest
        Whether no legal input with fewer edits turns the decision: all of them were tried.
    """

    edits: tuple[Edit, ...]
    score: float
    way: str
    is_smallest: bool


def smallest_edit(
    trial: Trial,
    budget: Budget,
    example: int,
    found: Sequence[Edit],
    rng: Randomness,
    progress: Progress = lambda what, share: None,
) -> SmallestEdit | None:
    """The fewest edits inside `budget` that turn the decision on the test example `example`, on which the model is
    right; None where none was found.

    `trial` is that under the threat of `budget`; `found` are edits that turn the decision, none where none is known:
    then up to DEEPEST edits are searched.

    Raises
    ------
    RecGauntletError
        Where a search crashes or makes an illegal input: it would seem to find nothing.
    """
    index = torch.tensor([example], device=trial.batch.items.device)
    most = max(int(budget.amount), budget.characters)
    last = min(most, len(found) or DEEPEST)
    for count in range(1, last + 1):
        progress(f"inputs with {count} edit{'s' if count > 1 else ''}", (count - 1) / last)
        small = replace(
            budget,
            amount=min(float(count), budget.amount),
            characters=min(count, budget.characters),
            queries=_UNBOUNDED,
        )
        known = _parts_of(trial, small, index, found, count)
        if known is None and count < (len(found) or most + 1):
            known = _searched(trial, small, index, rng)
        if known is not None:
            edits, score, way = known
            # random scores prove nothing: another draw of a smaller edit might turn the decision
            return SmallestEdit(edits, score, way, is_smallest=count <= 2 and trial.samples == 1)
    return None


_Known = tuple[tuple[Edit, ...], float, str]


def _parts_of(trial: Trial, budget: Budget, index: Tensor, found: Sequence[Edit], count: int) -> _Known | None:
    """The most damaging legal choice of `count` of the edits `found` that turns the decision."""
    chosen = [part for part in combinations(found, count) if len(found) <= _MOST_PARTS or count == len(found)]
    if not chosen:
        return None
    catalog, clean = trial.world.catalog, trial.batch.select(index.repeat(len(chosen)))
    inputs = threat_model(budget.threat).rebuilt(catalog, clean, chosen)
    legal = verify(trial.world, trial.scale, budget, clean, inputs).legal.to(clean.items.device)
    scores = score_in_chunks(trial.model, inputs, trial.samples)
    damage = torch.where(legal & ~is_right(scores, clean), (1 - 2 * clean.labels) * scores, -torch.inf)
    best = int(damage.argmax())
    if not bool(damage[best] > -torch.inf):
        return None
    way = "the edit that was found" if count == len(found) else "a part of the edit that was found"
    return tuple(chosen[best]), float(scores[best]), way


def _searched(trial: Trial, budget: Budget, index: Tensor, rng: Randomness) -> _Known | None:
    """What the exhaustive search of one edit, or the beam search of more, turns the decision by."""
    for attack in exhaustive_for(budget.threat, beam=BEAM):
        if not attack.supports(budget):
            continue
        attempt = run_attack(trial, attack, budget, index, rng.child(attack.name))
        if attempt.error or attempt.violations:
            raise RecGauntletError(
                f"{attack.name}: {attempt.error or f'{attempt.violations} inputs that the verifier refuses'}",
                where=budget.threat.id,
                remedy="report it: the search must score every legal input and no other",
            )
        if bool(attempt.broken[0]):
            clean = trial.batch.select(index)
            edits = threat_model(budget.threat).edits(trial.world.catalog, clean, attempt.perturbed, 0)
            return edits, float(attempt.scores[0]), _way(attack, len(edits))
    return None


def _way(attack: Attack, count: int) -> str:
    return f"{attack.name}: every legal edit, one at a time" if count == 1 else f"{attack.name}, a beam of {BEAM}"

"""Sanity checks of poisoning: whether what was measured can be what poisoned data does."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from recgauntlet.attacks.poisoning.suite import insertion_attacks, poisoning_attacks
from recgauntlet.core.card import RANKING_TIER
from recgauntlet.core.protocol import STANDARD_ERRORS
from recgauntlet.evaluation.newcomers import NewcomersOutcome, newcomers_checks
from recgauntlet.metrics.ranking import Floats
from recgauntlet.records.parts import Gate
from recgauntlet.records.poisoning import PoisonedTraining, TrainingDataOutcome

# Not among the constants of the protocol, which are hashed into the suite of evasion.
POISON_RANDOM = 0.02
"""By how much the targets' win rate may rise more under random profiles than under the best attack, where this is not
the chance of a few targets (STANDARD_ERRORS over targets)."""
POISON_HEAD = 0.15
"""By how much the win rate of popular targets may change: on Online Retail four attacks at the medium tier change it by
at most 0.05 for most-popular, 0.11 for item-knn and 0.09 for bpr-mf, where it rises by 0.51, 0.31 and 0.19 for the
tail."""
POISON_FILTER = 0.45
"""Share of the training users with training pairs that a filter may remove. The most that a filter of the zoo removes
is 0.40: `trimmed-raters` with the largest share of its search space, on Online Retail, where half of these users have
at most six training pairs."""


def poisoning_checks(
    outcome: TrainingDataOutcome, repeated: str | None, newcomers: NewcomersOutcome | None, *, filters: bool
) -> tuple[Gate, ...]:
    """The checks of a model that was trained again.

    repeated
        The hash of the weights of a training on the genuine data again; None where there was none.
    newcomers
        What became of harmless new accounts; None where the model was not trained with such.
    filters
        Whether the defense has a filter.
    """
    trained = [one for one in outcome.trainings if one.tier == RANKING_TIER and not one.faults]
    found = [*_same_weights(outcome, repeated), *_random(outcome, trained), *_head(outcome, trained)]
    if filters:
        found += _filter(outcome)
    if newcomers is not None:
        found += newcomers_checks(newcomers, outcome.threat, filters=filters)
    return tuple(found)


def _gate(outcome: TrainingDataOutcome, name: str) -> partial[Gate]:
    return partial(Gate, name=name, threat=outcome.threat)


def _same_weights(outcome: TrainingDataOutcome, repeated: str | None) -> Iterator[Gate]:
    if repeated is not None and outcome.clean is not None:
        same = repeated == outcome.clean.weights
        yield _gate(outcome, "no-poison-changes-nothing")(
            passed=same,
            value=float(same),
            limit=1.0,
            explanation="whether a training on the genuine data again gives the same weights",
            remedy="draw all random numbers from the generators that training gives",
        )


def _random(outcome: TrainingDataOutcome, trained: list[PoisonedTraining]) -> Iterator[Gate]:
    """The targets' win rate, the control left out: random profiles raise it no more than the best attack.

    How much one target gains depends on which of its few interactions are drawn for training: on tiny data with ten
    plays in accounts and three targets, random ones lift one target by 10 points more and the others as much.
    """
    baselines = {attack.name for attack in (*poisoning_attacks(), *insertion_attacks()) if attack.is_random}
    lifts = {one.attack: _lifts(outcome, one, control=False) for one in trained}
    random = [lift for name, lift in lifts.items() if name in baselines and len(lift)]
    others = [lift for name, lift in lifts.items() if name not in baselines and len(lift)]
    if random and others:
        gaps = max(random, key=np.mean) - max(others, key=np.mean)
        by_chance = float(np.std(gaps, ddof=1) / np.sqrt(len(gaps))) if len(gaps) > 1 else 0.0
        limit = max(POISON_RANDOM, STANDARD_ERRORS * by_chance)
        yield _gate(outcome, "random-profiles-lift-no-more")(
            passed=float(gaps.mean()) <= limit,
            value=float(gaps.mean()),
            limit=limit,
            explanation="rise of the targets' win rate under random profiles less that under the best attack",
        )


def _head(outcome: TrainingDataOutcome, trained: list[PoisonedTraining]) -> Iterator[Gate]:
    if trained and "head" in outcome.places:
        lifts = [_lifts(outcome, one, control=True) for one in trained]
        moved = max((abs(float(lift.mean())) for lift in lifts if len(lift)), default=0.0)
        yield _gate(outcome, "head-targets-hardly-move")(
            passed=moved <= POISON_HEAD,
            value=moved,
            limit=POISON_HEAD,
            explanation="the largest change of the win rate of popular targets, the control",
        )


def _lifts(outcome: TrainingDataOutcome, training: PoisonedTraining, *, control: bool) -> Floats:
    """`[T]`: the change of the mean win rate of each of the control's targets, or of each other one; without targets
    that every user takes."""
    assert outcome.clean is not None
    after, before = (outcome.exposure(one).win_rate() for one in (training.outcome, outcome.clean))
    chosen = np.zeros(outcome.targets, dtype=np.bool_)
    for name, place in outcome.places.items():
        chosen[place] = (name == "head") == control
    change = (after - before)[:, chosen]
    there = np.isfinite(change).any(axis=0)
    lifts: Floats = np.nanmean(change[:, there], axis=0)
    return lifts


def _filter(outcome: TrainingDataOutcome) -> Iterator[Gate]:
    trained = [one for one in outcome.trainings if not one.faults]
    shares = [(one.dropped_fakes + one.dropped_genuine) / max(1, one.genuine + one.accounts) for one in trained]
    if shares:
        yield filter_check(outcome.threat, max(shares))


def filter_check(threat: str, share: float) -> Gate:
    """That a filter removes most users under no table, where the largest `share` is given. One that removes nobody is
    judged by what its model does: how many it removes may be an estimate, and `pca-varselect` finds no fakes on
    music-listen."""
    return Gate(
        name="filter-keeps-most",
        threat=threat,
        passed=share <= POISON_FILTER,
        value=share,
        limit=POISON_FILTER,
        explanation="the largest share of the training users that the defense's filter removes",
    )

"""Sanity checks of poisoning: whether what was measured can be what poisoned data does."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from recgauntlet.attacks.poisoning.suite import insertion_attacks, poisoning_attacks
from recgauntlet.core.card import RANKING_TIER
from recgauntlet.evaluation.newcomers import NewcomersOutcome, newcomers_checks
from recgauntlet.records.parts import Gate
from recgauntlet.records.poisoning import PoisonedTraining, TrainingDataOutcome

# Not among the constants of the protocol, which are hashed into the suite of evasion.
POISON_RANDOM = 0.02
"""By how much the targets' win rate may rise more under random profiles than under the best attack."""
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
    """The targets' win rate, the control left out: random profiles raise it no more than the best attack."""
    baselines = {attack.name for attack in (*poisoning_attacks(), *insertion_attacks()) if attack.is_random}
    lifts = {one.attack: _lift(outcome, one, control=False) for one in trained}
    random = [lift for name, lift in lifts.items() if name in baselines]
    others = [lift for name, lift in lifts.items() if name not in baselines]
    if random and others:
        gap = max(random) - max(others)
        yield _gate(outcome, "random-profiles-lift-no-more")(
            passed=gap <= POISON_RANDOM,
            value=gap,
            limit=POISON_RANDOM,
            explanation="rise of the targets' win rate under random profiles less that under the best attack",
        )


def _head(outcome: TrainingDataOutcome, trained: list[PoisonedTraining]) -> Iterator[Gate]:
    if trained and "head" in outcome.places:
        moved = max((abs(_lift(outcome, one, control=True)) for one in trained), default=0.0)
        yield _gate(outcome, "head-targets-hardly-move")(
            passed=moved <= POISON_HEAD,
            value=moved,
            limit=POISON_HEAD,
            explanation="the largest change of the win rate of popular targets, the control",
        )


def _lift(outcome: TrainingDataOutcome, training: PoisonedTraining, *, control: bool) -> float:
    """The change of the mean win rate of the control's targets, or of all others."""
    assert outcome.clean is not None
    after, before = (outcome.exposure(one).win_rate() for one in (training.outcome, outcome.clean))
    chosen = np.zeros(outcome.targets, dtype=np.bool_)
    for name, place in outcome.places.items():
        chosen[place] = (name == "head") == control
    change = (after - before)[:, chosen]
    return float(np.nanmean(change)) if np.isfinite(change).any() else 0.0


def _filter(outcome: TrainingDataOutcome) -> Iterator[Gate]:
    """That a filter removes most users under no table. One that removes nobody is judged by what its model does: the
    share may be an estimate, and `pca-varselect` finds no fakes on music-listen."""
    trained = [one for one in outcome.trainings if not one.faults]
    if trained:
        most = max((one.dropped_fakes + one.dropped_genuine) / max(1, one.genuine + one.accounts) for one in trained)
        yield _gate(outcome, "filter-keeps-most")(
            passed=most <= POISON_FILTER,
            value=most,
            limit=POISON_FILTER,
            explanation="the largest share of the training users that the defense's filter removes",
        )

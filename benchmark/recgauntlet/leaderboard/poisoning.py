"""Attacks on training data, aggregated over the seeds of a row, and the ranks by them.

Every interval resamples seeds, users and, within each set, targets: a user's pairs stay together, and so do a target's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from recgauntlet.core.card import RANKING_TIER, TIERS, Tier
from recgauntlet.leaderboard.flags import Flag
from recgauntlet.leaderboard.paired import standings
from recgauntlet.leaderboard.poisoning_flags import poisoning_flags
from recgauntlet.leaderboard.poisoning_schema import (
    Filtered,
    Moved,
    Poisoning,
    PoisonTier,
    PoisonTraining,
    SetExposure,
)
from recgauntlet.leaderboard.schema import Row
from recgauntlet.metrics.bootstrap import Estimate, Floats, estimates, grouped_means, resampled_means
from recgauntlet.metrics.exposure import PairOutcomes
from recgauntlet.records.poisoning import PoisonedTraining, TrainedOutcome, TrainingDataOutcome
from recgauntlet.records.schema import RunRecord

CUTOFFS = (10, 50)


def poisoning_of(records: Sequence[RunRecord]) -> tuple[Poisoning, ...]:
    """What the records of a row have of each threat to training data that all of them have in one form."""
    names = list(dict.fromkeys(one.threat for record in records for one in record.poisoning))
    found = []
    for name in names:
        outcomes = [one for record in records for one in record.poisoning if one.threat == name]
        if len(outcomes) == len(records) and len({_form(one) for one in outcomes}) == 1:
            found.append(summary(outcomes, poisoning_flags(records, outcomes)))
    return tuple(found)


def _form(outcome: TrainingDataOutcome) -> tuple[object, ...]:
    """What must be equal for outcomes to be averaged."""
    return outcome.suite, outcome.attacks, outcome.sets, outcome.users, outcome.eligible, outcome.pair_users


def summary(outcomes: Sequence[TrainingDataOutcome], flags: tuple[Flag, ...] = ()) -> Poisoning:
    """The outcomes of one row under one threat, one a seed and all of one form, with intervals."""
    first = outcomes[0]
    common = Poisoning(
        threat=first.threat,
        ranked=all(one.ranked for one in outcomes),
        suite=first.suite,
        attacks=first.attacks,
        reason=next((one.reason for one in outcomes if one.reason), ""),
        flags=flags,
    )
    if common.reason:
        return common
    clean = [one.clean for one in outcomes if one.clean is not None]
    steps: list[tuple[str, Tier]] = [(training.attack, training.tier) for training in first.trainings]
    shared = [step for step in steps if all(one.at(*step) is not None for one in outcomes)]
    trained = {step: [found for one in outcomes if (found := one.at(*step)) is not None] for step in shared}
    before, tiers, every, alone = _robust(outcomes, list(trained.values()))
    exposures = _exposures(outcomes, [clean, *([one.outcome for one in found] for found in trained.values())])
    damage = _damage([clean, *([one.outcome for one in found] for found in trained.values())])
    return replace(
        common,
        users=first.users,
        clean=before,
        exposure=tuple(
            (one.targets, one.exposure10.value, one.exposure50.value, one.win_rate.value) for one in exposures[0]
        ),
        tiers=tiers,
        every=every,
        trainings=tuple(
            PoisonTraining(
                attack=attack,
                knowledge=found[0].knowledge,
                tier=tier,
                counted=attack in first.attacks,
                accounts=max(one.accounts for one in found),
                refused=sum(bool(one.faults) for one in found),
                alone=own,
                sets=sets,
                accuracy=accuracy,
                ndcg10=ndcg10,
                seconds=float(np.mean([one.outcome.seconds for one in found])),
                filtered=_filtered(found),
            )
            for ((attack, tier), found), own, sets, (accuracy, ndcg10) in zip(
                trained.items(), alone, exposures[1:], damage, strict=True
            )
        ),
    )


def _robust(
    outcomes: Sequence[TrainingDataOutcome], trained: Sequence[Sequence[PoisonedTraining]]
) -> tuple[Estimate, tuple[PoisonTier, ...], Estimate | None, list[Estimate]]:
    """Pairs right before poisoning, at each tier, under all attacks that ran in every seed, and under each training."""
    before = [_clean_pairs(one) for one in outcomes]
    layers = [before]
    at = []
    for tier in TIERS:
        found = [pairs for one in outcomes if (pairs := one.robust_pairs(tier)) is not None]
        if len(found) == len(outcomes):
            at.append(tier)
            layers.append(found)
    names = [name for name in outcomes[0].attacks_run if all(name in one.attacks_run for one in outcomes)]
    every = [pairs for one in outcomes if (pairs := one.robust_pairs(RANKING_TIER, names)) is not None]
    more = len(every) == len(outcomes) and not set(names) <= set(outcomes[0].attacks)
    layers += [every] if more else []
    for same in trained:
        parts = zip(before, same, outcomes, strict=True)
        layers.append([own.and_right_under([one.pairs(training.outcome)]) for own, training, one in parts])
    values, sets, draws = _pair_shares(outcomes[0], layers)
    whole = estimates(values[-1].tolist(), draws[:, -1])
    by_set = [estimates(values[n].tolist(), draws[:, n]) for n in range(len(sets))]
    tiers = tuple(
        PoisonTier(
            tier,
            whole[n],
            tuple((name, each[n]) for name, each in zip(sets, by_set, strict=True)),
            tuple(pairs.accuracy() for pairs in layers[n]),
        )
        for n, tier in enumerate(at, start=1)
    )
    rest = whole[1 + len(at) :]
    return whole[0], tiers, rest.pop(0) if more else None, rest


def _clean_pairs(outcome: TrainingDataOutcome) -> PairOutcomes:
    assert outcome.clean is not None
    return outcome.pairs(outcome.clean)


def _pair_shares(
    outcome: TrainingDataOutcome, layers: Sequence[Sequence[PairOutcomes]]
) -> tuple[Floats, tuple[str, ...], Floats]:
    """For each of M `layers`, one outcome of pairs a seed, the share of right examples: `[K + 1, M]` for each set of
    targets and for all of them, the sets' names, and the draws `[R, K + 1, M]`. The unit is a user with all pairs."""
    users = outcome.users_of_pairs()
    shape = (outcome.users, outcome.targets)
    weight, right = np.zeros(shape), np.zeros((len(layers[0]), *shape, len(layers)))
    np.add.at(weight, users, layers[0][0].eligible.astype(np.float64))
    for number, layer in enumerate(layers):
        for seed, pairs in enumerate(layer):
            share = (pairs.clicked[:, None] + pairs.targets.astype(np.float64)) / 2
            np.add.at(right[seed, :, :, number], users, np.where(pairs.eligible, share, 0.0))
    values, draws = grouped_means(right, weight, list(outcome.places.values()))
    return values, tuple(outcome.places), draws


def _exposures(
    outcomes: Sequence[TrainingDataOutcome], models: Sequence[Sequence[TrainedOutcome]]
) -> list[tuple[SetExposure, ...]]:
    """For each of `models`, one a seed and the clean ones first, the exposure of each set of targets."""
    first = outcomes[0]
    found = np.stack(
        [
            np.stack(
                [
                    np.nan_to_num(measure)
                    for one, model in zip(outcomes, same, strict=True)
                    for exposure in [one.exposure(model)]
                    for measure in (*(exposure.in_top(k) for k in CUTOFFS), exposure.win_rate())
                ]
            ).reshape(len(outcomes), 3, first.users, first.targets)
            for same in models
        ]
    )  # [models, S, 3, U, T]
    flat = found.transpose(1, 3, 4, 0, 2).reshape(len(outcomes), first.users, first.targets, -1)
    values, draws = grouped_means(flat, first.eligible_bits().astype(np.float64), list(first.places.values()))
    values = values.reshape(len(values), len(models), 3)
    draws = draws.reshape(len(draws), draws.shape[1], len(models), 3)
    out = []
    for model in range(len(models)):
        sets = []
        for number, name in enumerate(first.places):
            own, own_draws = values[number, model], draws[:, number, model]
            clean, clean_draws = values[number, 0], draws[:, number, 0]
            level = estimates(own.tolist(), own_draws)
            rise = estimates((own - clean).tolist(), own_draws - clean_draws)
            sets.append(SetExposure(name, *(Moved(a, b) for a, b in zip(level, rise, strict=True))))
        out.append(tuple(sets))
    return out


def _damage(models: Sequence[Sequence[TrainedOutcome]]) -> list[tuple[Moved, Moved]]:
    """Clean accuracy and nDCG@10 of each poisoned model beside the clean ones, which come first."""
    parts = []
    for layers in (
        [np.stack([one.right.to_bool().reshape(-1, 2).mean(axis=1) for one in same]) for same in models],
        [np.stack([one.ndcg10.to_float().astype(np.float64) for one in same]) for same in models],
    ):
        draws = resampled_means(np.stack(layers, axis=2))
        values = np.array([float(layer.mean()) for layer in layers])
        level = estimates(values[1:].tolist(), draws[:, 1:])
        change = estimates((values[1:] - values[0]).tolist(), draws[:, 1:] - draws[:, :1])
        parts.append([Moved(a, b) for a, b in zip(level, change, strict=True)])
    return list(zip(*parts, strict=True))


def _filtered(found: Sequence[PoisonedTraining]) -> Filtered | None:
    """What filters removed; None where no seed's removed anybody."""
    fakes, genuine = sum(one.dropped_fakes for one in found), sum(one.dropped_genuine for one in found)
    accounts = sum(one.accounts for one in found)
    if not fakes + genuine or not accounts:
        return None
    return Filtered(fakes / (fakes + genuine), fakes / accounts, genuine / len(found))


def with_poisoning_ranks(rows: Sequence[Row], behind: Sequence[Sequence[RunRecord]]) -> list[Row]:
    """The rows with their ranks by robust accuracy under their worst ranked threat to training data at the medium tier;
    `behind` are the records of each row. What keeps a row from a rank among evasion does not keep it from this one."""
    newest = max((one.suite for row in rows for one in row.poisoning if one.ranked), default="")
    text = f"Its training data was attacked by another version of the attacks than {newest}; run it again."
    older = Flag("old-poison", "older attacks on training data", text)
    rows = [
        replace(
            row,
            poisoning=tuple(
                replace(one, flags=(*one.flags, older)) if one.ranked and one.suite != newest else one
                for one in row.poisoning
            ),
        )
        for row in rows
    ]
    able: dict[int, tuple[float, str]] = {}
    for number, row in enumerate(rows):
        ranked = [one for one in row.poisoning if one.ranked]
        blocked = any(flag.blocks_rank for one in ranked for flag in one.flags)
        at = [(tier.robust.value, one.threat) for one in ranked if (tier := one.at()) is not None]
        if at and len(at) == len(ranked) and not blocked:
            able[number] = min(at)
    if not able:
        return [*rows]
    values, threats = zip(*able.values(), strict=True)
    # measured on all pairs in every row
    found = standings(values, [behind[n] for n in able], threats, lambda some, of, pairs: _drawn(some, of))
    placed = list(rows)
    for number, (rank, place) in zip(able, found, strict=True):
        placed[number] = replace(rows[number], poisoning_rank=rank, poisoning_range=place)
    return placed


def _drawn(rows: Sequence[Sequence[RunRecord]], threats: Sequence[str]) -> tuple[Floats, Floats]:
    """The robust accuracies `[K]` of rows, each under its threat, and their draws `[R, K]`, which all rows share."""
    found = []
    for records, threat in zip(rows, threats, strict=True):
        outcomes = [one for record in records for one in record.poisoning if one.threat == threat]
        pairs = [part for one in outcomes if (part := one.robust_pairs(RANKING_TIER)) is not None]
        values, _, draws = _pair_shares(outcomes[0], [pairs])
        found.append((values[-1, 0], draws[:, -1, 0]))
    return np.array([value for value, _ in found]), np.stack([draws for _, draws in found], axis=1)

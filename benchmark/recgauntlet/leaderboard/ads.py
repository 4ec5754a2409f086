"""Simulated ads of a row: how much of their exposure is left when users edit their histories."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from recgauntlet.core.card import RANKING_TIER
from recgauntlet.core.types import BoolArray
from recgauntlet.leaderboard.ad_schema import AdControl, Ads, AdTier
from recgauntlet.metrics.bootstrap import Estimate, Floats, estimates, resampled_means
from recgauntlet.records.ads import AdAttackOutcome, AdOutcome
from recgauntlet.records.schema import RunRecord

PLACES = 10
"""The places of a list in which ads are counted."""


def ads_of(records: Sequence[RunRecord]) -> Ads | None:
    """The exposure of simulated ads over lists and seeds; None where a record has none, or another measurement.

    The bootstrap resamples lists, one a user, and seeds; what a share is taken of is resampled together with it.
    """
    draws = sorted({one.draw for record in records for one in record.ads})
    by_draw = [[one for record in records for one in record.ads if one.draw == draw] for draw in draws]
    if not by_draw or draws[0] != 0 or any(len(found) != len(records) for found in by_draw):
        return None
    if any(len({_form(one) for one in found}) > 1 for found in by_draw):
        return None
    measured, *controls = by_draw
    first = measured[0]
    if not first.applicable:
        return Ads(first.threat, 0, Estimate(0.0, 0.0, 0.0), (), ())
    shown = np.stack([_clean(one).sum(axis=1) for one in measured])
    kept = np.stack([np.stack([np.stack(part) for part in _kept(one)]) for one in measured])  # [S, tiers, 2, L]
    alone = [np.stack([_under(one, n) for one in measured]) for n in range(len(first.tiers))]  # [S, attacks, L] each
    quantities = [np.full(shown.shape, PLACES), shown, *np.moveaxis(kept.reshape(len(kept), -1, kept.shape[3]), 1, 0)]
    quantities += [layer for attacks in alone for layer in np.moveaxis(attacks, 1, 0)]
    share, *rest = _shares(quantities[1:2], quantities[0]) + _shares(quantities[2:], shown)
    worst, each = rest[: 2 * len(first.tiers)], iter(rest[2 * len(first.tiers) :])
    tiers = tuple(
        AdTier(
            tier.tier,
            tier.edits,
            tier.queries,
            worst[2 * n],
            worst[2 * n + 1],
            tuple((attack.name, next(each)) for attack in tier.attacks),
        )
        for n, tier in enumerate(first.tiers)
    )
    failed = dict.fromkeys(c.name for found in by_draw for one in found for c in one.checks if not c.passed)
    others = tuple(control for found in controls for control in _controls(measured, found))
    return Ads(first.threat, first.lists, share, tiers, others, tuple(failed))


def kept_by_tier(outcome: AdOutcome) -> list[tuple[float, float]]:
    """For each tier the share of ads left in the first ten places of all lists, and that of the pairs of a user and an
    ad that stay; both 1 where the clean lists show no ad."""
    total = int(outcome.shown.to_bool().sum())
    return [tuple(float(part.sum()) / total if total else 1.0 for part in parts) for parts in _kept(outcome)]  # type: ignore[misc]


def _form(outcome: AdOutcome) -> tuple[object, ...]:
    """What must be equal for outcomes to be averaged."""
    tiers = tuple((t.tier, t.edits, t.queries, tuple(a.name for a in t.attacks)) for t in outcome.tiers)
    return outcome.threat, outcome.applicable, outcome.lists, outcome.sponsored, tiers


def _clean(outcome: AdOutcome) -> BoolArray:
    """`[L, S]`: the ads on the clean lists."""
    return outcome.shown.to_bool().reshape(outcome.lists, outcome.sponsored)


def _after(outcome: AdOutcome, attack: AdAttackOutcome) -> BoolArray:
    """`[L, S]`: the ads after an attack."""
    return attack.ads.to_bool().reshape(outcome.lists, outcome.sponsored)


def _kept(outcome: AdOutcome) -> Iterator[tuple[Floats, Floats]]:
    """Tier by tier, for each list `[L]` the fewest ads that any attack left up to that tier, and how many of the ads
    of the clean list every attack left."""
    stay = _clean(outcome)
    fewest = stay.sum(axis=1)
    for tier in outcome.tiers:
        for attack in tier.attacks:
            after = _after(outcome, attack)
            fewest, stay = np.minimum(fewest, after.sum(axis=1)), stay & after
        yield fewest.astype(np.float64), stay.sum(axis=1).astype(np.float64)


def _under(outcome: AdOutcome, number: int) -> Floats:
    """`[attacks, L]`: the ads that each attack by itself leaves at the tier `number`."""
    found: Floats = np.stack([_after(outcome, a).sum(axis=1) for a in outcome.tiers[number].attacks]).astype(np.float64)
    return found


def _controls(measured: Sequence[AdOutcome], found: Sequence[AdOutcome]) -> Iterator[AdControl]:
    """The other draw under the attack that ran on it, beside the first draw under the same attack."""
    name = found[0].tiers[0].attacks[0].name if found[0].tiers else ""
    ours, theirs = ([_alone(one, name) for one in outcomes] for outcomes in (measured, found))
    if any(part is None for part in (*ours, *theirs)):
        return
    if len({one.lists for one in (*measured, *found)}) > 1:
        return
    first, second = (
        (np.stack([p for p in parts if p is not None]), np.stack([_clean(one).sum(axis=1) for one in outcomes]))
        for parts, outcomes in ((ours, measured), (theirs, found))
    )
    means = resampled_means(np.stack([*first, *second], axis=2).astype(np.float64))
    shares = [_ratio(means[:, n], means[:, n + 1]) for n in (0, 2)]
    values = [float(part.sum() / whole.sum()) if whole.any() else 1.0 for part, whole in (first, second)]
    draws = np.stack([shares[1], shares[1] - shares[0]], axis=1)
    exposure, difference = estimates([values[1], values[1] - values[0]], draws)
    yield AdControl(found[0].draw, name, exposure, difference)


def _alone(outcome: AdOutcome, name: str) -> Floats | None:
    """`[L]`: the ads that the attack `name` leaves at the medium tier; None where it did not run."""
    found = (a for tier in outcome.tiers if tier.tier == RANKING_TIER for a in tier.attacks if a.name == name)
    attack = next(found, None)
    return None if attack is None else _after(outcome, attack).sum(axis=1).astype(np.float64)


def _shares(parts: Sequence[Floats], whole: Floats) -> list[Estimate]:
    """Each of `parts [S, L]` as a share of `whole [S, L]`; 1 where that is nothing."""
    means = resampled_means(np.stack([whole, *parts], axis=2).astype(np.float64))
    total = float(whole.sum())
    values = [float(part.sum()) / total if total else 1.0 for part in parts]
    return estimates(values, np.stack([_ratio(means[:, n + 1], means[:, 0]) for n in range(len(parts))], axis=1))


def _ratio(part: Floats, whole: Floats) -> Floats:
    return np.divide(part, whole, out=np.ones_like(part), where=whole > 0)

"""What a row has of simulated ads."""

from __future__ import annotations

from dataclasses import dataclass

from recgauntlet.core.card import Tier
from recgauntlet.metrics.bootstrap import Estimate


@dataclass(frozen=True)
class AdTier:
    """Simulated ads at one tier of `edits`: `exposure` is the share of the ads in the first ten places of clean lists
    that is left, `accuracy` the share of the pairs of a user and an ad on the clean list that stay on it; both under
    the worst of all attacks for each. `attacks`: the exposure under each attack by itself."""

    tier: Tier
    edits: int
    queries: int
    exposure: Estimate
    accuracy: Estimate
    attacks: tuple[tuple[str, Estimate], ...]


@dataclass(frozen=True)
class AdControl:
    """Another draw of sponsored items: the exposure under `attack` at the medium tier, and how much it is above that of
    the first draw under the same attack."""

    draw: int
    attack: str
    exposure: Estimate
    difference: Estimate

    @property
    def agrees(self) -> bool:
        """Whether the interval of the difference has 0 in it."""
        return self.difference.low <= 0 <= self.difference.high


@dataclass(frozen=True)
class Ads:
    """How many simulated ads users see who edit their histories, on `lists` lists a seed. `shown` is the share of the
    first ten places that clean lists give to ads. No tiers: the model does not read histories. Never ranked.

    `failed` names sanity checks of this measurement that failed in any seed.
    """

    threat: str
    lists: int
    shown: Estimate
    tiers: tuple[AdTier, ...]
    controls: tuple[AdControl, ...]
    failed: tuple[str, ...] = ()

    def at(self, tier: Tier) -> AdTier | None:
        """What was measured at `tier`, None where nothing was."""
        return next((found for found in self.tiers if found.tier == tier), None)

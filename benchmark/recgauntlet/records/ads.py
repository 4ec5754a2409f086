"""The outcome of lists with simulated ads in a record."""

from __future__ import annotations

from recgauntlet.core.card import Tier
from recgauntlet.core.types import Scalar
from recgauntlet.records.columns import BitColumn
from recgauntlet.records.parts import AttackEffort, Gate
from recgauntlet.records.references import Part


class AdAttackOutcome(Part):
    """One attack by itself at one tier, on the lists that show an ad.

    `ads [lists x sponsored]`: the sponsored candidates in the first ten places afterwards; those of the clean list
    where the edit was refused or did not lower their number. `violations` counts refused edits. The effort's unit is a
    list.
    """

    name: str
    hyperparameters: dict[str, Scalar]
    ads: BitColumn
    violations: int
    effort: AttackEffort
    error: str = ""


class AdTierOutcome(Part):
    """Ad dodging at one tier: `edits` of a history, `queries` lists asked for per user."""

    tier: Tier
    edits: int
    queries: int
    attacks: tuple[AdAttackOutcome, ...]


class AdOutcome(Part):
    """Lists with simulated ads, whose users edit their histories. Never ranked.

    `draw` counts the draws of sponsored items: 0 is the measurement, the others are controls. `shown [lists x
    sponsored]`: the ads on the clean lists; `offset` is what the platform adds to sponsored scores, fitted on lists of
    validation users. `checks` are sanity checks of this measurement, which take no rank. `applicable` is false (and the
    rest empty) where the model does not read histories.
    """

    threat: str
    draw: int
    applicable: bool
    lists: int
    sponsored: int
    offset: float
    shown: BitColumn
    tiers: tuple[AdTierOutcome, ...]
    checks: tuple[Gate, ...] = ()

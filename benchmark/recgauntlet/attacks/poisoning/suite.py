"""The poisoning attacks of the suite."""

from __future__ import annotations

from recgauntlet.attacks.poisoning.base import Poisoning
from recgauntlet.attacks.poisoning.profiles import (
    Bandwagon,
    Coattails,
    Copy,
    Placement,
    PopularProfiles,
    RandomProfiles,
    Segment,
)
from recgauntlet.core.errors import PluginError

POISONING_VERSION = "0.2"
"""Rises with any change of the attacks' code, or of the verifier, that can move a number. Tables of another version are
made again."""


def poisoning_attacks() -> tuple[Poisoning, ...]:
    """Every attack, the random baseline first."""
    return (
        RandomProfiles(),
        PopularProfiles(),
        Bandwagon(),
        Segment(),
        Coattails(),
        Copy(),
        Placement(),
    )


def find_poisoning(name: str) -> Poisoning:
    """The attack `name`; PluginError where there is none."""
    attacks = {attack.name: attack for attack in poisoning_attacks()}
    if name not in attacks:
        raise PluginError(
            f"there is no poisoning attack {name!r}", field="attack", remedy=f"choose among: {', '.join(attacks)}"
        )
    return attacks[name]

"""The poisoning attacks of the suite."""

from __future__ import annotations

from collections.abc import Sequence

from recgauntlet.attacks.poisoning.base import Poisoning, PoisoningAttack
from recgauntlet.attacks.poisoning.greybox import GreyBox, single_attacks
from recgauntlet.attacks.poisoning.insertions import (
    EarlyInsertion,
    Insertion,
    InsertionBehindPopular,
    InsertionBehindPredictor,
    RandomInsertion,
)
from recgauntlet.core.card import TrainingDataThreat
from recgauntlet.core.errors import PluginError

POISONING_VERSION = "0.7"
"""Rises with any change of the attacks' code, or of the verifier, that can move a number. Tables of another version are
made again."""


def poisoning_attacks() -> tuple[Poisoning, ...]:
    """Every attack, the random baseline first."""
    return (*single_attacks(), GreyBox())


def insertion_attacks() -> tuple[Insertion, ...]:
    """Every attack that puts plays into accounts that exist, the random baseline first."""
    return (RandomInsertion(), InsertionBehindPredictor(), InsertionBehindPopular(), EarlyInsertion())


def attacks_on(threat: TrainingDataThreat) -> tuple[PoisoningAttack, ...]:
    """Every attack with the budget of `threat`."""
    return poisoning_attacks() if threat.insertions is None else insertion_attacks()


def chosen_attacks(threat: TrainingDataThreat, names: Sequence[str]) -> tuple[PoisoningAttack, ...]:
    """The attacks `names` among those of a threat, all where no name is given; PluginError where one is not there."""
    attacks = {attack.name: attack for attack in attacks_on(threat)}
    for name in names:
        if name not in attacks:
            raise PluginError(
                f"there is no poisoning attack {name!r} for {threat.id}",
                field="attack",
                remedy=f"choose among: {', '.join(attacks)}",
            )
    return tuple(attacks[name] for name in names or attacks)

"""The contract of an attack, and the budget it must keep to."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from recgauntlet.core.batch import Batch
from recgauntlet.core.card import EmbeddingThreat, HistoryThreat, TextThreat, Tier
from recgauntlet.core.recommender import Scalar, Surface, constructor_defaults
from recgauntlet.core.rng import Randomness

if TYPE_CHECKING:
    from recgauntlet.threats.victim import Victim


@dataclass(frozen=True)
class Budget:
    """A threat at one tier: what `Attack.perturb` may change, and how often it may ask.

    `amount` is the radius (embedding; relative to the victim's `scale`), the words (candidate-text) or the
    edits (history). `characters` is the cap on character edits, 0 where the threat allows none.
    """

    threat: EmbeddingThreat | TextThreat | HistoryThreat
    tier: Tier
    amount: float
    characters: int
    queries: int

    @classmethod
    def of(cls, threat: EmbeddingThreat | TextThreat | HistoryThreat, tier: Tier) -> Budget:
        """The budget of `threat` at `tier`."""
        if isinstance(threat, EmbeddingThreat):
            amount = threat.radius.at(tier)
        elif isinstance(threat, TextThreat):
            amount = threat.words.at(tier)
        else:
            amount = threat.edits.at(tier)
        characters = threat.characters if isinstance(threat, TextThreat) else None
        return cls(threat, tier, amount, int(characters.at(tier)) if characters else 0, int(threat.queries.at(tier)))


class Attack(ABC):
    """Searches for inputs on which the victim errs.

    `perturb` returns inputs, never verdicts: the evaluator scores them again and the verifier checks the
    budget. Every example of the batch is to be pushed to the wrong side of 0: down where its label is 1, up
    where it is 0. The result has the same examples in the same order. Hyper-parameters are keyword-only
    constructor arguments.
    """

    name: ClassVar[str]
    surface: ClassVar[Surface]
    is_random: ClassVar[bool] = False
    """True of the random baseline, which every other attack of the threat must beat at equal budget."""
    uses_gradients: ClassVar[bool] = False
    """True of white-box attacks: where they find less than those that only ask for scores, gradients are masked."""
    edits: ClassVar[str] = ""
    """What it changes, where a surface can be changed in several ways ("characters"): only attacks that make the same
    changes are compared."""

    citation: ClassVar[str] = ""
    """BibTeX of the papers it comes from, printed by `recgauntlet cite`."""

    def hyperparameters(self) -> dict[str, Scalar]:
        """Every constructor argument and its value on this object."""
        return {name: getattr(self, name) for name in constructor_defaults(type(self))}

    def supports(self, budget: Budget) -> bool:
        """Whether this attack has moves inside the budget (a character attack needs a cap on characters)."""
        return True

    @abstractmethod
    def perturb(self, victim: Victim, batch: Batch, budget: Budget, rng: Randomness) -> Batch:
        """The batch with its inputs changed inside `budget`."""

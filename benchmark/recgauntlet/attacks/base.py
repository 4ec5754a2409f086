"""The contract of an attack."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

from recgauntlet.core.batch import Batch
from recgauntlet.core.plugins import Plugin, find
from recgauntlet.core.recommender import constructor_defaults
from recgauntlet.core.rng import Randomness
from recgauntlet.core.types import Scalar, Surface
from recgauntlet.threats.budget import Budget

if TYPE_CHECKING:
    from recgauntlet.threats.victim import Victim


class Attack(ABC):
    """Searches for inputs on which the victim errs.

    `perturb` returns inputs, never verdicts: the evaluator scores them again and the verifier checks the budget. Every
    example of the batch is to be pushed to the wrong side of 0: down where its label is 1, up where it is 0. The result
    has the same examples in the same order. Hyper-parameters are keyword-only constructor arguments.
    """

    name: ClassVar[str]
    """As records name it."""
    surface: ClassVar[Surface]
    """What it changes: "embedding", "candidate-text" or "history"."""
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


def find_attack(name: str) -> Plugin:
    """The registered attack class `name`; PluginError if it is not installed or no subclass of Attack."""
    return find("attacks", name, base=Attack)

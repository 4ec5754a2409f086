"""What every threat model has: the rule of verification, the gradient handle, the evidence and the wording.

One subclass a surface. It is independent of the attacks. torch is imported where tensors are made: pages that only need
the wording do not wait for it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Self, TypeVar

import numpy as np
import numpy.typing as npt

from recgauntlet.core.card import EmbeddingThreat, HistoryThreat, TextThreat, Threat
from recgauntlet.core.types import Edit, Surface
from recgauntlet.threats.budget import Budget

if TYPE_CHECKING:
    from torch import Tensor

    from recgauntlet.core.batch import Batch
    from recgauntlet.core.dataset import Catalog
    from recgauntlet.core.recommender import Recommender
    from recgauntlet.core.rng import Randomness
    from recgauntlet.threats.embedding_scale import EmbeddingScale
    from recgauntlet.threats.knowledge import AttackerKnowledge
    from recgauntlet.threats.victim import Victim

HalfArray = npt.NDArray[np.float16]
Card = TypeVar("Card", EmbeddingThreat, TextThreat, HistoryThreat)


class ThreatModel(ABC, Generic[Card]):
    """The behaviour of one kind of threat; `card` holds the limits that a task sets.

    What only depends on the surface is a class method, so that it works on records whose task is not installed.
    """

    surface: ClassVar[Surface]
    is_discrete: ClassVar[bool]
    """Whether the budget counts whole things (words, items), whose change can be written down as edits."""
    unit: ClassVar[str]
    """What the budget counts, in the plural; empty for a radius."""
    changes_user: ClassVar[bool] = False
    """Whether a change is one of the user, which all candidates of an impression share."""
    edits_text: ClassVar[bool] = False
    """Whether the candidate's text is edited, so that it can be asked how natural an edit is."""

    def __init__(self, card: Card) -> None:
        self.card: Card = card

    @classmethod
    def of(cls, budget: Budget) -> Self:
        """The threat model of a budget; TypeError where the budget is one of another surface."""
        if budget.threat.surface != cls.surface:
            raise TypeError(f"an attack on {cls.surface} cannot work inside the threat {budget.threat.id}")
        return cls(budget.threat)  # type: ignore[arg-type]  # the surface tells the card's class

    # --- evaluation ---

    def unbounded(self) -> Budget | None:
        """A budget within which an attacker can show anything; None where words or items are counted."""
        return None

    @property
    def promotes_by_text(self) -> bool:
        """Whether the attacker writes one text for all users, to lift an item in their lists."""
        return False

    # --- inputs and verification ---

    @classmethod
    @abstractmethod
    def changed(cls, catalog: Catalog, clean: Batch, perturbed: Batch) -> Tensor:
        """`[B]` bool: which examples differ on this surface."""

    def has_legal_input(self, world: AttackerKnowledge, batch: Batch, budget: Budget) -> Tensor:
        """`[B]` bool, on the CPU: the clean examples that have a legal input beside themselves."""
        import torch

        return torch.ones(len(batch), dtype=torch.bool)

    @classmethod
    def clean_input(cls, catalog: Catalog, batch: Batch) -> Batch:
        """The clean batch as models see it under this threat."""
        return batch

    @classmethod
    @abstractmethod
    def unchanged(cls, model: Recommender, catalog: Catalog, clean: Batch) -> Batch:
        """The clean batch, handed to the model in the form of a perturbed one."""

    @classmethod
    @abstractmethod
    def put(cls, catalog: Catalog, batch: Batch, rows: Tensor, other: Batch) -> Batch:
        """`batch` with the examples at `rows [K]` perturbed as the `K` of `other` are."""

    @classmethod
    @abstractmethod
    def to_tensor(cls, catalog: Catalog, batch: Batch) -> Tensor:
        """What this surface holds of all examples, to be written to a file."""

    @classmethod
    @abstractmethod
    def from_tensor(cls, clean: Batch, held: Tensor) -> Batch:
        """The perturbed batch that `to_tensor` gave `held` of."""

    def rescaled(self, batch: Batch, theirs: EmbeddingScale, ours: EmbeddingScale) -> Batch:
        """Inputs found for a model of the scale `theirs`, for one of the scale `ours`."""
        return batch

    @abstractmethod
    def faults(
        self, world: AttackerKnowledge, scale: EmbeddingScale, budget: Budget, clean: Batch, perturbed: Batch
    ) -> list[str]:
        """Why each of `B` perturbed inputs (on the CPU) breaks the rule of this threat; empty where it is legal."""

    def touched(self, catalog: Catalog, batch: Batch, budget: Budget) -> Tensor:
        """`[B]` int64, on the CPU: how many words or items of each clean example an attacker can touch within
        `budget`; ValueError where nothing can be counted."""
        raise ValueError(f"changes of the {self.surface} cannot be counted")

    # --- gradient handle ---

    @classmethod
    def gradient(cls, victim: Victim, batch: Batch) -> tuple[Tensor, Tensor, float]:
        """Logits `[B]`, their gradient with respect to the surface's continuous handle `[B, L, D]`, and the mean norm
        of one vector of the handle: the candidate's embeddings, where no other is given. One query each."""
        logits, gradient, _ = victim.embedding_gradient(batch)
        return logits, gradient, victim.scale.norm

    @classmethod
    def shifted_scores(cls, model: Recommender, batch: Batch, step: Tensor) -> Tensor:
        """Logits `[B]` with `step [B, L, D]` added to the continuous handle; one pass, nothing counted."""
        from recgauntlet.core.scoring import score_batch

        return score_batch(model, batch.with_delta(step))

    # --- evidence ---

    @classmethod
    def edits(cls, catalog: Catalog, clean: Batch, perturbed: Batch, row: int) -> tuple[Edit, ...]:
        """The edits of the example at `row` of two batches of the same examples; none where embeddings move."""
        return ()

    @classmethod
    def rebuilt(cls, catalog: Catalog, clean: Batch, edits: Sequence[Sequence[Edit]]) -> Batch:
        """The perturbed batch that `edits`, one list an example, make of `clean`: the inverse of `edits`. They must be
        without `edit_fault`."""
        return clean

    @classmethod
    def unseen(cls, catalog: Catalog, clean: Batch, edits: Sequence[Sequence[Edit]], rng: Randomness) -> Batch:
        """Inputs that nobody has seen and that `edits`, one list an example, fit as they fit `clean`: what is edited is
        kept, the rest is drawn from the catalog."""
        return clean

    @classmethod
    def edit_fault(cls, catalog: Catalog, clean: Batch, row: int, edits: Sequence[Edit]) -> str:
        """Why `edits` cannot be applied to the example at `row` (no such place, no such item); else empty."""
        return place_fault(edits, 0)

    @classmethod
    def evidence_input(cls, catalog: Catalog, batch: Batch, row: int, edits: Sequence[Edit]) -> dict[str, Any]:
        """The clean input at `row` as the fields of a record's `Evidence`: `before`, and where it has them `candidate`
        and `edits` with titles. Contains texts of the catalog."""
        return {}

    def as_kept(self, catalog: Catalog, scale: EmbeddingScale, budget: Budget, clean: Batch, perturbed: Batch) -> Batch:
        """`perturbed` as it can be rebuilt from what evidence keeps of it."""
        return perturbed

    def kept_deltas(self, scale: EmbeddingScale, budget: Budget, perturbed: Batch) -> tuple[HalfArray, float] | None:
        """The changes of embeddings `[B, L, D]` that evidence keeps, as half floats of a unit, and that unit; None
        where edits are kept instead."""
        return None

    # --- tuning ---

    @property
    def judges_tuning(self) -> bool:
        """Whether tuned methods are judged under this threat: where it is ranked."""
        return self.card.ranked

    # --- wording ---

    @classmethod
    @abstractmethod
    def axis(cls, by_characters: bool = False) -> str:
        """The label of an axis of budgets."""

    @classmethod
    def amount_text(cls, amount: float, characters: int = 0) -> str:
        """One budget: "2 words or 4 characters"."""
        return f"{amount:g} {cls.unit}".rstrip()

    @classmethod
    @abstractmethod
    def budget_text(cls, amounts: Sequence[float], characters: Sequence[int] = (), card: Threat | None = None) -> str:
        """The budgets of all tiers: "1 / 2 / 4 words". `card`: the threat's card where it is known."""

    def limits(self) -> list[str]:
        """What the verifier checks besides the amount, one phrase each."""
        return []


def place_fault(edits: Sequence[Edit], count: int) -> str:
    """Why `edits` do not fit an input of `count` words or items; else empty."""
    for edit in edits:
        if not 0 <= edit.at <= (count if edit.op == "insert" else count - 1):
            return f"an edit ({edit.op}) stands at place {edit.at} of {count}"
    return ""


def slashed(numbers: Sequence[float]) -> str:
    """ "1 / 2 / 4"."""
    return " / ".join(f"{number:g}" for number in numbers)

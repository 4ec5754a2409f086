"""The threat to a candidate's embeddings: they move inside a ball.

Every value of the change is finite, and its L2 norm over the whole candidate (or its largest element) is at most
`amount` times the model's own scale, to a relative 1e-4 for rounding.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from recgauntlet.core.card import EmbeddingThreat, Threat
from recgauntlet.core.protocol import UNLIMITED
from recgauntlet.core.types import Surface
from recgauntlet.threats.base import HalfArray, ThreatModel, slashed
from recgauntlet.threats.budget import Budget

if TYPE_CHECKING:
    from torch import Tensor

    from recgauntlet.core.batch import Batch
    from recgauntlet.core.dataset import Catalog
    from recgauntlet.core.recommender import Recommender
    from recgauntlet.threats.embedding_scale import EmbeddingScale
    from recgauntlet.threats.knowledge import AttackerKnowledge

Norm = Literal["l2", "linf"]
TOLERANCE = 1e-4
"""Relative slack on a norm, for rounding."""


class EmbeddingThreatModel(ThreatModel[EmbeddingThreat]):
    """The candidate's embeddings move inside a ball whose radius is relative to the model's own mean norm."""

    surface: ClassVar[Surface] = "embedding"
    is_discrete: ClassVar[bool] = False
    unit: ClassVar[str] = ""

    def ball(self, amount: float, scale: EmbeddingScale) -> tuple[Norm, float]:
        """The norm and the radius of the ball of relative radius `amount` for a model of `scale`."""
        return self.card.norm, amount * (scale.norm if self.card.norm == "l2" else scale.rms)

    def unbounded(self) -> Budget:
        return replace(Budget.of(self.card, "high"), amount=UNLIMITED)

    def relative_size(self, delta: Tensor, scale: EmbeddingScale) -> Tensor:
        """`[B]`: the norms of the changes `delta [B, L, D]` in the unit of `amount`."""
        _, unit = self.ball(1.0, scale)
        flat = delta.flatten(1)
        size = flat.norm(dim=1) if self.card.norm == "l2" else flat.abs().amax(dim=1)
        return size / unit

    @classmethod
    def changed(cls, catalog: Catalog, clean: Batch, perturbed: Batch) -> Tensor:
        return _moved(clean, perturbed).ne(0).flatten(1).any(dim=1)

    @classmethod
    def unchanged(cls, model: Recommender, catalog: Catalog, clean: Batch) -> Batch:
        import torch

        with torch.no_grad():
            embedded = model.embed(model.candidates(clean.items))
        return clean.with_delta(torch.zeros_like(embedded))

    @classmethod
    def put(cls, catalog: Catalog, batch: Batch, rows: Tensor, other: Batch) -> Batch:
        from recgauntlet.core.scoring import fit

        if other.delta is None:
            return batch
        old = other.delta.new_zeros((len(batch), 1, other.delta.shape[2])) if batch.delta is None else batch.delta
        width = max(old.shape[1], other.delta.shape[1])
        delta = fit(old, width).clone()
        delta[rows] = fit(other.delta, width)
        return batch.with_delta(delta)

    @classmethod
    def to_tensor(cls, catalog: Catalog, batch: Batch) -> Tensor:
        return batch.labels.new_zeros((len(batch), 1, 1)) if batch.delta is None else batch.delta

    @classmethod
    def from_tensor(cls, clean: Batch, held: Tensor) -> Batch:
        return clean.with_delta(held)

    def rescaled(self, batch: Batch, theirs: EmbeddingScale, ours: EmbeddingScale) -> Batch:
        (_, ours_radius), (_, their_radius) = self.ball(1.0, ours), self.ball(1.0, theirs)
        ratio = ours_radius / their_radius if their_radius > 0 else 0.0
        return batch if batch.delta is None else batch.with_delta(batch.delta * ratio)

    def faults(
        self, world: AttackerKnowledge, scale: EmbeddingScale, budget: Budget, clean: Batch, perturbed: Batch
    ) -> list[str]:
        moved = _moved(clean, perturbed).flatten(1)
        norm, radius = self.ball(budget.amount, scale)
        size = moved.norm(dim=1) if norm == "l2" else moved.abs().amax(dim=1)
        out = []
        for finite, value in zip(moved.isfinite().all(dim=1).tolist(), size.tolist(), strict=True):
            if not finite:
                out.append("the embedding change is not finite")
            elif value > radius * (1 + TOLERANCE):
                out.append(f"the {norm} norm of the embedding change is {value:.6g}, more than {radius:.6g}")
            else:
                out.append("")
        return out

    def as_kept(self, catalog: Catalog, scale: EmbeddingScale, budget: Budget, clean: Batch, perturbed: Batch) -> Batch:
        """Evidence keeps half floats."""
        import torch

        if perturbed.delta is None:
            return perturbed
        unit = self._unit(scale, budget)
        kept = half_floats(perturbed.delta, unit).astype(np.float32) * np.float32(unit)
        return perturbed.with_delta(torch.from_numpy(kept).to(perturbed.delta.device))

    def kept_deltas(self, scale: EmbeddingScale, budget: Budget, perturbed: Batch) -> tuple[HalfArray, float] | None:
        import torch

        # a model that draws at inference may err without any change
        delta = perturbed.delta if perturbed.delta is not None else torch.zeros((len(perturbed), 1, 1))
        used = torch.nonzero(delta.ne(0).any(dim=2).any(dim=0))
        width = int(used.max()) + 1 if len(used) else 1  # padding behind the longest is left out
        unit = self._unit(scale, budget)
        return half_floats(delta[:, :width], unit), unit

    def _unit(self, scale: EmbeddingScale, budget: Budget) -> float:
        """The power of two next to the radius: half floats of it are fine enough whatever the model's scale is."""
        _, radius = self.ball(budget.amount, scale)
        return 2.0 ** math.floor(math.log2(radius)) if radius > 0 and math.isfinite(radius) else 1.0

    @property
    def judges_tuning(self) -> bool:
        """The L2 ball too, which every model with embeddings has."""
        return self.card.ranked or self.card.norm == "l2"

    @classmethod
    def axis(cls, by_characters: bool = False) -> str:
        return "radius, relative to the model’s own embeddings"

    @classmethod
    def budget_text(cls, amounts: Sequence[float], characters: Sequence[int] = (), card: Threat | None = None) -> str:
        norm = card.norm if isinstance(card, EmbeddingThreat) else ""
        if norm == "linf":
            return f"L∞ distance at most {slashed(amounts)} × the root mean square of the model’s embeddings"
        l2 = " (L2)" if norm == "l2" else ""
        return f"distance at most {slashed(amounts)} × the mean norm of the model’s embeddings{l2}"


def half_floats(delta: Tensor, unit: float) -> HalfArray:
    """`delta / unit` in half floats, rounded towards 0: a norm never grows."""
    exact = delta.detach().cpu().numpy().astype(np.float64) / unit
    with np.errstate(over="ignore"):
        halves = exact.astype(np.float16)
    too_large = np.abs(halves.astype(np.float64)) > np.abs(exact)
    return np.where(too_large, np.nextafter(halves, np.float16(0)), halves)


def _moved(clean: Batch, perturbed: Batch) -> Tensor:
    """`[B, L, D]`: what the perturbed batch adds to the embeddings beyond the clean one; `[B, 1, 1]` zeros if
    nothing."""
    import torch

    deltas = [batch.delta for batch in (perturbed, clean)]
    known = [delta for delta in deltas if delta is not None]
    if not known:
        return torch.zeros((len(clean), 1, 1))
    width, size = max(d.shape[1] for d in known), max(d.shape[2] for d in known)
    total = torch.zeros((len(clean), width, size), dtype=torch.float64, device=known[0].device)
    for delta, sign in zip(deltas, (1.0, -1.0), strict=True):
        if delta is not None:
            total[:, : delta.shape[1], : delta.shape[2]] += sign * delta.double()
    return total

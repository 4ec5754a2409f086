"""Accounting of what an attack asks of a victim, and a cache of the victim's scores."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

import torch
from torch import Tensor

from recgauntlet.core.batch import Batch

MOST = 2**20
"""Scores that are kept, about 200 MB; then all are forgotten."""


@dataclass
class Effort:
    """What was asked of a victim: scored inputs (`queries`), passes of the model over inputs, user encodings and how
    many a cache saved."""

    queries: int = 0
    forwards: int = 0
    backwards: int = 0
    user_encodings: int = 0
    cache_hits: int = 0
    seconds: float = 0.0

    def add(self, other: Effort) -> None:
        """Count the work of `other` too (an attack that asks a second model)."""
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)


@dataclass
class KnownScores:
    """Logits by everything that a model may read of an input: the example, its user, history, candidate and text.
    Searches at rising budgets ask for many inputs again.

    Perturbed embeddings have no key: two attacks never meet at one point of a continuum.
    """

    most: int = MOST
    _logits: dict[bytes, float] = field(default_factory=dict)

    def keys(self, batch: Batch) -> list[bytes]:
        """What tells the batch's inputs apart: a digest of 16 bytes for each."""
        ids = torch.stack([batch.example_ids, batch.users.ids[batch.rows], batch.items], dim=1)
        table = torch.cat([ids, batch.histories()], dim=1).cpu().contiguous()
        width = table.element_size() * table.shape[1]
        rows = table.numpy().tobytes()
        texts = batch.texts or [""] * len(batch)
        inputs = (
            rows[at * width : (at + 1) * width] + text.encode("utf-8", "surrogatepass") for at, text in enumerate(texts)
        )
        return [hashlib.blake2b(read, digest_size=16).digest() for read in inputs]

    def find(self, keys: list[bytes]) -> tuple[Tensor, Tensor]:
        """On the CPU: the known logits of `keys`, `[K]`, and which of them are known, `[K]`."""
        found = [self._logits.get(key) for key in keys]
        known = torch.tensor([logit is not None for logit in found], dtype=torch.bool)
        return torch.tensor([0.0 if logit is None else logit for logit in found]), known

    def keep(self, keys: list[bytes], logits: Tensor) -> None:
        """Remember `logits [K]` of `keys`."""
        if len(self._logits) + len(keys) > self.most:
            self._logits.clear()
        self._logits.update(zip(keys, logits.tolist(), strict=True))

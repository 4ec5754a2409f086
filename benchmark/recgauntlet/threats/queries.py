"""Accounting of what an attack asks of a victim, and a cache of the victim's scores."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import torch

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

    history_limit
        How many of a history's newest items the model reads; None for all.
    """

    most: int = MOST
    history_limit: int | None = None
    _logits: dict[bytes, float] = field(default_factory=dict)

    def keys(self, batch: Batch) -> list[bytes]:
        """What tells the batch's inputs apart: a digest of 16 bytes for each."""
        ids = torch.stack([batch.example_ids, batch.users.ids[batch.rows], batch.items], dim=1)
        histories = batch.histories()
        if self.history_limit is not None:
            histories = histories[:, -self.history_limit :]
        table = torch.cat([ids, histories], dim=1).cpu().contiguous()
        width = table.element_size() * table.shape[1]
        rows = table.numpy().tobytes()
        texts = batch.texts or [""] * len(batch)
        inputs = (
            rows[at * width : (at + 1) * width] + text.encode("utf-8", "surrogatepass") for at, text in enumerate(texts)
        )
        return [hashlib.blake2b(read, digest_size=16).digest() for read in inputs]

    def find(self, keys: Iterable[bytes]) -> dict[bytes, float]:
        """Those of `keys` that are known, with their logits."""
        return {key: self._logits[key] for key in keys if key in self._logits}

    def keep(self, logits: Mapping[bytes, float]) -> None:
        """Remember the logits of keys."""
        if len(self._logits) + len(logits) > self.most:
            self._logits.clear()
        self._logits.update(logits)

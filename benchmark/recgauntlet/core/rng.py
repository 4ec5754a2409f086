"""Explicit randomness: one generator a purpose, derived from (seed, purpose, ids) and nothing else.

Because a stream depends only on what it is for, batch size, order and device do not change what is drawn. torch is
imported where it draws, so that what draws with numpy alone does not wait for it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch
    from torch import Tensor


def derive(seed: int, purpose: str, *ids: int) -> int:
    """A 63-bit seed for `purpose` and `ids`, the same on every machine (SHA-256)."""
    text = "|".join([str(seed), purpose, *map(str, ids)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1


@dataclass(frozen=True)
class Randomness:
    """The source of all draws for one purpose.

    seed
        Of the run.
    purpose
        What the draws are for.
    """

    seed: int
    purpose: str

    def child(self, purpose: str) -> Randomness:
        """The source for a part of this purpose."""
        return Randomness(self.seed, f"{self.purpose}/{purpose}")

    def numpy(self, *ids: int) -> np.random.Generator:
        """A numpy generator for the thing that `ids` names (an example, an epoch)."""
        return np.random.default_rng(derive(self.seed, self.purpose, *ids))

    def torch(self, *ids: int) -> torch.Generator:
        """A CPU torch generator for the thing that `ids` names."""
        import torch

        return torch.Generator().manual_seed(derive(self.seed, self.purpose, *ids))

    def normal(self, example_ids: Tensor, shape: tuple[int, ...]) -> Tensor:
        """Standard normal draws `[B, *shape]`, row b from the stream of `example_ids[b]` alone."""
        import torch

        rows = [torch.randn(shape, generator=self.torch(int(i))) for i in example_ids.tolist()]
        return torch.stack(rows) if rows else torch.empty((0, *shape))

"""What models of item sequences share: vectors of item ids, and the transformer of SASRec and BERT4Rec."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recgauntlet.core.batch import Candidates, Tokens, Users
from recgauntlet.core.recommender import Recommender
from recgauntlet.core.types import Surface


class ItemModel(Recommender):
    """A model that reads no text: an item is the vector that `vectors` has for its index."""

    surfaces: ClassVar[frozenset[Surface]] = frozenset({"history", "embedding"})
    items: nn.Embedding

    def tokenize(self, texts: Sequence[str]) -> Tokens:
        """One constant token a text."""
        ids = torch.zeros((len(texts), 1), dtype=torch.int64, device=self.device)
        return Tokens(ids, torch.ones_like(ids, dtype=torch.bool), ids)

    def vectors(self, items: Tensor) -> Tensor:
        """`[..., D]` of catalog indices `[...]`."""
        vectors: Tensor = self.items(items)
        return vectors

    def embed(self, candidates: Candidates) -> Tensor:
        return self.vectors(candidates.items).unsqueeze(1)

    def embed_history(self, users: Users) -> Tensor:
        return self.vectors(users.histories.clamp(min=0)) * (users.histories >= 0).unsqueeze(-1)


class Transformer(nn.Module):
    """Pre-norm transformer blocks over `[U, H, D]` with learned positions, counted from the newest item.

    Parameters
    ----------
    size, heads, blocks
        `D`, attention heads, and how many blocks.
    inner
        Hidden size of the feed-forward layers.
    length
        How many positions there are; items older than that are not read.
    causal
        Whether a place sees itself and older places alone.
    dropout
        On the input and on what every layer adds, in training only.
    """

    def __init__(
        self, size: int, *, heads: int, blocks: int, inner: int, length: int, causal: bool, dropout: float
    ) -> None:
        super().__init__()
        self.causal = causal
        self.positions = nn.Parameter(nn.init.normal_(torch.empty(length, size), std=0.1))
        self.blocks = nn.ModuleList(Block(size, heads, inner, dropout) for _ in range(blocks))
        self.norm = nn.LayerNorm(size)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor, *, newest_only: bool = False) -> Tensor:
        """`[U, H', D]`, `H'` the newest places of which any user has a real one (`mask [U, H]`); with `newest_only`
        `[U, 1, D]`, for which the last block computes no other place."""
        width = read_width(mask, len(self.positions))
        x, mask = x[:, -width:], mask[:, -width:]
        seen = mask[:, None, :].expand(-1, width, -1)
        if self.causal:
            seen = seen.tril()
        seen = seen | torch.eye(width, dtype=torch.bool, device=x.device)  # an empty place sees itself, not nothing
        x = self.dropout(x + self.positions[-width:])
        for number, block in enumerate(self.blocks, start=1):
            x = block(x, seen, newest_only=newest_only and number == len(self.blocks))
        normed: Tensor = self.norm(x[:, -1:] if newest_only else x)
        return normed


class Block(nn.Module):
    """`x + attention(norm(x))`, then `x + feed_forward(norm(x))`, each added under dropout."""

    def __init__(self, size: int, heads: int, inner: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm, self.inner_norm = nn.LayerNorm(size), nn.LayerNorm(size)
        self.query, self.key_value, self.out = nn.Linear(size, size), nn.Linear(size, 2 * size), nn.Linear(size, size)
        self.widen, self.narrow = nn.Linear(size, inner), nn.Linear(inner, size)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, seen: Tensor, *, newest_only: bool) -> Tensor:
        """`[U, H, D]`, or `[U, 1, D]` of the newest place; place i sees place j where `seen [U, H, H]` is true."""
        normed = self.attention_norm(x)
        if newest_only:
            x, seen = x[:, -1:], seen[:, -1:]
        query = self._split(self.query(normed[:, -x.shape[1] :]))
        key, value = map(self._split, self.key_value(normed).chunk(2, dim=-1))
        attended = F.scaled_dot_product_attention(query, key, value, attn_mask=seen[:, None])
        x = x + self.dropout(self.out(attended.transpose(1, 2).flatten(2)))
        changed: Tensor = x + self.dropout(self.narrow(F.gelu(self.widen(self.inner_norm(x)))))
        return changed

    def _split(self, x: Tensor) -> Tensor:
        """`[U, heads, H, D / heads]`."""
        return x.view(*x.shape[:2], self.heads, -1).transpose(1, 2)


def read_width(mask: Tensor, length: int) -> int:
    """How many of the newest places of `mask [U, H]` hold all that is real, at least 1 and at most `length`."""
    if torch.compiler.is_compiling():  # an exported graph cannot follow values
        return min(mask.shape[1], length)
    real = mask.any(dim=0)
    oldest = int(real.int().argmax()) if bool(real.any()) else mask.shape[1] - 1
    return min(mask.shape[1] - oldest, length)

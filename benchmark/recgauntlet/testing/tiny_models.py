"""Two recommenders of a few hundred weights, of titles and of item ids: for the checks of defenses and attacks."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from recgauntlet.core.batch import Candidates, Tokens, Users, UserState
from recgauntlet.core.dataset import Catalog
from recgauntlet.core.recommender import Recommender
from recgauntlet.core.types import PAD, Surface
from recgauntlet.testing.tiny import SHORT

BUCKETS = 251


class TinyTitles(Recommender):
    """Hashed words, pooled by a gate into an item; a user is a linear map of the mean of the items; a dot product."""

    surfaces: ClassVar[frozenset[Surface]] = frozenset({"candidate-text", "history", "embedding"})
    recipe = SHORT

    def __init__(self, catalog: Catalog, *, token_length: int, size: int = 8) -> None:
        super().__init__(catalog, token_length=token_length)
        self.size = size
        self.words = nn.Embedding(BUCKETS, size, padding_idx=0)
        self.gate = nn.Linear(size, 1)
        self.out = nn.Linear(size, size)
        self.taste = nn.Linear(size, size)
        self.offset = nn.Parameter(torch.zeros(()))

    def tokenize(self, texts: Sequence[str]) -> Tokens:
        return hashed_tokens(texts, self.token_length).to(self.device)

    def embed(self, candidates: Candidates) -> Tensor:
        embedded: Tensor = self.words(candidates.tokens.ids)
        return embedded

    def score(self, user: UserState, candidates: Candidates, embeddings: Tensor | None = None) -> Tensor:
        embedded = self.embed(candidates) if embeddings is None else embeddings
        return (user.tensors[0] * self._pooled(embedded, candidates.tokens.mask)).sum(dim=1) + self.offset

    def embed_history(self, users: Users) -> Tensor:
        tokens = self.catalog_tokens().select(users.histories.clamp(min=0).flatten())
        return self._pooled(self.words(tokens.ids), tokens.mask).view(*users.histories.shape, -1)

    def encode_user(self, users: Users, embeddings: Tensor | None = None) -> UserState:
        items = self.embed_history(users) if embeddings is None else embeddings
        return UserState((self.taste(masked_mean(items, users.histories != PAD)),))

    def _pooled(self, embedded: Tensor, mask: Tensor) -> Tensor:
        weight = self.gate(embedded.tanh()).squeeze(-1).masked_fill(~mask, -1e9).softmax(dim=1)
        pooled: Tensor = self.out((weight.unsqueeze(-1) * embedded).sum(dim=1))
        return pooled.tanh()


class TinyItems(Recommender):
    """A vector an item, whatever it is called; a user is the mean of the items taken; a dot product."""

    surfaces: ClassVar[frozenset[Surface]] = frozenset({"history", "embedding"})
    recipe = SHORT

    def __init__(self, catalog: Catalog, *, token_length: int, size: int = 8) -> None:
        super().__init__(catalog, token_length=token_length)
        self.size = size
        self.items = nn.Embedding(len(catalog), size)
        self.offset = nn.Parameter(torch.zeros(()))

    def tokenize(self, texts: Sequence[str]) -> Tokens:
        return hashed_tokens(texts, self.token_length).to(self.device)

    def embed(self, candidates: Candidates) -> Tensor:
        embedded: Tensor = self.items(candidates.items)
        return embedded.unsqueeze(1)

    def score(self, user: UserState, candidates: Candidates, embeddings: Tensor | None = None) -> Tensor:
        embedded = self.embed(candidates) if embeddings is None else embeddings
        return (user.tensors[0] * embedded[:, 0]).sum(dim=1) + self.offset

    def embed_history(self, users: Users) -> Tensor:
        embedded: Tensor = self.items(users.histories.clamp(min=0))
        return embedded

    def encode_user(self, users: Users, embeddings: Tensor | None = None) -> UserState:
        items = self.embed_history(users) if embeddings is None else embeddings
        return UserState((masked_mean(items, users.histories != PAD),))


def hashed_tokens(texts: Sequence[str], length: int) -> Tokens:
    """A token a word, its number a checksum; an empty text is one unknown word."""
    rows = [[1 + zlib.crc32(word.lower().encode()) % (BUCKETS - 1) for word in text.split()] or [1] for text in texts]
    rows = [row[:length] for row in rows]
    width = max(map(len, rows), default=1)
    ids = torch.tensor([row + [0] * (width - len(row)) for row in rows], dtype=torch.int64).view(len(rows), width)
    mask = ids > 0
    return Tokens(ids, mask, torch.where(mask, torch.arange(width), PAD))


def masked_mean(vectors: Tensor, mask: Tensor) -> Tensor:
    """`[B, D]`: the mean of `[B, N, D]` over the places in `mask [B, N]`; zeros where there is none."""
    return (vectors * mask.unsqueeze(-1)).sum(dim=1) / mask.sum(dim=1, keepdim=True).clamp(min=1)

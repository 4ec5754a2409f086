"""Two recommenders of a few hundred weights, of titles and of item ids, and how tiny models are built and compared."""

from __future__ import annotations

import tempfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from recgauntlet.core.batch import Candidates, Tokens, Users, UserState
from recgauntlet.core.dataset import Catalog, TaskData
from recgauntlet.core.plugins import Plugin
from recgauntlet.core.recommender import Recommender
from recgauntlet.core.rng import Randomness
from recgauntlet.core.types import PAD, Scalar, Surface
from recgauntlet.testing.tiny import SHORT, TOKENS
from recgauntlet.training.build import build_model
from recgauntlet.training.checkpoint import load_weights
from recgauntlet.training.defense import TrainingContext
from recgauntlet.training.trainer import AdamWTrainer

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


def tiny_model(
    kind: type[Recommender], data: TaskData, seed: int = 0, options: Mapping[str, Scalar] | None = None
) -> Recommender:
    """An untrained model in training mode."""
    return build_model(Plugin(kind.__name__, kind, "", ""), data, TOKENS, dict(options or {}), seed).train()


def trainer_at(model: Recommender, progress: float = 0.75) -> AdamWTrainer:
    """A trainer of 20 steps that has come as far as `progress`: by default to where warm-ups are over."""
    trainer = AdamWTrainer(model, 20, Randomness(0, "conformance"), "fp32")
    trainer.context = TrainingContext(round(20 * progress), progress, trainer.context.rng)
    return trainer


def weights_of(model: Recommender) -> dict[str, Tensor]:
    """A copy of all weights and buffers."""
    return {name: value.detach().cpu().clone() for name, value in model.state_dict().items()}


def differing(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> list[str]:
    """The names of weights that are not the same bit for bit."""
    names = sorted(first.keys() | second.keys())
    return [n for n in names if n not in first or n not in second or not torch.equal(first[n], second[n])]


def reload(model: Recommender, other: Recommender) -> Recommender:
    """`other` in evaluation mode with the weights of `model`, which went through a file."""
    with tempfile.TemporaryDirectory(prefix="recgauntlet-check-") as folder:
        path = Path(folder, "weights.safetensors")
        save_file({name: value.contiguous() for name, value in weights_of(model).items()}, path)
        load_weights(other, path)
    return other.eval()

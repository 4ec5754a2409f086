"""A recommender whose score is linear in the candidate's word vectors, and in those of the history."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from recgauntlet.core.batch import Users, UserState
from recgauntlet.core.dataset import Catalog
from recgauntlet.core.recommender import TrainingRecipe
from recgauntlet_baselines.models._layers import TitleModel
from recgauntlet_baselines.models._vocabulary import word_inputs


class LinearTitles(TitleModel):
    """The dot product of the candidate's mean word and the mean title of the history."""

    recipe = TrainingRecipe(epochs=6, batch_size=256, learning_rate=8e-3, weight_decay=1e-4, patience=2)

    def __init__(self, catalog: Catalog, *, token_length: int, word_size: int = 64) -> None:
        super().__init__(catalog, token_length=token_length)
        self._tokenize, self.words = word_inputs(catalog, token_length, word_size)
        self.log_scale = nn.Parameter(torch.tensor(-0.5 * math.log(word_size)))
        self.offset = nn.Parameter(torch.zeros(()))

    def encode_user(self, users: Users, embeddings: Tensor | None = None) -> UserState:
        titles = self.embed_history(users) if embeddings is None else embeddings
        return UserState((_mean(titles, users.histories >= 0),))

    def item_vectors(self, items: Tensor, embedded: Tensor, mask: Tensor) -> Tensor:
        return _mean(embedded, mask)


def _mean(vectors: Tensor, mask: Tensor) -> Tensor:
    """`[B, D]`: the mean of `vectors [B, N, D]` over the places in `mask [B, N]`."""
    real = mask.unsqueeze(-1)
    return (vectors * real).sum(dim=1) / real.sum(dim=1).clamp(min=1)

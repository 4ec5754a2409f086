"""Histories in which weighted sums of item vectors stand in the place of single items (Yue et al. 2022)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from recgauntlet.core.batch import Batch, Users
from recgauntlet.core.recommender import Recommender
from recgauntlet.core.types import PAD


@dataclass(frozen=True)
class Places:
    """`P` places of histories `[U, H]`: row `users[p]`, column `columns[p]`, both `[P]`."""

    users: Tensor
    columns: Tensor

    def put(self, histories: Tensor, vectors: Tensor) -> Tensor:
        """Embedded histories `[U, H, D]` with `vectors [P, D]` at the places."""
        return histories.index_put((self.users, self.columns), vectors)


def chosen_places(histories: Tensor, draws: Tensor, ratio: float) -> Places:
    """The share `ratio` of each history's items (rounded down, at least one) whose `draws [U, H]` are smallest."""
    real = histories != PAD
    count = real.sum(dim=1, keepdim=True)
    # 0.3 * 10 is a little below 3 in some formats
    wanted = torch.minimum((ratio * count.double() + 1e-9).floor().clamp(min=1), count)
    rank = draws.masked_fill(~real, torch.inf).argsort(dim=1, stable=True).argsort(dim=1, stable=True)
    users, columns = torch.nonzero(real & (rank < wanted), as_tuple=True)
    return Places(users, columns)


def item_vectors(model: Recommender, items: Tensor) -> Tensor:
    """`[N, D]`: what stands in a history for each of the catalog indices `items [N]`."""
    one = items.unsqueeze(1)
    return model.embed_history(Users(torch.zeros_like(items), one))[:, 0]


def mixed(vectors: Tensor, items: Tensor, weights: Tensor) -> Tensor:
    """`[P, D]`: the sums of the rows `items [P, K]` of `vectors [N, D]`, weighted by `weights [P, K]`."""
    return F.embedding_bag(items, vectors, mode="sum", per_sample_weights=weights.to(vectors.dtype))


def loss_at(model: Recommender, batch: Batch, embedded: Tensor) -> Tensor:
    """The model's own loss where the users' embedded histories are `embedded [U, H, D]`."""
    state = model.encode_user(batch.users, embedded)
    scores = model.score(state.select(batch.rows), model.candidates(batch.items, batch.texts))
    return model.click_loss(scores, batch)

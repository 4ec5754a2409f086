"""ItemKNN: items that the users of the history's items took too (Deshpande and Karypis 2004)."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import numpy.typing as npt
import torch
from scipy.sparse import csr_array
from torch import Tensor
from torch.nn import functional as F

from recgauntlet.core.batch import Candidates, Users, UserState
from recgauntlet.core.dataset import Catalog, Pairs, TrainingPeriod
from recgauntlet.core.recommender import TrainingRecipe
from recgauntlet.core.references import bibtex
from recgauntlet.core.search_space import Between, OneOf, SearchSpace
from recgauntlet.core.types import Surface
from recgauntlet_baselines.models._collaborative import ItemIds, edges, over_root


class ItemKNN(ItemIds):
    """`x(h, i) = |h|^-1/2 * sum_{j in h} s(j, i)`, where `s(j, i)` is the cosine of two items over the users of the
    training pairs if `i` is one of the `neighbours` items most similar to `j`, else 0.

    `s(j, i) = users of both / (root of users of j * root of users of i + shrinkage)`.

    Deviations from the paper: similarities are shrunk, because two items of one common user are not alike; rows are not
    normalized to one length, which was an option there; of equally similar items the first in the catalog are kept. The
    root of the history's length makes scores of different users comparable.

    `x` counts from its mean over the training pairs, in its standard deviations there. Where 0 lies is then learned
    like the weights of any model: one epoch of the binary cross-entropy on the training pairs chooses a scale and an
    offset, the only two weights.

    The handle of the embedding surface is the candidate's `s(., i)`, one number for each item of the catalog; that of
    the history is the item as a vector with a single 1.

    Parameters
    ----------
    neighbours
        How many items a history item proposes.
    shrinkage
        Added to the product of the two roots.
    """

    citation = bibtex("deshpande2004item", "sarwar2001item")
    surfaces: ClassVar[frozenset[Surface]] = frozenset({"history", "embedding"})
    search_space: ClassVar[SearchSpace] = {
        "neighbours": OneOf((20, 50, 100, 200, 400)),
        "shrinkage": Between(0.0, 100.0),
    }
    recipe = TrainingRecipe(epochs=1, batch_size=256, learning_rate=5e-2)

    proposed_by: Tensor
    center: Tensor
    spread: Tensor

    def __init__(self, catalog: Catalog, *, token_length: int, neighbours: int = 100, shrinkage: float = 10.0) -> None:
        super().__init__(catalog, token_length=token_length)
        self.neighbours = neighbours
        self.shrinkage = shrinkage

    def prepare(self, training: TrainingPeriod) -> None:
        """Similarities `[N, N]`, row i holding those of which item i is a neighbour; they are data, not weights."""
        similarity = nearest(training.pairs, len(self.catalog), self.neighbours, self.shrinkage)
        self.register_buffer("proposed_by", torch.from_numpy(similarity.T.copy()), persistent=False)
        pairs = training.pairs
        weights = _weights(torch.from_numpy(pairs.histories))
        scores = torch.cat(
            [
                self._sums(torch.from_numpy(items), torch.from_numpy(pairs.histories), weights)
                for items in (pairs.clicked, pairs.unclicked)
            ]
        )
        self.register_buffer("center", scores.mean(), persistent=False)
        spread = scores.std(correction=0).clamp(min=torch.finfo(scores.dtype).eps)
        self.register_buffer("spread", spread, persistent=False)

    def embed(self, candidates: Candidates) -> Tensor:
        """`[B, 1, N]`."""
        return self.proposed_by[candidates.items].unsqueeze(1)

    def embed_history(self, users: Users) -> Tensor:
        """`[U, H, N]`."""
        return F.one_hot(users.histories.clamp(min=0), len(self.catalog)).to(self.proposed_by.dtype)

    def encode_user(self, users: Users, embeddings: Tensor | None = None) -> UserState:
        """The history and its weights `[U, H]`; where `embeddings` are given, their weighted sum `[U, N]`."""
        if embeddings is not None:
            return UserState((over_root(embeddings, users.histories >= 0),))
        return UserState((users.histories.clamp(min=0), _weights(users.histories).to(self.proposed_by.dtype)))

    def score(self, user: UserState, candidates: Candidates, embeddings: Tensor | None = None) -> Tensor:
        if len(user.tensors) == 1:
            items = self.embed(candidates) if embeddings is None else embeddings
            found = (user.tensors[0] * items[:, 0]).sum(dim=1)
        elif embeddings is not None:
            histories, weights = user.tensors
            found = (embeddings[:, 0].gather(1, histories) * weights).sum(dim=1)
        else:
            found = self._sums(candidates.items, *user.tensors)
        return self.calibrated((found - self.center) / self.spread)

    def _sums(self, items: Tensor, histories: Tensor, weights: Tensor) -> Tensor:
        """`[B]`: `x` of `items [B]` before it is centred."""
        return (self.proposed_by[items.unsqueeze(1), histories.clamp(min=0)] * weights).sum(dim=1)


def _weights(histories: Tensor) -> Tensor:
    """`[U, H]`: what each place of a history weighs, 0 where there is no item."""
    there = (histories >= 0).float()
    return there * there.sum(dim=1, keepdim=True).clamp(min=1).rsqrt()


def nearest(pairs: Pairs, size: int, neighbours: int, shrinkage: float) -> npt.NDArray[np.float32]:
    """`[size, size]`: in row j the similarities of item j to its `neighbours` nearest, 0 elsewhere."""
    users, items = edges(pairs)
    shape = (int(users.max(initial=-1)) + 1, size)
    taken = csr_array((np.ones(len(users), dtype=np.float32), (users, items)), shape=shape)
    shared = (taken.T @ taken).toarray()
    roots = np.sqrt(np.diagonal(shared))
    np.fill_diagonal(shared, 0.0)
    # an item of no user shares none, so its row is 0 whatever it is divided by
    similarity = shared / np.maximum(np.outer(roots, roots) + shrinkage, np.finfo(np.float32).tiny)
    kept = np.argsort(-similarity, axis=1, kind="stable")[:, :neighbours]
    out = np.zeros_like(similarity, dtype=np.float32)
    np.put_along_axis(out, kept, np.take_along_axis(similarity, kept, axis=1), axis=1)
    return out

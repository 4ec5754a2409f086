"""LightGCN: embeddings smoothed over the interaction graph, without weights or nonlinearity (He et al. 2020)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recgauntlet.core.batch import Batch, Candidates, Users, UserState
from recgauntlet.core.dataset import Catalog, TrainingPeriod
from recgauntlet.core.recommender import TrainingRecipe
from recgauntlet.core.references import bibtex
from recgauntlet.core.search_space import Between, OneOf, SearchSpace
from recgauntlet_baselines.models._collaborative import PairwiseItems, above_drawn, edges, folded_in

SPREAD = 0.1
"""Standard deviation of the first weights."""


class LightGCN(PairwiseItems):
    """Simplified graph convolution for collaborative filtering (SIGIR 2020).

    Users and items are nodes, and an edge is what a user took in the training period. With `A` the adjacency,
    normalized to `1 / sqrt(d_u d_i)`, layers are `E_k = A E_(k-1)`, a node is the mean of its layers 0 to `layers`, and
    `x(u, i) = e_u . e_i`. BPR trains it, with a penalty on layer 0.

    Deviations from the paper. Most users of the test come after the training period, so every user is a new node whose
    edges are the history `h`, in training as in evaluation:

        e_u = 1 / (layers + 1) * sum_{j in h} (|h| d_j)^-1/2 * sum_{k < layers} E_k[j]

    which is the paper's vector where `h` is all that the user took in training, but for the user's own layer 0. A new
    user has none; had the known ones kept theirs, scores in training would run higher than those of new users, and 0
    would be no boundary for these. It still counts through the items: a user's layer 0 reaches `E_1[j]`. An item
    without edges keeps its layer 0 (`d = 1`). Two layers instead of three, AdamW instead of Adam; of the calibration
    and the drawing see `PairwiseItems`.

    The handle of the embedding surface is the smoothed `e_i`, not layer 0: a change is the candidate's own and does not
    spread over the graph. That of the history is the summand of `j` in `e_u`, without the roots of `|h|`.

    Parameters
    ----------
    size
        Coordinates of a vector.
    layers
        How often vectors are smoothed, at least 1.
    drawn
        Items drawn for each clicked one in every step.
    l2
        Weight of the squared norms of the layer 0 of a training pair's user and items.
    """

    citation = bibtex("he2020lightgcn", "rendle2009bpr")
    search_space: ClassVar[SearchSpace] = {
        "size": OneOf((16, 32, 64, 128)),
        "layers": Between(1, 4),
        "l2": Between(1e-5, 1e-2, log=True),
    }
    recipe = TrainingRecipe(epochs=12, batch_size=256, learning_rate=2e-2, patience=2)

    nodes: nn.Embedding
    neighbors: Tensor
    starts: Tensor
    weights: Tensor
    item_weights: Tensor

    def __init__(
        self, catalog: Catalog, *, token_length: int, size: int = 64, layers: int = 2, drawn: int = 4, l2: float = 1e-4
    ) -> None:
        super().__init__(catalog, token_length=token_length)
        self.size = size
        self.layers = layers
        self.drawn = drawn
        self.l2 = l2
        self._kept: _Smoothed | None = None

    def prepare(self, training: TrainingPeriod) -> None:
        """Layer 0 of users, then items; and the graph, which belongs to the data and not to the weights."""
        count = training.user_count + len(self.catalog)
        self.nodes = nn.Embedding(count, self.size)
        nn.init.normal_(self.nodes.weight, std=SPREAD)
        users, items = edges(training.pairs)
        ends = torch.from_numpy(np.stack([users, items + training.user_count]))
        degree = torch.bincount(ends.flatten(), minlength=count)
        root = degree.clamp(min=1).to(self.nodes.weight.dtype).rsqrt()
        source, target = torch.cat([ends, ends.flip(0)], dim=1)
        order = torch.argsort(source, stable=True)
        buffers = {
            "neighbors": target[order],
            "starts": degree.cumsum(0) - degree,
            "weights": (root[source] * root[target])[order],
            "item_weights": root[training.user_count :],
        }
        for name, buffer in buffers.items():
            self.register_buffer(name, buffer, persistent=False)

    def embed(self, candidates: Candidates) -> Tensor:
        """`[B, 1, size]`, smoothed."""
        return self._smoothed().items[candidates.items].unsqueeze(1)

    def embed_history(self, users: Users) -> Tensor:
        """`[U, H, size]`: what each item gives to its user, but for the root of the history's length."""
        return self._smoothed().given[users.histories.clamp(min=0)]

    def encode_user(self, users: Users, embeddings: Tensor | None = None) -> UserState:
        smoothed = self._smoothed()
        return self.state(folded_in(smoothed.given, users.histories, embeddings), smoothed.mean)

    def auxiliary_loss(self, batch: Batch, generator: torch.Generator) -> Tensor:
        places = torch.cat([batch.users.ids, batch.items + self._user_count])
        penalty: Tensor = self.l2 * self.nodes(places).square().sum() / len(batch.users)
        if self.drawn == 0:
            return penalty
        smoothed = self._smoothed()
        vectors = folded_in(smoothed.given, batch.users.histories)
        return penalty + above_drawn(vectors, smoothed.items, batch, self.drawn, generator)

    @property
    def _user_count(self) -> int:
        return self.nodes.num_embeddings - len(self.catalog)

    def _smoothed(self) -> _Smoothed:
        """Made anew where a gradient goes through it: a graph must not outlive its backward pass. Otherwise kept while
        layer 0 is what it was, which is looked at, because weights change in many ways (training, loading, moving)."""
        first = self.nodes.weight
        if first.requires_grad and torch.is_grad_enabled():
            return self._smooth()
        if self._kept is None or not _same(self._kept.first, first):
            self._kept = self._smooth()
        return self._kept

    def _smooth(self) -> _Smoothed:
        layer: Tensor = self.nodes.weight
        before = torch.zeros_like(layer)
        for _ in range(self.layers):
            before = before + layer
            layer = spread(layer, self.neighbors, self.starts, self.weights)
        share = 1.0 / (self.layers + 1)
        items = (before + layer)[self._user_count :] * share
        given = before[self._user_count :] * self.item_weights.unsqueeze(-1) * share
        return _Smoothed(self.nodes.weight.detach().clone(), given, items, items.mean(dim=0))


@dataclass(frozen=True)
class _Smoothed:
    """The layer 0 `[V, D]` it was made from; items as users get them and as they are scored `[N, D]`; their mean."""

    first: Tensor
    given: Tensor
    items: Tensor
    mean: Tensor


def _same(first: Tensor, second: Tensor) -> bool:
    return first.device == second.device and first.dtype == second.dtype and torch.equal(first, second)


def spread(layer: Tensor, neighbors: Tensor, starts: Tensor, weights: Tensor) -> Tensor:
    """`[V, D]`: to every node the weighted sum of its neighbors in `layer [V, D]`. Neighbors and weights `[2 E]` stand
    node after node from `starts [V]` on. The weights must be those of a symmetric matrix."""
    result: Tensor = _Spread.apply(layer, neighbors, starts, weights)  # type: ignore[no-untyped-call]
    return result


class _Spread(torch.autograd.Function):
    """Its own gradient, the matrix being symmetric: a tenth of a sparse COO product's time, and nothing is kept."""

    @staticmethod
    def forward(ctx: Any, layer: Tensor, neighbors: Tensor, starts: Tensor, weights: Tensor) -> Tensor:
        ctx.graph = (neighbors, starts, weights)
        return F.embedding_bag(neighbors, layer, starts, mode="sum", per_sample_weights=weights)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        return spread(gradients[0].contiguous(), *ctx.graph), None, None, None

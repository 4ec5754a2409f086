"""Partitioned KNN: training users vote in groups, so that few fake users cannot turn many votes (after Jia et al.
2023)."""

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
from recgauntlet.core.types import PAD, Surface
from recgauntlet_baselines._profiles import profiles, size
from recgauntlet_baselines.models._collaborative import ItemIds, over_root

CHUNK = 512
"""Training pairs that are scored at a time."""


class PartitionedKNN(ItemIds):
    """`x(h, i) = mean over groups g of tanh(s_g(h, i) / saturation)`, `s_g` the sum of cosines of the items of the
    history `h` and the item `i`, over the training users of the group `g` alone:

    `s_g(h, i) = |h|^-1/2 sum_{j in h} users of both in g / root of (users of j in g * users of i in g)`.

    The group of a user is a hash of the items taken, so it depends on nobody else. A fake account changes the vote of
    one group, and a vote stays between 0 and 1: with `e` fakes, whatever they take, the order of two candidates is the
    same wherever the differences of their votes, without the `e` largest ones, sum to more than `e` (`certified`).

    Deviations from the paper (PORE): users are dealt into groups once instead of drawn for each base recommender, so
    nothing is estimated (deep partition aggregation, Levine and Feizi 2021); votes are soft and for one candidate
    instead of for the base's best items, so what is certified is an order of two candidates; the base is a KNN of
    items without a limit on neighbours, the one model that costs the same in parts as in whole.

    `x` counts from its mean over the training pairs, in its standard deviations there; the binary cross-entropy learns
    a scale and an offset, the only weights, which change no order.

    The handle of the embedding surface is what each training user weighs for the candidate; that of the history the
    same for a history item.

    Parameters
    ----------
    groups
        How many groups.
    saturation
        Where votes saturate: the smaller, the more a single user in common counts.
    """

    citation = bibtex("jia2023pore", "levine2021deep")
    surfaces: ClassVar[frozenset[Surface]] = frozenset({"history", "embedding"})
    search_space: ClassVar[SearchSpace] = {
        "groups": OneOf((100, 200, 400, 800)),
        "saturation": Between(0.01, 1.0, log=True),
    }
    recipe = TrainingRecipe(epochs=1, batch_size=256, learning_rate=5e-2)

    group_of: Tensor
    weights: Tensor
    row_of: Tensor
    center: Tensor
    spread: Tensor

    def __init__(self, catalog: Catalog, *, token_length: int, groups: int = 400, saturation: float = 0.1) -> None:
        super().__init__(catalog, token_length=token_length)
        self.groups = groups
        self.saturation = saturation

    def prepare(self, training: TrainingPeriod) -> None:
        """What each user weighs, which is data and not trained: `weights [K + 1, V]` of the `V` training users for the
        `K` items taken, a row of zeros first; `row_of [N]` finds an item's row."""
        _, taken = profiles(training.pairs)
        group = groups_of(taken, self.groups)
        items = np.unique(taken.indices)
        row_of = np.zeros(len(self.catalog), dtype=np.int64)
        row_of[items] = 1 + np.arange(len(items))
        dense = taken[:, items].toarray().astype(np.float32)
        users_of = np.zeros((self.groups, len(items)), dtype=np.float32)
        np.add.at(users_of, group, dense)
        weights = np.zeros((len(items) + 1, len(group)), dtype=np.float32)
        weights[1:] = (dense / np.sqrt(np.maximum(1, users_of[group]))).T
        for name, value in (("group_of", group), ("weights", weights), ("row_of", row_of)):
            self.register_buffer(name, torch.from_numpy(value), persistent=False)
        means = self._means(training.pairs)
        self.register_buffer("center", means.mean(), persistent=False)
        tiny = torch.finfo(means.dtype).eps
        self.register_buffer("spread", means.std(correction=0).clamp(min=tiny), persistent=False)

    def embed(self, candidates: Candidates) -> Tensor:
        """`[B, 1, V]`."""
        return self.weights[self.row_of[candidates.items]].unsqueeze(1)

    def embed_history(self, users: Users) -> Tensor:
        """`[U, H, V]`."""
        return self.weights[self.row_of[users.histories.clamp(min=0)]]

    def encode_user(self, users: Users, embeddings: Tensor | None = None) -> UserState:
        """`[U, V]`: what each training user weighs for the history."""
        there = users.histories != PAD
        if embeddings is not None:
            return UserState((over_root(embeddings, there),))
        share = there * there.sum(dim=1, keepdim=True).clamp(min=1).to(self.weights.dtype).rsqrt()
        rows = self.row_of[users.histories.clamp(min=0)]
        return UserState((F.embedding_bag(rows, self.weights, mode="sum", per_sample_weights=share),))

    def votes(self, user: UserState, candidates: Candidates, embeddings: Tensor | None = None) -> Tensor:
        """`[B, groups]`: the vote of each group, 0 to 1 where nothing is perturbed."""
        items = self.embed(candidates) if embeddings is None else embeddings
        return self._votes(user.tensors[0], items[:, 0])

    def score(self, user: UserState, candidates: Candidates, embeddings: Tensor | None = None) -> Tensor:
        means = self.votes(user, candidates, embeddings).mean(dim=1)
        return self.calibrated((means - self.center) / self.spread)

    def _votes(self, history: Tensor, item: Tensor) -> Tensor:
        by_user = history * item
        sums = by_user.new_zeros(len(by_user), self.groups).index_add(1, self.group_of, by_user)
        return torch.tanh(sums / self.saturation)

    def _means(self, pairs: Pairs) -> Tensor:
        """`[2 P]`: `x` of the clicked and of the unclicked candidates of training pairs."""
        found = []
        for start in range(0, len(pairs), CHUNK):
            part = pairs.select(slice(start, start + CHUNK))
            users = Users(torch.from_numpy(part.users), torch.from_numpy(part.histories))
            (history,) = self.encode_user(users).tensors
            for items in (part.clicked, part.unclicked):
                rows = self.row_of[torch.from_numpy(items)]
                found.append(self._votes(history, self.weights[rows]).mean(dim=1))
        return torch.cat(found)


def groups_of(taken: csr_array, groups: int) -> npt.NDArray[np.int64]:
    """`[U]`: the group of each row of `taken [U, N]`, by a hash of its items in whatever order."""
    mixed = np.arange(1, size(taken)[1] + 1, dtype=np.uint64)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):  # splitmix64
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    mixed ^= mixed >> np.uint64(31)
    total = np.concatenate([np.zeros(1, dtype=np.uint64), np.cumsum(mixed[taken.indices], dtype=np.uint64)])
    own: npt.NDArray[np.uint64] = total[taken.indptr[1:]] - total[taken.indptr[:-1]]
    group: npt.NDArray[np.int64] = (own % np.uint64(groups)).astype(np.int64)
    return group


def certified(better: Tensor, worse: Tensor, fakes: int) -> Tensor:
    """`[P]`: which candidates with the votes `better [P, groups]` stay above those with the votes `worse`, both for the
    user of the pair, whatever up to `fakes` accounts take that are added to the training users."""
    differences = (better.double() - worse.double()).sort(dim=1, descending=True).values
    rest: Tensor = differences[:, fakes:].sum(dim=1)
    # far above the rounding of single precision
    return rest - min(fakes, better.shape[1]) > 1e-3

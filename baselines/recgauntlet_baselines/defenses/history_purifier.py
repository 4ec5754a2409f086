"""History purifier: at inference, the items that fit least among the rest of a history are left out (after Ning et al.
2025)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from recgauntlet.core.batch import Users, UserState
from recgauntlet.core.dataset import Pairs
from recgauntlet.core.errors import PluginError
from recgauntlet.core.recommender import Recommender
from recgauntlet.core.references import bibtex
from recgauntlet.core.search_space import Between, SearchSpace
from recgauntlet.core.types import PAD
from recgauntlet.training.defense import Defense
from recgauntlet_baselines._profiles import profiles
from recgauntlet_baselines.defenses._wrapper import Wrapped
from recgauntlet_baselines.defenses.median_user import packed

LEAST_USERS = 2
"""Training users that an item needs for its company to be known."""


@dataclass(kw_only=True, eq=False)
class HistoryPurifier(Defense):
    """The model sees a history without the share `share` of its items (rounded down) whose support is lowest:

    `support(j) = sum over the other items k of the history of users of both / root of (users of j * users of k)`,

    counted over training users. An item that an attacker slips in is seldom taken together with the rest.

    The items that stay keep their order and their embeddings, through which gradients go as without the purifier; those
    of the items left out are 0, because small changes of them do not matter. What an attacker loses is a slot, not the
    slope; a search over items sees which ones are left out.

    Deviations from the paper (RETURN): it serves language models, retrieves neighbours in a graph of training
    sequences, deletes or replaces items, and takes a vote over several purified histories; here support is the cosine
    of the training users, items are only deleted, and there is one history. An item of fewer than two training users
    has no support.

    A model that does not read histories is served as it is.

    Parameters
    ----------
    share
        The share of a history's items that is left out, 0 to below 1.
    """

    citation = bibtex("ning2025retrieval")
    search_space: ClassVar[SearchSpace] = {"share": Between(0.02, 0.4)}

    share: float = 0.1

    def wrap(self, model: Recommender) -> Recommender:
        if "history" not in model.surfaces:
            return model
        if model.origin is None:
            raise PluginError(
                f"{type(model).__name__} was built by its constructor, so its training data is not known",
                remedy="build it with Recommender.build",
            )
        return Purified(model, *company(model.origin.training.pairs, len(model.catalog)), self.share)


class Purified(Wrapped):
    """`inner` with purified histories.

    row_of
        `[N]`: the row of each item in `cosines`; 0, a row of zeros, for items without company.
    cosines
        `[K, K]`, 0 on the diagonal.
    """

    row_of: Tensor
    cosines: Tensor

    def __init__(self, inner: Recommender, row_of: Tensor, cosines: Tensor, share: float) -> None:
        super().__init__(inner)
        self.share = share
        self.register_buffer("row_of", row_of.to(inner.device), persistent=False)
        self.register_buffer("cosines", cosines.to(inner.device), persistent=False)

    def encode_user(self, users: Users, embeddings: Tensor | None = None) -> UserState:
        order, kept = packed(self.kept(users.histories))
        purified = Users(users.ids, users.histories.gather(1, order).masked_fill(~kept, PAD))
        if embeddings is not None:
            rows = torch.arange(len(users), device=order.device)
            embeddings = embeddings[rows[:, None], order] * kept.unsqueeze(-1)
        return self.inner.encode_user(purified, embeddings)

    def kept(self, histories: Tensor) -> Tensor:
        """`[U, H]`: which items of `histories [U, H]` the model sees; of equal support the oldest is left out first."""
        there = histories != PAD
        rows = self.row_of[histories.clamp(min=0)].masked_fill(~there, 0)
        support = self.cosines[rows.unsqueeze(2), rows.unsqueeze(1)].sum(dim=2).masked_fill(~there, torch.inf)
        rank = support.argsort(dim=1, stable=True).argsort(dim=1, stable=True)
        # 0.3 * 10 is a little below 3 in some formats
        dropped = (self.share * there.sum(dim=1, keepdim=True).double() + 1e-9).floor()
        return there & (rank >= dropped)


def company(pairs: Pairs, items: int) -> tuple[Tensor, Tensor]:
    """For each of the `items` items its row of the cosines, `[N]`, and the cosines `[K, K]` of the items over the users
    of `pairs`; see `Purified`."""
    _, taken = profiles(pairs)
    users = np.bincount(taken.indices, minlength=items)
    known = np.flatnonzero(users >= LEAST_USERS)
    row_of = np.zeros(items, dtype=np.int64)
    row_of[known] = 1 + np.arange(len(known))
    columns = taken[:, known]
    shared = (columns.T @ columns).toarray() / np.sqrt(np.outer(users[known], users[known]))
    np.fill_diagonal(shared, 0.0)
    cosines = np.zeros((len(known) + 1, len(known) + 1), dtype=np.float32)
    cosines[1:, 1:] = shared
    return torch.from_numpy(row_of), torch.from_numpy(cosines)

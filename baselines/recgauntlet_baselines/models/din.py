"""DIN: history items weighted by a network for every candidate (Zhou et al. 2018)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from recgauntlet.core.batch import Candidates, Users, UserState
from recgauntlet.core.dataset import Catalog
from recgauntlet.core.recommender import TrainingRecipe
from recgauntlet.core.references import bibtex
from recgauntlet.core.search_space import Between, OneOf, SearchSpace
from recgauntlet_baselines.models._sequence import ItemModel


class DIN(ItemModel):
    """Deep interest network (KDD 2018).

    An item is its id's vector beside the mean vector of its category's words, `e = [id, category]`. With the candidate
    `v`, the history `e_1 ... e_H`, the local activation unit `a` and the network `f`:

        a(e, v) = w . Dice(W [e, e * v, v] + b) + c;   interest(v) = sum_j a(e_j, v) e_j;   logit = f([interest(v), v])

    The weights are not normalized, so that many clicks of one kind say more than one. Every candidate weighs the
    history anew, so nothing deeper than the history's vectors is cached while a candidate is under attack.

    `W [e, e * v, v]` is computed as `(W_e + W_x diag(v)) e + W_v v`: one product of matrices a candidate, without a
    tensor of pairs. The difference `e - v` of the authors' code adds nothing to this form, because it is linear.

    Deviations from the paper: no features of users and contexts, which tasks do not have; items are multiplied element
    by element (as in the authors' code), not by the outer product; in `Dice` the mean and variance over the batch are
    learned values, because a score may not depend on what else is in the batch; weight decay and dropout of item
    vectors instead of the mini-batch aware penalty. There is no loss beside the click loss: what a history says about
    itself is not learned from, unlike in SASRec.

    An item without interactions in the training period keeps its drawn id vector and is known by its category alone.

    Parameters
    ----------
    item_size, category_size
        Sizes of an id's and of a category's vector; `D` is their sum.
    unit_size
        Hidden size of the activation unit.
    hidden, narrow
        Hidden sizes of the network.
    dropout
        On item vectors and on the network's first layer, in training only.
    """

    citation = bibtex("zhou2018deep")
    recipe = TrainingRecipe(epochs=8, batch_size=256, learning_rate=8e-3, weight_decay=1e-2, patience=2)
    search_space: ClassVar[SearchSpace] = {
        "item_size": OneOf((16, 32, 64)),
        "unit_size": OneOf((16, 36, 64)),
        "dropout": Between(0.0, 0.5),
    }

    def __init__(
        self,
        catalog: Catalog,
        *,
        token_length: int,
        item_size: int = 32,
        category_size: int = 16,
        unit_size: int = 36,
        hidden: int = 80,
        narrow: int = 40,
        dropout: float = 0.3,
    ) -> None:
        super().__init__(catalog, token_length=token_length)
        kind_of, words_of = category_words(catalog.categories)
        self.register_buffer("kind_of", kind_of, persistent=False)
        self.register_buffer("words_of", words_of, persistent=False)
        size = item_size + category_size
        self.items = nn.Embedding(len(catalog), item_size)
        self.words = nn.EmbeddingBag(int(words_of.max()) + 1, category_size, mode="mean", padding_idx=0)
        for table in (self.items, self.words):
            nn.init.normal_(table.weight, std=size**-0.5)
        self.own = nn.Linear(size, unit_size, bias=False)
        self.product = nn.Linear(size, unit_size, bias=False)
        self.candidate = nn.Linear(size, unit_size)
        self.unit = Dice(unit_size)
        self.weight = nn.Linear(unit_size, 1)
        self.network = nn.Sequential(
            nn.Linear(2 * size, hidden),
            Dice(hidden),
            nn.Dropout(dropout),
            nn.Linear(hidden, narrow),
            Dice(narrow),
            nn.Linear(narrow, 1),
        )
        self.dropout = nn.Dropout(dropout)

    def encode_user(self, users: Users, embeddings: Tensor | None = None) -> UserState:
        """The history's vectors `[U, H, D]` and where they are real `[U, H]`."""
        embedded = self.embed_history(users) if embeddings is None else embeddings
        return UserState((embedded, users.histories >= 0))

    def score(self, user: UserState, candidates: Candidates, embeddings: Tensor | None = None) -> Tensor:
        embedded = self.embed(candidates) if embeddings is None else embeddings
        history, mask = user.tensors
        candidate = self.dropout(embedded[:, 0])
        history = self.dropout(history)
        weights = self.activation(history, candidate) * mask
        interest = (weights.unsqueeze(1) @ (history * mask.unsqueeze(-1))).squeeze(1)
        logits: Tensor = self.network(torch.cat([interest, candidate], dim=1)).squeeze(1)
        return logits

    def activation(self, history: Tensor, candidate: Tensor) -> Tensor:
        """`a [B, H]` of the items `history [B, H, D]` for `candidate [B, D]`."""
        mixed = self.own.weight + self.product.weight * candidate.unsqueeze(1)
        hidden = history @ mixed.transpose(1, 2) + self.candidate(candidate).unsqueeze(1)
        weights: Tensor = self.weight(self.unit(hidden)).squeeze(-1)
        return weights

    def vectors(self, items: Tensor) -> Tensor:
        """`[..., D]` of catalog indices `[...]`."""
        kinds = self.words(self.get_buffer("words_of"))
        return torch.cat([self.items(items), kinds[self.get_buffer("kind_of")[items]]], dim=-1)


class Dice(nn.Module):
    """`p(s) s + (1 - p(s)) alpha s` with `p(s) = sigmoid(exp(g) (s - m))`, element by element over the last dimension.

    The paper's equation 8 with learned `m` for the mean and `exp(g)` for one over the standard deviation of the
    batch. With steep `g` and `m = 0` it is PReLU.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.full((size,), 0.1))
        self.middle = nn.Parameter(torch.zeros(size))
        self.log_slope = nn.Parameter(torch.zeros(size))

    def forward(self, s: Tensor) -> Tensor:
        share = torch.sigmoid((s - self.middle) * self.log_slope.exp())
        return s * (self.alpha + share * (1.0 - self.alpha))


def category_words(categories: Sequence[str]) -> tuple[Tensor, Tensor]:
    """The kind of each of `N` items, `[N]`, and the words of each of `K` kinds, `[K, W]`, numbered from 1; 0 pads."""
    kinds = {name: number for number, name in enumerate(sorted(set(categories)))}
    known = {word: number for number, word in enumerate(sorted({w for name in kinds for w in name.split()}), start=1)}
    rows = [[known[word] for word in name.split()] for name in kinds]
    width = max(1, *map(len, rows)) if rows else 1
    words = torch.tensor([row + [0] * (width - len(row)) for row in rows], dtype=torch.int64).view(len(rows), width)
    return torch.tensor([kinds[name] for name in categories], dtype=torch.int64), words

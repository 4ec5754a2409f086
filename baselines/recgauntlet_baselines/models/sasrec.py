"""SASRec: causal self-attention over the items of a history, next item by dot product (Kang and McAuley 2018)."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recgauntlet.core.batch import Batch, Candidates, Users, UserState
from recgauntlet.core.dataset import Catalog
from recgauntlet.core.recommender import TrainingRecipe
from recgauntlet.core.references import bibtex
from recgauntlet.core.search_space import Between, OneOf, SearchSpace
from recgauntlet_baselines.models._sequence import ItemModel, Transformer


class SASRec(ItemModel):
    """Self-attentive sequential recommendation (ICDM 2018).

    With `E` the item vectors, `p` the positions counted from the newest item, and `F_t` the output of causal
    transformer blocks at place t of `E[s_1] + p, ..., E[s_n] + p`, the logit of item i after place t is
    `r[t, i] = F_t . E[i] + c`. A candidate is scored at the newest place. The paper's loss is the auxiliary loss: at
    every place t < n of a history, binary cross-entropy of the item that came next against one drawn item that the
    history does not hold, `-log sigmoid(r[t, s_(t+1)]) - log(1 - sigmoid(r[t, j]))`. The step from the newest place to
    the candidates is the click loss.

    Deviations from the paper: keys and values are normalized as queries are; the feed-forward layers have GELU; there
    is a learned offset `c`; item vectors are not multiplied by the root of `D` but start at unit length; a drawn item
    that the history holds is left out instead of drawn again; AdamW with a falling rate. Attention weights are not
    dropped.

    An item without interactions in the training period keeps its drawn vector: where most candidates are new (news),
    expect little.

    Parameters
    ----------
    size, heads, blocks
        `D`, attention heads, and transformer blocks.
    length
        The most items that are read, the newest ones.
    dropout
        On the input and on what every layer adds.
    next_item
        The weight of the auxiliary loss.
    """

    citation = bibtex("kang2018self")
    recipe = TrainingRecipe(epochs=8, batch_size=256, learning_rate=3e-3, weight_decay=1e-2, patience=2)
    search_space: ClassVar[SearchSpace] = {
        "blocks": OneOf((1, 2, 3)),
        "dropout": Between(0.0, 0.5),
        "next_item": Between(0.1, 3.0, log=True),
    }

    def __init__(
        self,
        catalog: Catalog,
        *,
        token_length: int,
        size: int = 64,
        heads: int = 1,
        blocks: int = 2,
        length: int = 200,
        dropout: float = 0.3,
        next_item: float = 1.0,
    ) -> None:
        super().__init__(catalog, token_length=token_length)
        self.next_item = next_item
        self.items = nn.Embedding(len(catalog), size)
        nn.init.normal_(self.items.weight, std=size**-0.5)
        self.transformer = Transformer(
            size, heads=heads, blocks=blocks, inner=size, length=length, causal=True, dropout=dropout
        )
        self.offset = nn.Parameter(torch.zeros(()))

    def encode_user(self, users: Users, embeddings: Tensor | None = None) -> UserState:
        """`[U, D]`: the state at the newest item of each history; zeros for a user without one."""
        embedded = self.embed_history(users) if embeddings is None else embeddings
        mask = users.histories >= 0
        newest = self.transformer(embedded, mask, newest_only=True)[:, 0]
        return UserState((newest * mask.any(dim=1, keepdim=True),))

    def score(self, user: UserState, candidates: Candidates, embeddings: Tensor | None = None) -> Tensor:
        embedded = self.embed(candidates) if embeddings is None else embeddings
        return self.logits(user.tensors[0], embedded[:, 0])

    def auxiliary_loss(self, batch: Batch, generator: torch.Generator) -> Tensor | None:
        """`next_item` times the mean binary cross-entropy over all places and both items of each; None where no history
        has two items."""
        histories = batch.users.histories
        drawn = torch.randint(len(self.catalog), histories[:, 1:].shape, generator=generator).to(histories.device)
        return self.next_item_loss(histories, drawn)

    def next_item_loss(self, histories: Tensor, drawn: Tensor) -> Tensor | None:
        """The auxiliary loss of `histories [U, H]` with the items `drawn [U, H - 1]` against the true next ones."""
        known = histories[:, :-1] >= 0
        if not self.next_item or not bool(known.any()):
            return None
        fresh = known & (drawn[:, :, None] != histories[:, None, :]).all(dim=2)
        width = histories.shape[1]
        vectors = self.vectors(torch.cat([histories.clamp(min=0), drawn], dim=1))  # every item once
        past, taken, other = vectors[:, : width - 1], vectors[:, 1:width], vectors[:, width:]
        states = self.transformer(past * known.unsqueeze(-1), known)
        read = states.shape[1]
        known, fresh = known[:, -read:], fresh[:, -read:]
        wrong = F.softplus(-self.logits(states, taken[:, -read:])) * known
        wrong = wrong + F.softplus(self.logits(states, other[:, -read:])) * fresh
        return self.next_item * wrong.sum() / (known.sum() + fresh.sum())

    def logits(self, states: Tensor, vectors: Tensor) -> Tensor:
        """`[...]` of states and item vectors `[..., D]`."""
        return (states * vectors).sum(dim=-1) + self.offset

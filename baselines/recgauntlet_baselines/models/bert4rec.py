"""BERT4Rec: a bidirectional transformer over the history with a mask at the end (Sun et al. 2019)."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recgauntlet.core.batch import Batch, Candidates, Users, UserState
from recgauntlet.core.dataset import Catalog
from recgauntlet.core.recommender import TrainingRecipe
from recgauntlet.core.references import bibtex
from recgauntlet.core.search_space import Between, SearchSpace
from recgauntlet_baselines.models._sequence import ItemModel, Transformer

LARGEST_SOFTMAX = 4096
"""Catalogs of more items are not compared with as a whole in the cloze loss but with this many drawn items."""


class BERT4Rec(ItemModel):
    """Sequential recommendation with bidirectional encoder representations from transformer (CIKM 2019).

    With `E` the item vectors, `m` the mask's vector and `F_t` the output of bidirectional transformer blocks at place t
    of the history with `m` behind its newest item, the logit of item i at place t is
    `z[t, i] = LayerNorm(GELU(W F_t + b)) . E[i] + b_i`. A candidate's logit is `exp(s) z[n + 1, i] + c`. The auxiliary
    loss is the cloze task: `masked` of the history's items, drawn anew at every step, are replaced by `m`, and the loss
    is the mean of `-log softmax(z[t])[s_t]` over them. The place behind the newest item learns by the click loss.

    Deviations from the paper: blocks normalize their input, not their sum; positions are counted from the newest item;
    a learned scale `exp(s)` and offset `c` make 0 the decision boundary; the training sequences that mask the newest
    item alone are the click loss; in catalogs of more than 4,096 items the softmax is over the masked item and 4,096
    drawn ones (uniform, shared by the batch, their weight raised to that of all); AdamW with a falling rate.

    An item without interactions in the training period keeps its drawn vector: where most candidates are new (news),
    expect little.

    Parameters
    ----------
    size, heads, blocks
        `D`, attention heads, and transformer blocks.
    length
        The most places that are read, the newest ones, the mask's included.
    dropout
        On the input and on what every layer adds.
    masked
        The share of a history that the cloze task hides.
    cloze
        The weight of the auxiliary loss.
    """

    citation = bibtex("sun2019bert4rec")
    recipe = TrainingRecipe(epochs=5, batch_size=256, learning_rate=3e-3, weight_decay=1e-2, patience=2)
    search_space: ClassVar[SearchSpace] = {
        "dropout": Between(0.0, 0.5),
        "masked": Between(0.1, 0.6),
        "cloze": Between(0.03, 1.0, log=True),
    }

    def __init__(
        self,
        catalog: Catalog,
        *,
        token_length: int,
        size: int = 64,
        heads: int = 2,
        blocks: int = 2,
        length: int = 200,
        dropout: float = 0.2,
        masked: float = 0.2,
        cloze: float = 0.2,
    ) -> None:
        super().__init__(catalog, token_length=token_length)
        self.masked = masked
        self.cloze = cloze
        self.items = nn.Embedding(len(catalog), size)
        nn.init.normal_(self.items.weight, std=size**-0.5)
        self.mask = nn.Parameter(torch.randn(size) * size**-0.5)
        self.transformer = Transformer(
            size, heads=heads, blocks=blocks, inner=4 * size, length=length, causal=False, dropout=dropout
        )
        self.project = nn.Sequential(nn.Linear(size, size), nn.GELU(), nn.LayerNorm(size))
        self.bias = nn.Parameter(torch.zeros(len(catalog)))
        self.log_scale = nn.Parameter(torch.zeros(()))
        self.offset = nn.Parameter(torch.zeros(()))

    def encode_user(self, users: Users, embeddings: Tensor | None = None) -> UserState:
        """`[U, D]`: what stands at the mask behind each history."""
        embedded = self.embed_history(users) if embeddings is None else embeddings
        ended = torch.cat([embedded, self.mask.expand(len(users), 1, -1)], dim=1)
        real = F.pad(users.histories >= 0, (0, 1), value=True)
        return UserState((self.project(self.transformer(ended, real, newest_only=True)[:, 0]),))

    def score(self, user: UserState, candidates: Candidates, embeddings: Tensor | None = None) -> Tensor:
        embedded = self.embed(candidates) if embeddings is None else embeddings
        logits = (user.tensors[0] * embedded[:, 0]).sum(dim=1) + self.bias[candidates.items]
        return logits * self.log_scale.exp() + self.offset

    def auxiliary_loss(self, batch: Batch, generator: torch.Generator) -> Tensor | None:
        """`cloze` times the cloze loss on the batch's histories; None where nothing is masked."""
        histories = batch.users.histories
        hidden = (torch.rand(histories.shape, generator=generator) < self.masked).to(histories.device)
        count = len(self.catalog)
        drawn = None
        if count > LARGEST_SOFTMAX:
            drawn = torch.randint(count, (LARGEST_SOFTMAX,), generator=generator).to(histories.device)
        loss = self.cloze_loss(histories, hidden & (histories >= 0), drawn)
        return None if loss is None else self.cloze * loss

    def cloze_loss(self, histories: Tensor, hidden: Tensor, drawn: Tensor | None) -> Tensor | None:
        """The mean cross-entropy of the items `hidden [U, H]` of `histories [U, H]`, against the whole catalog or
        against the items `drawn [N]`; None where nothing is hidden."""
        if not self.cloze or not bool(hidden.any()):
            return None
        mask = histories >= 0
        shown = self.items(histories.clamp(min=0)) * mask.unsqueeze(-1)
        states = self.transformer(torch.where(hidden.unsqueeze(-1), self.mask, shown), mask)
        read = states.shape[1]
        hidden, histories = hidden[:, -read:], histories[:, -read:]
        states, wanted = self.project(states[hidden]), histories[hidden]
        if drawn is None:
            return F.cross_entropy(states @ self.items.weight.T + self.bias, wanted)
        right = (states * self.items(wanted)).sum(dim=1) + self.bias[wanted]
        others = states @ self.items(drawn).T + self.bias[drawn]
        others = others.masked_fill(drawn == wanted[:, None], -torch.inf)
        weight = torch.log(torch.tensor(len(self.catalog) / len(drawn), device=others.device))
        surprise: Tensor = torch.logaddexp(right, others.logsumexp(dim=1) + weight) - right
        return surprise.mean()

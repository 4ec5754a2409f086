"""SASRec with text: an item's vector is the sum of its id vector and a text vector."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from recgauntlet.core.batch import Candidates, Tokens, UserState
from recgauntlet.core.dataset import Catalog
from recgauntlet.core.recommender import TrainingRecipe
from recgauntlet.core.references import bibtex
from recgauntlet.core.search_space import Between, OneOf, SearchSpace
from recgauntlet.core.types import Surface
from recgauntlet_baselines.models._layers import AdditiveAttention
from recgauntlet_baselines.models._vocabulary import word_inputs
from recgauntlet_baselines.models.sasrec import SASRec


class SASRecText(SASRec):
    """SASRec with words: `v[i] = E[i] + W pool(words of i)` stands wherever SASRec has `E[i]`, on both sides.

    `pool` is the additive attention of NRMS over the word vectors, `W` a linear map. An item is what it was
    (`E[i]`, which no seller can change) and what it says it is: a new listing, whose id is hidden,
    has no `E[i]`.
    With `E` at zero it is a sequential model of text, with `W` at zero it is SASRec. That a self-attentive recommender
    gains from features beside ids is what Zhang et al. (2019) show, with one stack of attention over ids and one over
    features.

    Deviations from that paper: one stack over the sum; features are words instead of categories; losses and blocks are
    those of `sasrec`. Word vectors start from MiniLM's as in `nrms`. Id vectors start small, so that an item
    without interactions in the training period is known by its words.

    Parameters
    ----------
    size, heads, blocks, length, dropout, next_item
        As in SASRec.
    word_size
        Size of a word vector, `D` of the embedding surface.
    attention_size
        Hidden size of the additive attention.
    """

    surfaces: ClassVar[frozenset[Surface]] = frozenset({"candidate-text", "history", "embedding"})
    citation = bibtex("kang2018self", "zhang2019feature")
    recipe = TrainingRecipe(epochs=6, batch_size=256, learning_rate=3e-3, weight_decay=1e-2, patience=2)
    search_space: ClassVar[SearchSpace] = {
        "word_size": OneOf((32, 64, 128)),
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
        word_size: int = 64,
        attention_size: int = 48,
    ) -> None:
        super().__init__(
            catalog,
            token_length=token_length,
            size=size,
            heads=heads,
            blocks=blocks,
            length=length,
            dropout=dropout,
            next_item=next_item,
        )
        self._tokenize, self.words = word_inputs(catalog, token_length, word_size)
        self.pool = AdditiveAttention(word_size, attention_size)
        self.from_words = nn.Linear(word_size, size)
        nn.init.normal_(self.items.weight, std=0.1 * size**-0.5)

    def tokenize(self, texts: Sequence[str]) -> Tokens:
        return self._tokenize(texts, self.device)

    def embed(self, candidates: Candidates) -> Tensor:
        embedded: Tensor = self.words(candidates.tokens.ids)
        return embedded

    def score(self, user: UserState, candidates: Candidates, embeddings: Tensor | None = None) -> Tensor:
        embedded = self.embed(candidates) if embeddings is None else embeddings
        known = (candidates.items >= 0).unsqueeze(1)
        vectors = self.items(candidates.items.clamp(min=0)) * known
        vectors = vectors + self._from_words(embedded, candidates.tokens.mask)
        return self.logits(user.tensors[0], vectors)

    def vectors(self, items: Tensor) -> Tensor:
        """`[..., D]` of catalog indices `[...]`; the words of every item are read once however often it stands."""
        unique, place = torch.unique(items, return_inverse=True)
        tokens = self.catalog_tokens().select(unique)
        vectors: Tensor = self.items(unique) + self._from_words(self.words(tokens.ids), tokens.mask)
        return vectors[place]

    def _from_words(self, embedded: Tensor, mask: Tensor) -> Tensor:
        """`[B, D]` of word vectors `[B, L, word_size]`."""
        vectors: Tensor = self.from_words(self.pool(embedded, mask))
        return vectors

"""NRMS: multi-head self-attention over the words of a title and over the titles of a history (Wu et al. 2019)."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from recgauntlet.core.batch import Users, UserState
from recgauntlet.core.dataset import Catalog
from recgauntlet.core.recommender import TrainingRecipe
from recgauntlet.core.references import bibtex
from recgauntlet.core.search_space import Between, OneOf, SearchSpace
from recgauntlet_baselines.models._layers import AdditiveAttention, SelfAttention, TitleModel, in_length_groups
from recgauntlet_baselines.models._vocabulary import word_inputs


class NRMS(TitleModel):
    """Neural news recommendation with multi-head self-attention (EMNLP 2019), for any catalog of titles.

    Deviations from the paper: word vectors start from MiniLM's input embeddings instead of GloVe's, cut to the pieces
    that the catalog uses and to `word_size` principal components; a candidate is scored by itself (binary
    cross-entropy), because the decision boundary must be at 0, with a learned scale and offset of the dot product;
    recency is known to the user encoder through position vectors.

    Pieces that the catalog does not use are one unknown word: a misspelling often hides a word instead of changing it.

    Parameters
    ----------
    word_size
        Size of a word vector, `D` of the embedding surface.
    heads, head_size
        Of both attentions.
    attention_size
        Hidden size of both additive attentions.
    dropout
        On word vectors and on title vectors, in training only (drawing it for every attention output is slow on a CPU).
    """

    trains_in_parallel: ClassVar[bool] = True
    citation = bibtex("wu2019neural")
    search_space: ClassVar[SearchSpace] = {"dropout": Between(0.05, 0.5), "attention_size": OneOf((24, 48, 96))}
    recipe = TrainingRecipe(epochs=6, batch_size=256, learning_rate=8e-3, weight_decay=1e-4, patience=2)

    def __init__(
        self,
        catalog: Catalog,
        *,
        token_length: int,
        word_size: int = 64,
        heads: int = 4,
        head_size: int = 16,
        attention_size: int = 48,
        dropout: float = 0.2,
        history_positions: int = 200,
    ) -> None:
        super().__init__(catalog, token_length=token_length)
        self._tokenize, self.words = word_inputs(catalog, token_length, word_size)
        size = heads * head_size
        self.title_attention = SelfAttention(word_size, heads, head_size)
        self.title_pool = AdditiveAttention(size, attention_size)
        self.positions = nn.Parameter(torch.zeros(history_positions, size))
        self.history_attention = SelfAttention(size, heads, head_size)
        self.history_pool = AdditiveAttention(size, attention_size)
        self.log_scale = nn.Parameter(-0.5 * torch.log(torch.tensor(float(size))))
        self.offset = nn.Parameter(torch.zeros(()))
        self.dropout = nn.Dropout(dropout)

    def encode_user(self, users: Users, embeddings: Tensor | None = None) -> UserState:
        titles = self.embed_history(users) if embeddings is None else embeddings
        mask = users.histories >= 0
        placed = titles + self.positions[-titles.shape[1] :]  # counted from the newest item
        attended = self.history_attention(placed, mask)
        return UserState((self.history_pool(attended, mask),))

    def item_vectors(self, items: Tensor, embedded: Tensor, mask: Tensor) -> Tensor:
        return in_length_groups(self._encode_titles, embedded, mask, least=self.least_grouped)

    def _encode_titles(self, embedded: Tensor, mask: Tensor) -> Tensor:
        attended = self.title_attention(self.dropout(embedded), mask)
        titles: Tensor = self.title_pool(attended, mask)
        dropped: Tensor = self.dropout(titles)
        return dropped

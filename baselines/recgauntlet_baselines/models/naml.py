"""NAML: a convolution over the title and the category, weighted as two views of one item (Wu et al. 2019)."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from recgauntlet.core.batch import Users, UserState
from recgauntlet.core.dataset import Catalog
from recgauntlet.core.recommender import TrainingRecipe
from recgauntlet.core.references import bibtex
from recgauntlet.core.search_space import Between, OneOf, SearchSpace
from recgauntlet_baselines.models._layers import AdditiveAttention, TitleModel, in_length_groups
from recgauntlet_baselines.models._vocabulary import word_inputs


class NAML(TitleModel):
    """Neural news recommendation with attentive multi-view learning (IJCAI 2019), for any catalog of titles.

    With `a_v` the views of an item (title and category), `n` an item, `u` a user and `att` additive attention:

        title = att(relu(conv(words)));  category = relu(W e + b);  n = att(title, category)
        u = att(n_1 ... n_H);  score = exp(s) * <u, n> + offset

    A candidate's category belongs to the item and not to its text: no edit of a title reaches it. A new listing, whose
    id is hidden, has the title's view alone.

    Deviations from the paper: no body, because the tasks have none, and one category view, not two, because a catalog
    has one category an item; word vectors start from MiniLM's input embeddings instead of GloVe's, as NRMS's do; a
    candidate is scored by itself (binary cross-entropy), because the decision boundary must be at 0, with a learned
    scale `exp(s)` and offset of the dot product.

    Parameters
    ----------
    word_size
        Size of a word vector, `D` of the embedding surface.
    filters, window
        How many filters the convolution has, which is the size of an item vector, and how many words each reads (odd).
    category_size
        Size of a category's embedding.
    attention_size
        Hidden size of the three additive attentions.
    dropout
        On word vectors and on what the convolution gives, in training only.
    """

    citation = bibtex("wu2019naml")
    search_space: ClassVar[SearchSpace] = {
        "filters": OneOf((64, 128, 256, 400)),
        "dropout": Between(0.0, 0.4),
        "category_size": OneOf((16, 32, 64, 100)),
    }
    recipe = TrainingRecipe(epochs=6, batch_size=256, learning_rate=1e-2, weight_decay=1e-4, patience=2)

    def __init__(
        self,
        catalog: Catalog,
        *,
        token_length: int,
        word_size: int = 64,
        filters: int = 64,
        window: int = 3,
        category_size: int = 32,
        attention_size: int = 48,
        dropout: float = 0.2,
    ) -> None:
        super().__init__(catalog, token_length=token_length)
        self._tokenize, self.words = word_inputs(catalog, token_length, word_size)
        self.convolution = nn.Conv1d(word_size, filters, window, padding=window // 2)
        self.title_pool = AdditiveAttention(filters, attention_size)
        names = {name: row for row, name in enumerate(sorted(set(catalog.categories)))}
        rows = torch.tensor([names[name] for name in catalog.categories])
        self.register_buffer("category_of", rows, persistent=False)
        self.categories = nn.Embedding(len(names), category_size)
        self.category_view = nn.Linear(category_size, filters)
        self.view_pool = AdditiveAttention(filters, attention_size)
        self.history_pool = AdditiveAttention(filters, attention_size)
        self.log_scale = nn.Parameter(-0.5 * torch.log(torch.tensor(float(filters))))
        self.offset = nn.Parameter(torch.zeros(()))
        self.dropout = nn.Dropout(dropout)

    def encode_user(self, users: Users, embeddings: Tensor | None = None) -> UserState:
        items = self.embed_history(users) if embeddings is None else embeddings
        return UserState((self.history_pool(items, users.histories >= 0),))

    def item_vectors(self, items: Tensor, embedded: Tensor, mask: Tensor) -> Tensor:
        """`[B, filters]`: both views of each item, weighed."""
        known = items >= 0
        category = self.get_buffer("category_of")[items.clamp(min=0)]
        categories = torch.relu(self.category_view(self.categories(category)))
        titles = in_length_groups(self._encode_titles, embedded, mask, least=self.least_grouped)
        views = torch.stack([titles, categories], dim=1)
        vectors: Tensor = self.view_pool(views, torch.stack([torch.ones_like(known), known], dim=1))
        return vectors

    def _encode_titles(self, embedded: Tensor, mask: Tensor) -> Tensor:
        real = self.dropout(embedded) * mask.unsqueeze(-1)  # a window over the end of a title reads zeros
        read = torch.relu(self.convolution(real.transpose(1, 2))).transpose(1, 2)
        titles: Tensor = self.title_pool(self.dropout(read), mask)
        return titles

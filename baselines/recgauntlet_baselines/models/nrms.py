"""NRMS: multi-head self-attention over the words of a title and over the titles of a history (Wu et al. 2019)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recgauntlet.batch import Candidates, Tokens, Users, UserState
from recgauntlet.data.tables import Catalog
from recgauntlet.encoder import model_path, word_table
from recgauntlet.recommender import Recommender, Surface, TrainingRecipe
from recgauntlet.search_space import Between, OneOf, SearchSpace
from recgauntlet_baselines.models._layers import AdditiveAttention, SelfAttention, WordTokenizer, in_length_groups

PAD_ID, UNKNOWN_ID, FIRST_ID = 0, 1, 2


class NRMS(Recommender):
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

    surfaces: ClassVar[frozenset[Surface]] = frozenset({"candidate-text", "history", "embedding"})
    citation = """
@inproceedings{wu2019neural,
  title = {Neural News Recommendation with Multi-Head Self-Attention},
  author = {Wu, Chuhan and Wu, Fangzhao and Ge, Suyu and Qi, Tao and Huang, Yongfeng and Xie, Xing},
  booktitle = {Proceedings of the 2019 Conference on Empirical Methods in Natural Language Processing ({EMNLP-IJCNLP})},
  pages = {6389--6394}, year = {2019},
  doi = {10.18653/v1/D19-1671}
}
"""
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
        compact = CompactPieces(catalog.texts)
        self._tokenize = WordTokenizer(compact, length=token_length, unknown=UNKNOWN_ID, pad=PAD_ID)
        start = start_vectors(compact.pieces, word_size)
        self.words = nn.Embedding(len(start), word_size, padding_idx=PAD_ID, _weight=start)
        size = heads * head_size
        self.title_attention = SelfAttention(word_size, heads, head_size)
        self.title_pool = AdditiveAttention(size, attention_size)
        self.positions = nn.Parameter(torch.zeros(history_positions, size))
        self.history_attention = SelfAttention(size, heads, head_size)
        self.history_pool = AdditiveAttention(size, attention_size)
        self.log_scale = nn.Parameter(torch.tensor(-0.5 * float(torch.log(torch.tensor(float(size))))))
        self.offset = nn.Parameter(torch.zeros(()))
        self.dropout = nn.Dropout(dropout)

    def tokenize(self, texts: Sequence[str]) -> Tokens:
        return self._tokenize(texts, self.device)

    def embed(self, candidates: Candidates) -> Tensor:
        embedded: Tensor = self.words(candidates.tokens.ids)
        return embedded

    def score(self, user: UserState, candidates: Candidates, embeddings: Tensor | None = None) -> Tensor:
        embedded = self.embed(candidates) if embeddings is None else embeddings
        titles = in_length_groups(self._encode_titles, embedded, candidates.tokens.mask)
        return (user.tensors[0] * titles).sum(dim=1) * self.log_scale.exp() + self.offset

    def embed_history(self, users: Users) -> Tensor:
        """`[U, H, heads * head_size]` title vectors; every item is encoded once however often it stands."""
        histories = users.histories
        items, place = torch.unique(histories.clamp(min=0), return_inverse=True)
        tokens = self.catalog_tokens().select(items)
        titles = in_length_groups(self._encode_titles, self.words(tokens.ids), tokens.mask)
        return titles[place] * (histories >= 0).unsqueeze(-1)

    def encode_user(self, users: Users, embeddings: Tensor | None = None) -> UserState:
        titles = self.embed_history(users) if embeddings is None else embeddings
        mask = users.histories >= 0
        placed = titles + self.positions[-titles.shape[1] :]  # counted from the newest item
        attended = self.history_attention(placed, mask)
        return UserState((self.history_pool(attended, mask),))

    def _encode_titles(self, embedded: Tensor, mask: Tensor) -> Tensor:
        attended = self.title_attention(self.dropout(embedded), mask)
        titles: Tensor = self.title_pool(attended, mask)
        dropped: Tensor = self.dropout(titles)
        return dropped


@lru_cache(maxsize=1)
def minilm_tokenizer() -> Any:
    """The tokenizer that the word vectors belong to."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(str(model_path()), local_files_only=True)


def catalog_pieces(texts: Sequence[str]) -> list[int]:
    """The word pieces that a catalog uses and every single character, as MiniLM ids in rising order."""
    words = sorted({word for text in texts for word in text.split()})
    coded = minilm_tokenizer()(words, add_special_tokens=False)["input_ids"]
    used = {piece for ids in coded for piece in ids}
    characters = {i for i, piece in enumerate(word_table()[0]) if len(piece.removeprefix("##")) == 1}
    return sorted(used | characters)


class CompactPieces:
    """Words to rows of a table of `FIRST_ID + len(pieces)` vectors, one a piece that `texts` use; other pieces are
    `UNKNOWN_ID`."""

    def __init__(self, texts: Sequence[str]) -> None:
        self.pieces = catalog_pieces(texts)
        self._rows = {piece: FIRST_ID + i for i, piece in enumerate(self.pieces)}

    def __call__(self, words: list[str]) -> list[list[int]]:
        coded = minilm_tokenizer()(words, add_special_tokens=False)["input_ids"]
        return [[self._rows.get(piece, UNKNOWN_ID) for piece in ids] for ids in coded]


def start_vectors(pieces: Sequence[int], size: int) -> Tensor:
    """`[FIRST_ID + len(pieces), size]`: MiniLM's vectors on their first `size` principal components, unit variance a
    dimension on average; padding is zero, the unknown word is the mean."""
    table = torch.from_numpy(word_table()[1])[list(pieces)].double()
    centred = table - table.mean(dim=0)
    _, _, axes = torch.linalg.svd(centred, full_matrices=False)
    axes = axes[:size]
    largest = axes.gather(1, axes.abs().argmax(dim=1, keepdim=True))
    vectors = centred @ (axes * largest.sign()).T  # the sign of an axis is the library's choice: fix it
    vectors = vectors / vectors.std(dim=0)
    vectors = F.pad(vectors, (0, size - vectors.shape[1]))
    return torch.cat([vectors.new_zeros(1, size), vectors.mean(dim=0, keepdim=True), vectors]).float()

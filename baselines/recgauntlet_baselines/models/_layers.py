"""What text models share: word-by-word tokenization with a cache, attention that minds padding, groups of like
length."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recgauntlet.core.batch import Candidates, Tokens, Users, UserState
from recgauntlet.core.recommender import Recommender
from recgauntlet.core.types import PAD, Surface

MOST_WORDS = 500_000
"""Words that a tokenizer remembers: texts of a service never end."""
BUCKETS, BUCKETED = 6, 64
"""Groups of like length that a batch of at least `BUCKETED` texts is cut into."""


class WordTokenizer:
    """Texts to token ids, word by word: a word's pieces are looked up once and then remembered.

    Parameters
    ----------
    pieces_of
        Gives the token ids of each of a list of words.
    length
        The most tokens a text may have; later ones are cut.
    unknown, pad
        The ids of an empty or unreadable text, and of padding.
    """

    def __init__(
        self, pieces_of: Callable[[list[str]], list[list[int]]], *, length: int, unknown: int, pad: int
    ) -> None:
        self._pieces_of = pieces_of
        self._length = length
        self._unknown = unknown
        self._pad = pad
        self._known: dict[str, list[int]] = {}

    def __call__(self, texts: Sequence[str], device: torch.device) -> Tokens:
        """Tokens of `texts [B]`; at least one real token each."""
        if len(self._known) > MOST_WORDS:
            self._known.clear()
        split = [text.split() for text in texts]
        new = list(dict.fromkeys(word for words in split for word in words if word not in self._known))
        if new:
            pieces_of_new = (pieces[: self._length] for pieces in self._pieces_of(new))  # a text has no room for more
            self._known.update(zip(new, pieces_of_new, strict=True))
        rows: list[list[int]] = []
        places: list[list[int]] = []
        for words in split:
            ids: list[int] = []
            place: list[int] = []
            for index, word in enumerate(words):
                pieces = self._known[word]
                ids += pieces
                place += [index] * len(pieces)
                if len(ids) >= self._length:
                    break
            rows.append(ids[: self._length] or [self._unknown])
            places.append(place[: self._length] or [0])
        width = max(map(len, rows), default=1)
        table = np.full((len(rows), width), self._pad, dtype=np.int64)
        words_of = np.full((len(rows), width), PAD, dtype=np.int64)
        for i, (ids, place) in enumerate(zip(rows, places, strict=True)):
            table[i, : len(ids)] = ids
            words_of[i, : len(place)] = place
        word_of_token = torch.from_numpy(words_of)
        return Tokens(torch.from_numpy(table), word_of_token != PAD, word_of_token).to(device)


class TextModel(Recommender):
    """A model that reads texts token by token; a subclass sets `_tokenize`."""

    surfaces: ClassVar[frozenset[Surface]] = frozenset({"candidate-text", "history", "embedding"})
    _tokenize: WordTokenizer

    @abstractmethod
    def word_vectors(self, ids: Tensor) -> Tensor:
        """`[..., D]` of token ids `[...]`."""

    def tokenize(self, texts: Sequence[str]) -> Tokens:
        return self._tokenize(texts, self.device)

    def embed(self, candidates: Candidates) -> Tensor:
        return self.word_vectors(candidates.tokens.ids)

    def history_tokens_of(self, histories: Tensor, length: int) -> tuple[Tensor, Tensor]:
        """Ids and mask `[U, H, T]` of the first tokens, at most `length`, of the texts of `histories [U, H]`."""
        tokens, rows = self.catalog_tokens(), histories.clamp(min=0)
        mask = tokens.mask[:, :length][rows] & (histories >= 0).unsqueeze(-1)
        return tokens.ids[:, :length][rows], mask


class TitleModel(TextModel):
    """A model with word vectors of its own, whose logit is `exp(log_scale) * <u, n> + offset`, `u` the user's vector
    and `n` the item's."""

    words: nn.Embedding
    log_scale: nn.Parameter
    offset: nn.Parameter

    @property
    def least_grouped(self) -> int:
        """From how many texts on `in_length_groups` cuts. Attacks ask about few texts, which are faster in one piece;
        training keeps the number with which released weights were trained, since it decides their rounding."""
        return BUCKETED if self.training else 4 * BUCKETED

    @abstractmethod
    def item_vectors(self, items: Tensor, embedded: Tensor, mask: Tensor) -> Tensor:
        """`n [B, D]` of `items [B]` whose texts have the word vectors `embedded [B, L, W]`, real in `mask [B, L]`."""

    def word_vectors(self, ids: Tensor) -> Tensor:
        vectors: Tensor = self.words(ids)
        return vectors

    def score(self, user: UserState, candidates: Candidates, embeddings: Tensor | None = None) -> Tensor:
        embedded = self.embed(candidates) if embeddings is None else embeddings
        items = self.item_vectors(candidates.items, embedded, candidates.tokens.mask)
        return (user.tensors[0] * items).sum(dim=1) * self.log_scale.exp() + self.offset

    def embed_history(self, users: Users) -> Tensor:
        """`[U, H, D]` item vectors; every item is encoded once however often it stands."""
        items, place = torch.unique(users.histories.clamp(min=0), return_inverse=True)
        tokens = self.catalog_tokens().select(items)
        vectors = self.item_vectors(items, self.words(tokens.ids), tokens.mask)
        return vectors[place] * (users.histories >= 0).unsqueeze(-1)


class SelfAttention(nn.Module):
    """Multi-head self-attention over `[B, N, in]` with values of `heads * head_size` (Vaswani et al. 2017)."""

    def __init__(self, size: int, heads: int, head_size: int) -> None:
        super().__init__()
        self.heads = heads
        self.project = nn.Linear(size, 3 * heads * head_size)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """`[B, N, heads * head_size]`; places outside `mask [B, N]` are not attended to."""
        batch, length, _ = x.shape
        query, key, value = self.project(x).view(batch, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        seen = mask | ~mask.any(dim=1, keepdim=True)  # a row without any real place attends everywhere, not nowhere
        attended = F.scaled_dot_product_attention(query, key, value, attn_mask=seen[:, None, None, :])
        return attended.transpose(1, 2).reshape(batch, length, -1)


class AdditiveAttention(nn.Module):
    """Weighs `[B, N, D]` into `[B, D]` by a learned query (Wu et al. 2019, equation 3)."""

    def __init__(self, size: int, hidden: int) -> None:
        super().__init__()
        self.key = nn.Linear(size, hidden)
        self.query = nn.Linear(hidden, 1, bias=False)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """The weighted mean over the places in `mask [B, N]`; zeros where there is none."""
        weight = self.query(torch.tanh(self.key(x))).squeeze(-1).masked_fill(~mask, -1e9)
        weight = torch.softmax(weight, dim=1) * mask
        return (weight.unsqueeze(1) @ x).squeeze(1)


def in_length_groups(
    encode: Callable[..., Tensor],
    embedded: Tensor,
    mask: Tensor,
    *more: Tensor,
    least: int = BUCKETED,
    whole: Sequence[Tensor] = (),
    worth: float = 0.0,
) -> Tensor:
    """`encode(embedded [B, L, D], mask [B, L], *more [B, L], *whole [B, ...])`, a tensor of `B` rows; long and short
    texts in separate groups, so that few pads are computed with, from `least` texts on. A text's real tokens come
    first. All stay together where groups would save less than the share `worth` of the positions, since rows of `whole`
    may be large, and moving them dear."""
    if torch.compiler.is_compiling() or len(embedded) < least:  # an exported graph has one path for all sizes
        return encode(embedded, mask, *more, *whole)
    lengths = mask.sum(dim=1)
    order = torch.argsort(lengths, stable=True)
    # sorted once and then cut: taking the rows of each group would fill a whole gradient for each
    widths = [int(group[-1]) for group in lengths[order].chunk(BUCKETS)]
    longest, saved = widths[-1], 1 - sum(widths) / (len(widths) * max(1, widths[-1]))
    if saved < worth:
        return encode(*(part[:, :longest] for part in (embedded, mask, *more)), *whole)
    cut = [
        [group[:, :width] for group, width in zip(part[order].chunk(BUCKETS), widths, strict=True)]
        for part in (embedded, mask, *more)
    ]
    groups = [encode(*parts) for parts in zip(*cut, *(part[order].chunk(BUCKETS) for part in whole), strict=True)]
    return torch.cat(groups)[torch.argsort(order)]


def closed(embedded: Tensor, mask: Tensor, *last: Tensor) -> tuple[Tensor, Tensor]:
    """Texts `[B, L + n, D]` with the `n` vectors `last`, each `[D]`, after the last real token of each, and the mask of
    that."""
    place = torch.arange(mask.shape[1] + len(last), device=mask.device)
    end = mask.sum(dim=1, keepdim=True)
    texts = F.pad(embedded, (0, 0, 0, len(last)))
    for number, vector in enumerate(last):
        texts = torch.where((place == end + number).unsqueeze(-1), vector, texts)
    return texts, place < end + len(last)

"""The parts of one input that an explanation speaks of: the words of the candidate's text, or the items of the history.

A part can be deleted, and each vector of the surface's continuous handle (`Recommender.embed`, `embed_history`) belongs
to a part or to none.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from recgauntlet.core.batch import Batch
from recgauntlet.core.dataset import Catalog
from recgauntlet.core.recommender import Recommender
from recgauntlet.core.types import PAD, Surface
from recgauntlet.evaluation.judge import with_own_users
from recgauntlet.threats.edits import items_of
from recgauntlet.threats.lexicon import words_of
from recgauntlet.threats.text import text_of


class InputParts(ABC):
    """The `P` parts of `one`, a batch of a single example.

    labels
        `P` texts: the words, or the texts of the items, in the order in which the model reads them.
    """

    labels: tuple[str, ...]

    def __init__(self, catalog: Catalog, one: Batch) -> None:
        self.catalog = catalog
        self.one = with_own_users(one)

    @property
    def can_be_deleted(self) -> bool:
        """Whether a part can be left out: models need not read an empty history."""
        return True

    @abstractmethod
    def without_each(self) -> Batch:
        """`P` inputs, each without one part. No legal inputs, but questions about how much a part matters."""

    @abstractmethod
    def embed(self, model: Recommender) -> Tensor:
        """`[1, L, D]`: the continuous handle."""

    @abstractmethod
    def score(self, model: Recommender, embeddings: Tensor) -> Tensor:
        """Logits `[n]` of the example with each of `embeddings [n, L, D]` in place of the handle, differentiable."""

    @abstractmethod
    def part_of_vector(self, model: Recommender, width: int) -> Tensor:
        """`[L]`: the part that each of the handle's `width` vectors belongs to; PAD for special tokens and padding."""


class TextParts(InputParts):
    """The words of the candidate's text."""

    def __init__(self, catalog: Catalog, one: Batch) -> None:
        super().__init__(catalog, one)
        self.labels = tuple(words_of(text_of(catalog, one, 0)))

    def without_each(self) -> Batch:
        words = self.labels
        return _copies(self.one, len(words)).with_texts(
            [" ".join([*words[:place], *words[place + 1 :]]) for place in range(len(words))]
        )

    def embed(self, model: Recommender) -> Tensor:
        return model.embed(model.candidates(self.one.items, self.one.texts))

    def score(self, model: Recommender, embeddings: Tensor) -> Tensor:
        copies = _copies(self.one, len(embeddings))
        state = model.encode_user(copies.users).select(copies.rows)
        return model.score(state, model.candidates(copies.items, copies.texts), embeddings)

    def part_of_vector(self, model: Recommender, width: int) -> Tensor:
        words = model.candidates(self.one.items, self.one.texts).tokens.word_of_token[0].cpu()
        return words if len(words) == width else torch.full((width,), PAD)


class HistoryParts(InputParts):
    """The items of the history, from the oldest on."""

    def __init__(self, catalog: Catalog, one: Batch) -> None:
        super().__init__(catalog, one)
        self.items = items_of(self.one.histories()[0].tolist())
        self.labels = tuple(catalog.texts[item] for item in self.items)

    @property
    def can_be_deleted(self) -> bool:
        return len(self.items) > 1

    def without_each(self) -> Batch:
        count, items = len(self.items), self.items
        histories = self.one.histories().new_full((count, self.one.histories().shape[1]), PAD)
        for place in range(count):
            left = histories.new_tensor([*items[:place], *items[place + 1 :]])
            histories[place, histories.shape[1] - len(left) :] = left
        return _copies(self.one, count).with_histories(histories)

    def embed(self, model: Recommender) -> Tensor:
        return model.embed_history(self.one.users)

    def score(self, model: Recommender, embeddings: Tensor) -> Tensor:
        copies = _copies(self.one, len(embeddings))
        users = copies.users.select(copies.rows)
        return model.score(model.encode_user(users, embeddings), model.candidates(copies.items, copies.texts))

    def part_of_vector(self, model: Recommender, width: int) -> Tensor:
        place = torch.arange(width) - (width - len(self.items))  # padding stands in front
        return torch.where(place >= 0, place, PAD)


PARTS: dict[Surface, type[InputParts]] = {"candidate-text": TextParts, "history": HistoryParts}
"""By the surface of a threat; a change of embeddings has no parts that could be read."""


def _copies(one: Batch, count: int) -> Batch:
    """The single example of `one`, `count` times."""
    return one.select(torch.zeros(count, dtype=torch.int64, device=one.items.device))

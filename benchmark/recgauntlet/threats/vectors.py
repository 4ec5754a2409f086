"""What a model makes of single words and history items: knowledge about the model, free of queries."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from recgauntlet.core.batch import Batch, Users
from recgauntlet.core.dataset import Catalog
from recgauntlet.core.recommender import Recommender
from recgauntlet.core.types import NEW_ITEM, PAD

LARGEST_LOOKUP = 512
"""Vectors of history items longer than this are not looked up: a batch of histories would outgrow the memory."""
_TRIED = 64
"""Users whose histories tell whether looking up is the same."""


class HistoryVectors:
    """The vector of each of `count` catalog items as the only item of a history, made once.

    `clean` are users to try on whether a history is its items looked up. `book` is told of user encodings.
    """

    def __init__(self, model: Recommender, count: int, clean: Users, book: Callable[[int], None]) -> None:
        self._model = model
        self._count = count
        self._clean = clean
        self._book = book
        self._table: Tensor | None = None
        self._is_context_free: bool | None = None

    def items(self, chunk: int) -> Tensor:
        """`[N, D]`: the vector of every item, made `chunk` items at a time."""
        return self._made(chunk)[:-1]

    def of(self, users: Users, chunk: int) -> Tensor | None:
        """`embed_history` of `users`, `[U, H, D]`, by looking up, where that is the same and cheaper; else None."""
        if self._model.keeps_items:
            return None
        if self._is_context_free is None:
            tried = self._clean.select(torch.arange(min(_TRIED, len(self._clean))).to(users.ids.device))
            found = self._model.embed_history(tried)
            self._is_context_free = found.shape[2] <= LARGEST_LOOKUP and torch.allclose(
                found, self._looked_up(tried, chunk), rtol=1e-4, atol=1e-5
            )
        return self._looked_up(users, chunk) if self._is_context_free else None

    def _looked_up(self, users: Users, chunk: int) -> Tensor:
        return self._made(chunk)[users.histories]  # PAD is -1: the last row

    def _made(self, chunk: int) -> Tensor:
        """`[N + 1, D]`: the item vectors, and that of an empty place in the last row."""
        if self._table is None:
            items = torch.arange(self._count + 1, device=self._clean.ids.device)
            items[-1] = PAD
            with torch.no_grad():
                parts = []
                for start in range(0, len(items), chunk):
                    part = items[start : start + chunk]
                    users = Users(torch.zeros_like(part), part[:, None])
                    parts.append(self._model.embed_history(users)[:, 0])
            self._table = torch.cat(parts)
            self._book(self._count)
        return self._table


class WordVectors:
    """The mean of a word's token embeddings when it stands alone; each word's is made once."""

    def __init__(self, model: Recommender, device: torch.device) -> None:
        self._model = model
        self._device = device
        self._table: Tensor | None = None
        self._places: dict[str, int] = {}

    def of(self, words: Sequence[str], chunk: int) -> Tensor:
        """On the CPU: `[V, D]`, made `chunk` words at a time where they are new."""
        new = [word for word in dict.fromkeys(words) if word not in self._places]
        if new:
            made = self._made(new, chunk)
            self._table = made if self._table is None else torch.cat([self._table, made])
            self._places |= {word: len(self._places) + n for n, word in enumerate(new)}
        if self._table is None:
            return torch.zeros((0, 1))
        return self._table[torch.tensor([self._places[word] for word in words], dtype=torch.int64)]

    def _made(self, words: Sequence[str], chunk: int) -> Tensor:
        out = []
        with torch.no_grad():
            for start in range(0, len(words), chunk):
                texts = words[start : start + chunk]
                items = torch.full((len(texts),), NEW_ITEM, device=self._device)
                candidates = self._model.candidates(items, texts)
                embedded = self._model.embed(candidates).float()
                own = (candidates.tokens.word_of_token >= 0).unsqueeze(-1)
                out.append(((embedded * own).sum(dim=1) / own.sum(dim=1).clamp(min=1)).cpu())
        return torch.cat(out)


def added_by_words(
    references: Batch, catalog: Catalog, words: Sequence[str], score: Callable[[Batch], Tensor]
) -> Tensor:
    """On the CPU: what each of `words [V]` adds to the logit of each of the examples `references [R]` when it stands
    behind the text, `[V, R]`, by `score` of a batch."""
    columns = []
    for n, item in enumerate(references.items.tolist()):
        text = catalog.texts[item]
        longer = [text, *(f"{text} {word}" for word in words)]
        alike = references.select(references.rows.new_full((len(longer),), n)).as_new_listings(longer)
        logits = score(alike).float().cpu()
        columns.append(logits[1:] - logits[0])
    return torch.stack(columns, dim=1)

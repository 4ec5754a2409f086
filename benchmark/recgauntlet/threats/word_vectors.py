"""A model's vectors of single words: knowledge about the model, free of queries."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from recgauntlet.core.recommender import Recommender


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
                items = torch.zeros(len(texts), dtype=torch.int64, device=self._device)
                candidates = self._model.candidates(items, texts)
                embedded = self._model.embed(candidates).float()
                own = (candidates.tokens.word_of_token >= 0).unsqueeze(-1)
                out.append(((embedded * own).sum(dim=1) / own.sum(dim=1).clamp(min=1)).cpu())
        return torch.cat(out)

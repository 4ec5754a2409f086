"""Base class of inference-time defenses: a served model that delegates each step to the wrapped model."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from recgauntlet.core.batch import Batch, Candidates, Tokens, Users, UserState
from recgauntlet.core.dataset import Catalog
from recgauntlet.core.recommender import Recommender


class Wrapped(Recommender):
    """`inner` and its parameters, unchanged; a defense overrides the step at which it steps in."""

    def __init__(self, inner: Recommender) -> None:
        super().__init__(inner.catalog, token_length=inner.token_length)
        self.inner = inner
        self.surfaces = inner.surfaces  # type: ignore[misc]  # it reads what the model inside reads
        self.recipe = inner.recipe
        self.origin = inner.origin

    def click_loss(self, scores: Tensor, batch: Batch) -> Tensor:
        return self.inner.click_loss(scores, batch)

    def auxiliary_loss(self, batch: Batch, generator: torch.Generator) -> Tensor | None:
        return self.inner.auxiliary_loss(batch, generator)

    def tokenize(self, texts: Sequence[str]) -> Tokens:
        return self.inner.tokenize(texts)

    def embed_history(self, users: Users) -> Tensor:
        return self.inner.embed_history(users)

    def encode_user(self, users: Users, embeddings: Tensor | None = None) -> UserState:
        return self.inner.encode_user(users, embeddings)

    def embed(self, candidates: Candidates) -> Tensor:
        return self.inner.embed(candidates)

    def score(self, user: UserState, candidates: Candidates, embeddings: Tensor | None = None) -> Tensor:
        return self.inner.score(user, candidates, embeddings)


class RepairedWords(Wrapped):
    """`inner`, which reads `repair(word)` wherever a word is shown that no text of the catalog has.

    Word for word, so `word_of_token` names the words of the text as given. A repair that would leave nothing, or
    several words, is joined or dropped.
    """

    def __init__(self, inner: Recommender, repair: Callable[[str], str]) -> None:
        super().__init__(inner)
        self._repair = repair
        self._read = {word: word for word in catalog_words(inner.catalog)}

    def tokenize(self, texts: Sequence[str]) -> Tokens:
        return self.inner.tokenize([" ".join(map(self._repaired, text.split())) for text in texts])

    def _repaired(self, word: str) -> str:
        found = self._read.get(word)
        if found is None:
            found = self._read[word] = "".join(self._repair(word).split()) or word
        return found


def catalog_words(catalog: Catalog) -> list[str]:
    """The distinct words of a catalog, as shown, in order of appearance."""
    return list(dict.fromkeys(word for text in catalog.texts for word in text.split()))

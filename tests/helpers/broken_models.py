"""Models that each break one rule of the contract, and keep to all the others."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from recgauntlet import Batch, Between, Candidates, Catalog, Recommender, Tokens, Users, UserState
from recgauntlet.core.search_space import SearchSpace
from recgauntlet.core.types import PAD, Scalar, Surface
from recgauntlet.testing.tiny_models import TinyTitles, masked_mean


class TakesAnything(TinyTitles):
    def __init__(self, catalog: Catalog, *, token_length: int, **more: Scalar) -> None:
        super().__init__(catalog, token_length=token_length)


class LacksTwoMethods(Recommender):
    surfaces: ClassVar[frozenset[Surface]] = TinyTitles.surfaces
    recipe = TinyTitles.recipe
    tokenize, embed, embed_history = TinyTitles.tokenize, TinyTitles.embed, TinyTitles.embed_history


class CrashesInTraining(TinyTitles):
    def score(self, user: UserState, candidates: Candidates, embeddings: Tensor | None = None) -> Tensor:
        if self.training:
            raise ValueError("expected more than one value")
        return super().score(user, candidates, embeddings)


class CountsWordsFromOne(TinyTitles):
    def tokenize(self, texts: Sequence[str]) -> Tokens:
        tokens = super().tokenize(texts)
        return replace(tokens, word_of_token=torch.where(tokens.mask, tokens.word_of_token + 1, PAD))


class DividesByNothing(TinyTitles):
    """A user without history is no number."""

    def encode_user(self, users: Users, embeddings: Tensor | None = None) -> UserState:
        there = (users.histories != PAD).any(dim=1, keepdim=True)
        return UserState((super().encode_user(users, embeddings).tensors[0] / there,))


class DividesByTheHiddenId(TinyTitles):
    """A new listing, whose id is hidden, is no number."""

    def score(self, user: UserState, candidates: Candidates, embeddings: Tensor | None = None) -> Tensor:
        return super().score(user, candidates, embeddings) / (candidates.items >= 0)


class TreatsHandedEmbeddingsOtherwise(TinyTitles):
    def encode_user(self, users: Users, embeddings: Tensor | None = None) -> UserState:
        state = super().encode_user(users, embeddings)
        return state if embeddings is None else UserState((1.5 * state.tensors[0],))


class CentresTheBatch(TinyTitles):
    def score(self, user: UserState, candidates: Candidates, embeddings: Tensor | None = None) -> Tensor:
        scores = super().score(user, candidates, embeddings)
        return scores - 0.5 * scores.mean()


class CountsEmptyPlaces(TinyTitles):
    def encode_user(self, users: Users, embeddings: Tensor | None = None) -> UserState:
        items = self.embed_history(users) if embeddings is None else embeddings
        return UserState((self.taste(masked_mean(items, torch.ones_like(users.histories, dtype=torch.bool))),))


class HidesASurface(TinyTitles):
    """It reads the text, and does not say so."""

    surfaces: ClassVar[frozenset[Surface]] = frozenset({"history", "embedding"})


class WritesToEmbeddings(TinyTitles):
    def score(self, user: UserState, candidates: Candidates, embeddings: Tensor | None = None) -> Tensor:
        scores = super().score(user, candidates, embeddings)
        if embeddings is not None and not embeddings.requires_grad:
            embeddings.mul_(2.0)
        return scores


class CutsTheGradient(TinyTitles):
    def score(self, user: UserState, candidates: Candidates, embeddings: Tensor | None = None) -> Tensor:
        embedded = self.embed(candidates) if embeddings is None else embeddings
        return super().score(user, candidates, embedded.detach())


class NeedsPairs(TinyTitles):
    """A pairwise loss, and nothing where the partner is missing."""

    def click_loss(self, scores: Tensor, batch: Batch) -> Tensor:
        clicked, other = scores[batch.labels > 0.5], scores[batch.labels < 0.5]
        count = min(len(clicked), len(other))
        return -(clicked[:count] - other[:count]).sigmoid().log().sum() if count else torch.zeros(())


class DrawsItsOwnNegatives(TinyTitles):
    def auxiliary_loss(self, batch: Batch, generator: torch.Generator) -> Tensor | None:
        return self.words.weight[torch.randint(1, 200, (5,))].square().mean()


class TunesBackwards(TinyTitles):
    search_space: ClassVar[SearchSpace] = {"size": Between(16, 8)}


class DrawsWithNumpy(TinyTitles):
    """Its first weights come from a generator that no cell seeds."""

    def __init__(self, catalog: Catalog, *, token_length: int, size: int = 8) -> None:
        super().__init__(catalog, token_length=token_length, size=size)
        with torch.no_grad():
            self.words.weight[1:] = torch.from_numpy(np.random.randn(len(self.words.weight) - 1, size)).float()


class KeepsALooseTensor(TinyTitles):
    def __init__(self, catalog: Catalog, *, token_length: int, size: int = 8) -> None:
        super().__init__(catalog, token_length=token_length, size=size)
        self.popularity = torch.zeros(len(catalog))


class SaysBfloat16(TinyTitles):
    """numpy has no bfloat16."""

    trains_in_bf16: ClassVar[bool] = True

    def encode_user(self, users: Users, embeddings: Tensor | None = None) -> UserState:
        state = super().encode_user(users, embeddings)
        assert np.isfinite(state.tensors[0].detach().numpy()).all()
        return state


class SumsItsLoss(TinyTitles):
    """A sum over a batch grows with it."""

    trains_in_parallel: ClassVar[bool] = True

    def click_loss(self, scores: Tensor, batch: Batch) -> Tensor:
        return 0.1 * len(batch) * super().click_loss(scores, batch)


class ForgetsANumber(TinyTitles):
    """A number that was drawn, and that no file holds."""

    def __init__(self, catalog: Catalog, *, token_length: int, size: int = 8) -> None:
        super().__init__(catalog, token_length=token_length, size=size)
        self.gain = 1.0 + float(torch.rand(()))

    def score(self, user: UserState, candidates: Candidates, embeddings: Tensor | None = None) -> Tensor:
        return self.gain * super().score(user, candidates, embeddings)


class SharesAVocabulary(TinyTitles):
    vocabulary: ClassVar[dict[str, int]] = {}

    def __init__(self, catalog: Catalog, *, token_length: int, size: int = 8) -> None:
        super().__init__(catalog, token_length=token_length, size=size)
        for text in catalog.texts:
            self.vocabulary.setdefault(text, len(self.vocabulary))


class SetsTheEnvironment(TinyTitles):
    def __init__(self, catalog: Catalog, *, token_length: int, size: int = 8) -> None:
        super().__init__(catalog, token_length=token_length, size=size)
        os.environ["RECGAUNTLET_BROKEN_MODEL"] = "1"


class _Memory:
    def __init__(self) -> None:
        self.scores: list[Tensor] = []


class KeepsScores(TinyTitles):
    def __init__(self, catalog: Catalog, *, token_length: int, size: int = 8) -> None:
        super().__init__(catalog, token_length=token_length, size=size)
        self.memory = _Memory()

    def score(self, user: UserState, candidates: Candidates, embeddings: Tensor | None = None) -> Tensor:
        scores = super().score(user, candidates, embeddings)
        self.memory.scores.append(scores.detach())
        return scores

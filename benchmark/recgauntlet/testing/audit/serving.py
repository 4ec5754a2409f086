"""Base class of the fakes: a served model that delegates each step to the wrapped model."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from recgauntlet.core.batch import Candidates, Tokens, Users, UserState
from recgauntlet.core.dataset import TaskData
from recgauntlet.core.recommender import Recommender
from recgauntlet.training.defense import Defense


class Fake(Defense):
    """A defense that only looks robust: nothing in training, a mask in `wrap`.

    The first line of a subclass's docstring says what it pretends, the rest why that is no defense.
    """

    name: ClassVar[str]

    @classmethod
    def from_data(cls, data: TaskData) -> Fake:
        """The fake with its defaults; one that cheats with the test takes it from `data`, as a cheater would."""
        return cls()

    @classmethod
    def pretends(cls) -> str:
        """What the fake pretends, in one line."""
        return (cls.__doc__ or "").strip().splitlines()[0]


class Served(Recommender):
    """`inner`, unchanged. A fake overrides the one step at which it cheats."""

    def __init__(self, inner: Recommender) -> None:
        super().__init__(inner.catalog, token_length=inner.token_length)
        self.inner = inner
        self.surfaces = inner.surfaces  # type: ignore[misc]  # it reads what the model inside reads
        self.recipe = inner.recipe

    def tokenize(self, texts: Sequence[str]) -> Tokens:
        return self.inner.tokenize(texts)

    def embed_history(self, users: Users) -> Tensor:
        return self.inner.embed_history(users)

    def encode_user(self, users: Users, embeddings: Tensor | None = None) -> UserState:
        return self.inner.encode_user(users, embeddings)

    def embed(self, candidates: Candidates) -> Tensor:
        return self.inner.embed(candidates)

    def score(self, user: UserState, candidates: Candidates, embeddings: Tensor | None = None) -> Tensor:
        embedded = self.embed(candidates) if embeddings is None else embeddings
        return self.masked(self.inner.score(user, candidates, embedded))

    def masked(self, logits: Tensor) -> Tensor:
        """What is answered instead of `logits [B]`."""
        return logits


class ServedWithInputs(Served):
    """`inner`, with each user's id and history `[U, 1 + H]` carried in the last tensor of the state, for fakes that
    ask who is asking."""

    def encode_user(self, users: Users, embeddings: Tensor | None = None) -> UserState:
        who = torch.cat([users.ids[:, None], users.histories], dim=1)
        return UserState((*self.inner.encode_user(users, embeddings).tensors, who))

    def score(self, user: UserState, candidates: Candidates, embeddings: Tensor | None = None) -> Tensor:
        *inside, who = user.tensors
        embedded = self.embed(candidates) if embeddings is None else embeddings
        logits = self.inner.score(UserState(tuple(inside)), candidates, embedded)
        return self.answer(logits, who, candidates, embedded)

    @abstractmethod
    def answer(self, logits: Tensor, who: Tensor, candidates: Candidates, embedded: Tensor) -> Tensor:
        """What is answered instead of `logits [B]` to `who [B, 1 + H]`."""

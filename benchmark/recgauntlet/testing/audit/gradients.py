"""Fake defenses with wrong gradients: the scores are those of the wrapped model, the gradients are not."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor

from recgauntlet.core.batch import Candidates, Users, UserState
from recgauntlet.core.recommender import Recommender
from recgauntlet.testing.audit.serving import Fake, Served


class DetachedGradients(Fake):
    """The inputs' embeddings are cut out of the graph: no gradient at all.

    Scores, and with them every decision, stay. An attack without a gradient stands still; one that asks for scores, or
    takes the gradient of a twin, does not.
    """

    name = "detached-gradients"

    def wrap(self, model: Recommender) -> Recommender:
        return _Detached(model)


class FlippedGradients(Fake):
    """The gradient of the inputs has the wrong sign: every attack climbs down.

    Scores and decisions are unchanged. Flipping the sign back restores the attack.
    """

    name = "flipped-gradients"

    def wrap(self, model: Recommender) -> Recommender:
        return _Flipped(model)


class ShuffledGradients(Fake):
    """The gradient of the inputs arrives with its dimensions in another order: as large as the true one, and useless.

    Scores, and with them every decision, stay. No look at the gradient's size can tell.
    """

    name = "shuffled-gradients"

    def wrap(self, model: Recommender) -> Recommender:
        return _Shuffled(model)


class BrokenGradients(Fake):
    """The gradient of the inputs is not a number: attacks crash or stand still.

    Scores, and with them every decision, stay.
    """

    name = "broken-gradients"

    def wrap(self, model: Recommender) -> Recommender:
        return _Broken(model)


class _Disguised(Served, ABC):
    """Candidates' and history's embeddings pass through `disguise`, which changes gradients alone."""

    @abstractmethod
    def disguise(self, embedded: Tensor) -> Tensor:
        """The same embeddings with other gradients."""

    def encode_user(self, users: Users, embeddings: Tensor | None = None) -> UserState:
        embedded = self.embed_history(users) if embeddings is None else embeddings
        return self.inner.encode_user(users, self.disguise(embedded))

    def score(self, user: UserState, candidates: Candidates, embeddings: Tensor | None = None) -> Tensor:
        embedded = self.embed(candidates) if embeddings is None else embeddings
        return self.inner.score(user, candidates, self.disguise(embedded))


class _Detached(_Disguised):
    def disguise(self, embedded: Tensor) -> Tensor:
        return embedded.detach()


class _Flipped(_Disguised):
    def disguise(self, embedded: Tensor) -> Tensor:
        return _Flip.apply(embedded)  # type: ignore[no-any-return, no-untyped-call]


class _Shuffled(_Disguised):
    def disguise(self, embedded: Tensor) -> Tensor:
        return _Shuffle.apply(embedded)  # type: ignore[no-any-return, no-untyped-call]


class _Broken(_Disguised):
    def disguise(self, embedded: Tensor) -> Tensor:
        return _Break.apply(embedded)  # type: ignore[no-any-return, no-untyped-call]


class _Flip(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, embedded: Tensor) -> Tensor:
        return embedded.view_as(embedded)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return -gradients[0]


class _Shuffle(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, embedded: Tensor) -> Tensor:
        return embedded.view_as(embedded)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0].roll(1, dims=-1)


class _Break(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, embedded: Tensor) -> Tensor:
        return embedded.view_as(embedded)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return torch.full_like(gradients[0], torch.nan)

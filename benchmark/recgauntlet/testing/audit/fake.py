"""Base class of the fakes: a served model that delegates each step to the model inside."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor

from recgauntlet.core.batch import Candidates, Tokens, Users, UserState
from recgauntlet.core.dataset import TaskData
from recgauntlet.core.recommender import Recommender


class Fake(Recommender):
    """A defense that only looks robust: the trained model `inner` behind a mask.

    A subclass has a `name`, overrides the one step at which it cheats, and is listed in `zoo.FAKES`. The first line
    of its docstring says what it pretends, the rest why that is no defense. `data` holds the test period, which a
    cheater may look up.
    """

    name: ClassVar[str]

    def __init__(self, inner: Recommender, data: TaskData) -> None:
        super().__init__(inner.catalog, token_length=inner.token_length)
        self.inner = inner
        self.surfaces = inner.surfaces  # type: ignore[misc]  # it reads what the model inside reads
        self.recipe = inner.recipe

    @classmethod
    def pretends(cls) -> str:
        """What the fake pretends, in one line."""
        return (cls.__doc__ or "").strip().splitlines()[0]

    def tokenize(self, texts: Sequence[str]) -> Tokens:
        return self.inner.tokenize(texts)

    def embed_history(self, users: Users) -> Tensor:
        return self.inner.embed_history(users)

    def encode_user(self, users: Users, embeddings: Tensor | None = None) -> UserState:
        embedded = self.embed_history(users) if embeddings is None else embeddings
        return self.inner.encode_user(users, self.masked_history(embedded))

    def embed(self, candidates: Candidates) -> Tensor:
        return self.inner.embed(candidates)

    def score(self, user: UserState, candidates: Candidates, embeddings: Tensor | None = None) -> Tensor:
        embedded = self.embed(candidates) if embeddings is None else embeddings
        return self.masked_logits(self.inner.score(user, candidates, self.masked_embeddings(embedded, candidates)))

    def masked_history(self, embedded: Tensor) -> Tensor:
        """What the model inside reads instead of `embedded [U, H, D]`, the history's embeddings."""
        return embedded

    def masked_embeddings(self, embedded: Tensor, candidates: Candidates) -> Tensor:
        """What the model inside reads instead of `embedded [B, L, D]`, the candidates' embeddings."""
        return embedded

    def masked_logits(self, logits: Tensor) -> Tensor:
        """What is answered instead of `logits [B]`."""
        return logits

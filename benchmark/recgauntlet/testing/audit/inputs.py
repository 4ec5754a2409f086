"""Fake defenses on the input: embeddings rounded, blurred or rescaled, or words hidden."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from recgauntlet.core.batch import Candidates, Tokens, Users, UserState
from recgauntlet.core.dataset import TaskData
from recgauntlet.core.recommender import Recommender
from recgauntlet.core.rng import Randomness
from recgauntlet.core.types import PAD
from recgauntlet.testing.audit.fake import Fake
from recgauntlet.threats.embedding_scale import embedding_scale


class QuantizedEmbeddings(Fake):
    """Embeddings are rounded to a grid: small changes are rounded away.

    A change of half a step gets through whole, and rounding has no gradient: what is gone is the attack's sense of
    direction. `width` (of a step) is relative to the root mean square of an element.
    """

    name = "quantized-embeddings"
    width = 0.2

    def __init__(self, inner: Recommender, data: TaskData) -> None:
        super().__init__(inner, data)
        self.grid = self.width * embedding_scale(inner, inner.catalog).rms
        items = torch.arange(len(inner.catalog), device=inner.device)
        with torch.no_grad():
            vectors = inner.embed_history(Users(torch.zeros_like(items), items[:, None]))
        self.history_grid = self.width * float(vectors.square().mean().sqrt())

    def masked_history(self, embedded: Tensor) -> Tensor:
        return torch.round(embedded / self.history_grid) * self.history_grid

    def masked_embeddings(self, embedded: Tensor, candidates: Candidates) -> Tensor:
        return torch.round(embedded / self.grid) * self.grid


class NoisyEmbeddings(Fake):
    """Noise is added to the candidate's embeddings, fresh at each call: randomized smoothing with one draw.

    The mean of a few draws is the model inside. A search climbs the noise, and what broke once may stand at the
    second look. `sigma` is relative to the root mean square of an element.
    """

    name = "noisy-embeddings"
    sigma = 0.3

    def __init__(self, inner: Recommender, data: TaskData) -> None:
        super().__init__(inner, data)
        self.deviation = self.sigma * embedding_scale(inner, inner.catalog).rms
        self.generator = Randomness(0, "audit/noisy-embeddings").torch()

    def masked_embeddings(self, embedded: Tensor, candidates: Candidates) -> Tensor:
        noise = torch.randn(embedded.shape, generator=self.generator).to(embedded)
        return embedded + self.deviation * noise


class InferenceOptimization(Fake):
    """Each answer is thought over: a few gradient steps move the candidate to where the model is surer.

    It makes the model surer of whatever it says first, of a wrong answer too: no decision changes. The answer costs as
    much as an attack.
    """

    name = "inference-optimization"
    steps, stride = 3, 0.1

    def __init__(self, inner: Recommender, data: TaskData) -> None:
        super().__init__(inner, data)
        self.length = self.stride * embedding_scale(inner, inner.catalog).norm

    def score(self, user: UserState, candidates: Candidates, embeddings: Tensor | None = None) -> Tensor:
        embedded = self.embed(candidates) if embeddings is None else embeddings
        moved = embedded.detach()
        for _ in range(self.steps):
            with torch.enable_grad():
                handle = moved.requires_grad_(True)
                sureness = self.inner.score(user.detach(), candidates, handle).abs()
                (gradient,) = torch.autograd.grad(sureness.sum(), handle)
            norm = gradient.flatten(1).norm(dim=1).clamp(min=1e-12)
            moved = moved.detach() + self.length * gradient / norm[:, None, None]
        return self.inner.score(user, candidates, embedded + (moved - embedded).detach())


class ScaledEmbeddings(Fake):
    """The embedding table is `factor` times as large, and its consumer divides by it: changes look small beside it.

    The function is the same. A radius that is not relative to the model's own embeddings would shrink to nothing.
    """

    name = "scaled-embeddings"
    factor = 100.0

    def embed(self, candidates: Candidates) -> Tensor:
        return self.factor * self.inner.embed(candidates)

    def embed_history(self, users: Users) -> Tensor:
        return self.factor * self.inner.embed_history(users)

    def masked_history(self, embedded: Tensor) -> Tensor:
        return embedded / self.factor

    def masked_embeddings(self, embedded: Tensor, candidates: Candidates) -> Tensor:
        return embedded / self.factor


class InflatedRow(Fake):
    """One row of the embedding table, the catalog's most frequent token, is `factor` times as large.

    Its consumer divides it again, so the function is the same; the mean norm, and every size that is relative to it,
    is no longer that of the other tokens.
    """

    name = "inflated-row"
    factor = 100.0

    def __init__(self, inner: Recommender, data: TaskData) -> None:
        super().__init__(inner, data)
        tokens = inner.catalog_tokens()
        self.row = int(tokens.ids[tokens.mask].bincount().argmax())

    def embed(self, candidates: Candidates) -> Tensor:
        return self.inner.embed(candidates) * self._factors(candidates)

    def masked_embeddings(self, embedded: Tensor, candidates: Candidates) -> Tensor:
        return embedded / self._factors(candidates)

    def _factors(self, candidates: Candidates) -> Tensor:
        return torch.where(candidates.tokens.ids == self.row, self.factor, 1.0).unsqueeze(-1)


class SilentTokens(Fake):
    """Each text begins with `count` tokens whose embeddings are 0 and which the model ignores.

    The function is the same, but the mean norm of a token falls, and with it every radius that is relative to it. The
    attack is measured on a smaller ball than the model inside.
    """

    name = "silent-tokens"
    count = 12

    def tokenize(self, texts: Sequence[str]) -> Tokens:
        tokens = self.inner.tokenize(texts)
        shape = (len(texts), self.count)
        return Tokens(
            torch.cat([tokens.ids.new_zeros(shape), tokens.ids], dim=1),
            torch.cat([tokens.mask.new_ones(shape), tokens.mask], dim=1),
            torch.cat([tokens.word_of_token.new_full(shape, PAD), tokens.word_of_token], dim=1),
        )

    def embed(self, candidates: Candidates) -> Tensor:
        embedded = self.inner.embed(self._heard(candidates))
        return torch.cat([embedded.new_zeros((len(embedded), self.count, embedded.shape[2])), embedded], dim=1)

    def score(self, user: UserState, candidates: Candidates, embeddings: Tensor | None = None) -> Tensor:
        heard = self._heard(candidates)
        return self.inner.score(user, heard, None if embeddings is None else embeddings[:, self.count :])

    def _heard(self, candidates: Candidates) -> Candidates:
        tokens, first = candidates.tokens, self.count
        return Candidates(
            candidates.items, Tokens(tokens.ids[:, first:], tokens.mask[:, first:], tokens.word_of_token[:, first:])
        )


class KnownWordsOnly(Fake):
    """Words that the catalog does not have vanish before the model sees them: a cleaned input.

    A misspelling then hides a word, which is one of the worst things that can be done to a headline.
    """

    name = "known-words-only"

    def __init__(self, inner: Recommender, data: TaskData) -> None:
        super().__init__(inner, data)
        self.known = frozenset(word for text in inner.catalog.texts for word in text.split())

    def tokenize(self, texts: Sequence[str]) -> Tokens:
        return self.inner.tokenize([" ".join(w for w in text.split() if w in self.known) for text in texts])


class DeafEmbeddings(Fake):
    """Embeddings that are handed in are not used, the model embeds the candidate itself: immune by construction.

    It does not read the surface that it says it reads. The embeddings that it uses can be attacked as before.
    """

    name = "deaf-embeddings"

    def encode_user(self, users: Users, embeddings: Tensor | None = None) -> UserState:
        return self.inner.encode_user(users)

    def score(self, user: UserState, candidates: Candidates, embeddings: Tensor | None = None) -> Tensor:
        return self.inner.score(user, candidates)

"""The model under attack: counts what an attack asks of it and refuses to go past the budget."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import torch
from torch import Tensor

from recgauntlet.batch import Batch, UserState
from recgauntlet.data.tables import Catalog
from recgauntlet.errors import BudgetExceeded
from recgauntlet.recommender import Recommender, embedding_mask
from recgauntlet.world import World


@dataclass
class Effort:
    """What was asked of a victim: scored inputs, gradient passes over inputs, user encodings and how many a cache saved."""

    forwards: int = 0
    backwards: int = 0
    user_encodings: int = 0
    cache_hits: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class EmbeddingScale:
    """The model's own size of embeddings over the catalog: radii are relative to it.

    `norm`: the mean L2 norm of a candidate's embedded text, padding left out. `rms`: the root mean square of an element.
    """

    norm: float
    rms: float


@torch.no_grad()
def embedding_scale(model: Recommender, catalog: Catalog, *, chunk: int = 2048) -> EmbeddingScale:
    """Measure `model`'s embeddings over the whole catalog."""
    norms, squares, elements = 0.0, 0.0, 0
    for start in range(0, len(catalog), chunk):
        candidates = model.candidates(torch.arange(start, min(start + chunk, len(catalog))))
        embedded = model.embed(candidates)
        real = embedded * embedding_mask(candidates, embedded).unsqueeze(-1)
        norms += float(real.flatten(1).norm(dim=1).double().sum())
        squares += float(real.double().pow(2).sum())
        elements += int(embedding_mask(candidates, embedded).sum()) * embedded.shape[2]
    return EmbeddingScale(norms / len(catalog), (squares / max(elements, 1)) ** 0.5)


@dataclass
class Victim:
    """A model, seen by an attack, for the examples of one clean batch.

    Users of the clean batch are encoded once. `limit` is the number of scored inputs an attack may ask for per
    example (None: no limit); `reset` starts the count again for the next attack.
    """

    model: Recommender
    world: World
    scale: EmbeddingScale
    clean: Batch
    limit: int | None = None
    chunk: int = 1024
    effort: Effort = field(default_factory=Effort)
    _state: UserState | None = None
    _asked: dict[int, int] = field(default_factory=dict)

    def reset(self, limit: int | None) -> None:
        """A new attack begins: nothing asked yet, `limit` queries an example."""
        self.limit = limit
        self.effort = Effort()
        self._asked = {}

    def remaining(self, example_ids: Tensor) -> list[int]:
        """How many queries are left for each example `[B]`; a large number where there is no limit."""
        limit = 2**31 if self.limit is None else self.limit
        return [limit - self._asked.get(i, 0) for i in example_ids.tolist()]

    def scores(self, batch: Batch) -> Tensor:
        """Logits `[B]`, without a graph; each row is one query of its example."""
        self._count(batch)
        started = time.perf_counter()
        with torch.no_grad():
            out = [self._forward(part) for part in self._parts(batch)]
        self.effort.forwards += len(batch)
        self.effort.seconds += time.perf_counter() - started
        return torch.cat(out) if out else torch.empty(0, device=batch.items.device)

    def embedding_gradient(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Logits `[B]`, their gradient with respect to the candidates' embeddings `[B, L, D]` at `batch.delta`, and
        the mask `[B, L]` of real tokens. The gradient of the logit itself, so no saturated loss can hide it."""
        self._count(batch)
        started = time.perf_counter()
        logits, gradients, masks = [], [], []
        for part in self._parts(batch):
            with torch.no_grad():
                state = self._user_state(part)
                candidates = self.model.candidates(part.items, part.texts)
                embedded = self.model.embed(candidates)
                if part.delta is not None:
                    embedded = embedded + fit(part.delta, embedded.shape[1])
            with torch.enable_grad():
                handle = embedded.detach().requires_grad_(True)
                score = self.model.score(state.select(part.rows), candidates, handle)
                gradient = input_gradient(score, handle)
            logits.append(score.detach())
            gradients.append(gradient)
            masks.append(embedding_mask(candidates, embedded))
        self.effort.forwards += len(batch)
        self.effort.backwards += len(batch)
        self.effort.seconds += time.perf_counter() - started
        width = max(g.shape[1] for g in gradients)
        return (
            torch.cat(logits),
            torch.cat([fit(g, width) for g in gradients]),
            torch.cat([fit(m, width) for m in masks]),
        )

    def history_gradient(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Logits `[B]`, the history's embeddings `[B, H, D]` and the logits' gradient with respect to them."""
        self._count(batch)
        started = time.perf_counter()
        logits, embeddings, gradients = [], [], []
        for part in self._parts(batch):
            users = part.users.select(part.rows)
            with torch.no_grad():
                embedded = self.model.embed_history(users)
                candidates = self.model.candidates(part.items, part.texts)
            with torch.enable_grad():
                handle = embedded.detach().requires_grad_(True)
                score = self.model.score(self.model.encode_user(users, handle), candidates)
                gradient = input_gradient(score, handle)
            logits.append(score.detach())
            embeddings.append(embedded.detach())
            gradients.append(gradient)
            self.effort.user_encodings += len(part)
        self.effort.forwards += len(batch)
        self.effort.backwards += len(batch)
        self.effort.seconds += time.perf_counter() - started
        return torch.cat(logits), torch.cat(embeddings), torch.cat(gradients)

    def _forward(self, batch: Batch) -> Tensor:
        state = self._user_state(batch)
        candidates = self.model.candidates(batch.items, batch.texts)
        if batch.delta is None:
            return self.model.score(state.select(batch.rows), candidates)
        embedded = self.model.embed(candidates)
        return self.model.score(
            state.select(batch.rows), candidates, embedded + fit(batch.delta, embedded.shape[1])
        )

    def _user_state(self, batch: Batch) -> UserState:
        if batch.users is self.clean.users:
            if self._state is None:
                self._state = self._encode(self.clean)
                self.effort.user_encodings += len(self.clean.users)
            else:
                self.effort.cache_hits += len(batch)
            return self._state
        self.effort.user_encodings += len(batch.users)
        return self._encode(batch)

    def _encode(self, batch: Batch) -> UserState:
        size = len(batch.users)
        parts = []
        with torch.no_grad():
            for start in range(0, size, self.chunk):
                rows = torch.arange(start, min(start + self.chunk, size), device=batch.rows.device)
                parts.append(self.model.encode_user(batch.users.select(rows)).tensors)
        return UserState(tuple(torch.cat(tensors) for tensors in zip(*parts, strict=True)))

    def _parts(self, batch: Batch) -> list[Batch]:
        """Chunks of the batch; where users differ from the clean ones, each chunk carries only its own."""
        if len(batch) <= self.chunk:
            return [batch]
        parts = []
        for start in range(0, len(batch), self.chunk):
            index = torch.arange(start, min(start + self.chunk, len(batch)), device=batch.items.device)
            part = batch.select(index)
            if batch.users is not self.clean.users:
                part = part.with_histories(part.histories())
            parts.append(part)
        return parts

    def _count(self, batch: Batch) -> None:
        for i in batch.example_ids.tolist():
            asked = self._asked.get(i, 0) + 1
            if self.limit is not None and asked > self.limit:
                raise BudgetExceeded(f"example {i}: more than {self.limit} queries")
            self._asked[i] = asked


def input_gradient(score: Tensor, handle: Tensor) -> Tensor:
    """The gradient of `score.sum()` with respect to `handle`, zero where the graph does not reach it."""
    if not score.requires_grad:
        return torch.zeros_like(handle)
    (gradient,) = torch.autograd.grad(score.sum(), handle, allow_unused=True)
    return torch.zeros_like(handle) if gradient is None else gradient


def fit(tensor: Tensor, width: int) -> Tensor:
    """`[B, L, ...]` cut or zero-padded to `[B, width, ...]`."""
    if tensor.shape[1] >= width:
        return tensor[:, :width]
    shape = (tensor.shape[0], width - tensor.shape[1], *tensor.shape[2:])
    return torch.cat([tensor, tensor.new_zeros(shape)], dim=1)

"""The model under attack: counts what an attack asks of it and refuses to go past the budget."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor

from recgauntlet.core.batch import Batch, Candidates, Users, UserState
from recgauntlet.core.errors import BudgetExceeded
from recgauntlet.core.recommender import Recommender, embedding_mask
from recgauntlet.core.scoring import fit
from recgauntlet.threats.embedding_scale import EmbeddingScale
from recgauntlet.threats.gradients import (
    by_length,
    by_word,
    encode_in_chunks,
    in_chunks,
    is_out_of_memory,
    joined,
    mean_gradient,
)
from recgauntlet.threats.knowledge import AttackerKnowledge
from recgauntlet.threats.precision import Precision
from recgauntlet.threats.queries import Effort, KnownScores
from recgauntlet.threats.vectors import HistoryVectors, WordVectors, added_by_words

Result = TypeVar("Result")
CHUNK, CHUNK_ON_CPU = 1024, 512
"""Inputs in one pass. On a CPU smaller ones stay in its caches: searches over histories are a tenth to a fifth
faster."""


@dataclass
class Victim:
    """A model, seen by an attack, for the examples of one clean batch.

    Users of the clean batch are encoded once, and an input of a model that is not random is scored once, whichever
    attacks ask for it; each pays its query.

    model
        The model as it is served.
    world
        What else the attacker knows: the catalog, its words, similar items.
    scale
        The model's mean embedding norm, which radii are relative to.
    clean
        The examples under attack, unchanged.
    limit
        Scored inputs that an attack may ask for per example, None for no limit; `reset` starts the count again.
    chunk
        Inputs in one pass, 0 for what suits the device; halved where the memory is too small.
    samples
        How often a random model is asked for a score or gradient, whose mean is given: expectation over randomness
        (Athalye, Carlini and Wagner 2018).
    half
        Whether scores and gradients are computed in bfloat16 (`recgauntlet.threats.precision`).
    effort
        What the attack has asked for.
    """

    model: Recommender
    world: AttackerKnowledge
    scale: EmbeddingScale
    clean: Batch
    limit: int | None = None
    chunk: int = 0
    samples: int = 1
    half: bool = False
    effort: Effort = field(default_factory=Effort)
    _precision: Precision = field(init=False)
    _state: UserState | None = None
    _known: Tensor = field(init=False)
    _asked: Tensor = field(init=False)
    _clean_scores: Tensor | None = None
    _words: WordVectors = field(init=False)
    _history: HistoryVectors = field(init=False)
    _word_effects: tuple[tuple[str, ...], Tensor] | None = None
    _known_scores: KnownScores = field(init=False)

    def __post_init__(self) -> None:
        self.chunk = self.chunk or (CHUNK_ON_CPU if self.clean.items.device.type == "cpu" else CHUNK)
        self._known = torch.unique(self.clean.example_ids.cpu())
        self._asked = torch.zeros(len(self._known), dtype=torch.int64)
        self._known_scores = KnownScores(history_limit=self.model.history_limit)
        self._precision = Precision(self.half, self.clean, self._passes)
        self._words = WordVectors(self.model, self.clean.items.device)
        self._history = HistoryVectors(self.model, len(self.world.catalog), self.clean.users, self._book_encodings)

    def reset(self, limit: int | None) -> None:
        """A new attack begins: nothing asked yet, `limit` queries an example."""
        self.limit = limit
        self.effort = Effort()
        self._asked = torch.zeros(len(self._known), dtype=torch.int64)

    def prepare(self) -> UserState:
        """The states of the clean users, encoded once."""
        if self._state is None:
            self._state = encode_in_chunks(self.model, self.clean.users, self.chunk)
            self._book_encodings(len(self.clean.users))
        return self._state

    def remaining(self, example_ids: Tensor) -> Tensor:
        """How many queries are left for each example: `[B]`, int64, on the CPU; large where there is no limit."""
        limit = 2**31 if self.limit is None else self.limit
        return limit - self._asked[self._places(example_ids)]

    @contextmanager
    def _timed(self) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self.effort.seconds += time.perf_counter() - started

    def scores(self, batch: Batch) -> Tensor:
        """Logits `[B]`, without a graph; each row is one query of its example."""
        self._count(batch)
        with self._timed():
            return self._computed(batch) if batch.delta is not None or self.samples > 1 else self._remembered(batch)

    def _remembered(self, batch: Batch) -> Tensor:
        """The scores, those that were given before from memory; only where the model is not random."""
        keys = self._known_scores.keys(batch)
        logits = self._known_scores.find(keys)
        new: dict[bytes, int] = {}
        for row, key in enumerate(keys):
            if key not in logits:
                new.setdefault(key, row)
        self.effort.cache_hits += len(batch) - len(new)
        if new:
            rows = torch.tensor(list(new.values()), device=batch.items.device)
            computed = self._computed(batch if len(new) == len(batch) else batch.select(rows))
            found = dict(zip(new, computed.tolist(), strict=True))
            self._known_scores.keep(found)
            logits |= found
        return torch.tensor([logits[key] for key in keys], device=batch.items.device)

    def _computed(self, batch: Batch) -> Tensor:
        self.effort.forwards += len(batch) * self.samples
        return self._fitting(lambda: self._scores(batch))

    def _scores(self, batch: Batch) -> Tensor:
        return self._precision.settled(batch, self._passes(batch))

    def _passes(self, batch: Batch) -> Tensor:
        order = by_length(batch) if len(batch) > self.chunk else None
        with torch.no_grad():
            scores = self._in_order(batch if order is None else batch.select(order))
        return scores if order is None else torch.empty_like(scores).index_copy_(0, order, scores)

    def _in_order(self, batch: Batch) -> Tensor:
        out = [self._mean(part) for part in in_chunks(batch, self.chunk, self.clean.users)]
        return torch.cat(out) if out else torch.empty(0, device=batch.items.device)

    def _mean(self, batch: Batch) -> Tensor:
        """The mean of `samples` passes."""
        total = self._forward(batch)
        for _ in range(self.samples - 1):
            total = total + self._forward(batch)
        return total / self.samples if self.samples > 1 else total

    def _fitting(self, work: Callable[[], Result]) -> Result:
        """What `work` gives, with chunks half as large as often as the memory asks for it."""
        while True:
            try:
                return work()
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error) or self.chunk <= 1:
                    raise
                self.chunk = max(1, self.chunk // 2)
            if torch.cuda.is_available():
                torch.cuda.empty_cache()

    def partner_scores(self, example_ids: Tensor) -> Tensor:
        """On the CPU, `[B]`: the clean score of the other candidate of each example's pair (ids 2p and 2p + 1), 0 where
        it is not in the clean batch. Knowledge of clean inputs, no query."""
        if self._clean_scores is None:
            hits = self.effort.cache_hits
            scores = self._fitting(lambda: self._scores(self.clean)).float().cpu()
            self.effort.cache_hits = hits  # once a victim, whichever attack asks first: booked to none
            self._clean_scores = torch.zeros(len(self._known)).index_copy(
                0, self._places(self.clean.example_ids), scores
            )
        partner = example_ids.cpu() ^ 1
        place = torch.searchsorted(self._known, partner).clamp(max=len(self._known) - 1)
        return torch.where(self._known[place] == partner, self._clean_scores[place], 0.0)

    def embedding_layout(self, batch: Batch) -> tuple[Tensor, int]:
        """The mask `[B, L]` of real tokens of the candidates and the size `D` of their embeddings. No query:
        the model embeds, and scores nothing."""
        masks, size = [], 0
        with torch.no_grad():
            for part in in_chunks(batch, self.chunk, self.clean.users):
                candidates = self.model.candidates(part.items, part.texts)
                embedded = self.model.embed(candidates)
                masks.append(embedding_mask(candidates, embedded))
                size = embedded.shape[2]
        if not masks:
            return torch.zeros((0, 1), dtype=torch.bool, device=batch.items.device), size
        return joined(masks), size

    def embedding_gradient(self, batch: Batch, exact: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Logits `[B]`, their gradient with respect to the candidates' embeddings `[B, L, D]` at `batch.delta`, and the
        mask `[B, L]` of real tokens. The gradient of the logit itself, so no saturated loss can hide it. `exact [B]`:
        whose logits must not be left to rounding (None: all)."""
        return self._asked_for_gradients(batch, partial(self._embedding_gradient, exact=exact))

    def _embedding_gradient(self, batch: Batch, exact: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        logits, gradients, masks = [], [], []
        for candidates, logit, gradient, embedded in self._candidate_gradients(batch):
            logits.append(logit)
            gradients.append(gradient)
            masks.append(embedding_mask(candidates, embedded))
        return self._precision.settled(batch, torch.cat(logits), exact), joined(gradients), joined(masks)

    def _candidate_gradients(self, batch: Batch) -> Iterator[tuple[Candidates, Tensor, Tensor, Tensor]]:
        """Chunk by chunk: candidates, their logits as they come out, the gradients for their embeddings, and these."""
        for part in in_chunks(batch, self.chunk, self.clean.users):
            with torch.no_grad():
                state = self._user_state(part).select(part.rows)
                candidates = self.model.candidates(part.items, part.texts)
            embed, score = partial(self._embedded, candidates, part.delta), partial(self._scored, state, candidates)
            logits, gradient, embedded = mean_gradient(self.samples, embed, score)
            yield candidates, logits, gradient, embedded

    def _embedded(self, candidates: Candidates, delta: Tensor | None) -> Tensor:
        embedded = self.model.embed(candidates)
        return embedded if delta is None else embedded + fit(delta, embedded.shape[1])

    def _history_embedded(self, users: Users) -> Tensor:
        known = self._history.of(users, self.chunk)
        return self.model.embed_history(users) if known is None else known

    def _score_history(self, users: Users, candidates: Candidates, embeddings: Tensor) -> Tensor:
        with self._precision.of_passes():
            return self.model.score(self.model.encode_user(users, embeddings), candidates)

    def _asked_for_gradients(self, batch: Batch, work: Callable[[Batch], Result]) -> Result:
        self._count(batch)
        with self._timed():
            found = self._fitting(lambda: work(batch))
        self.effort.forwards += len(batch) * self.samples
        self.effort.backwards += len(batch) * self.samples
        return found

    def word_slopes(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """On the CPU: the logits' slope with respect to each word's vector, `[B, W, D]`, and its product with
        the word as it stands, `[B, W]`; `W` counts the words that the model reads. One query each.

        A word's slope is the sum over its tokens: what all of them gain together when they move alike.
        """
        return self._asked_for_gradients(batch, self._word_slopes)

    def _word_slopes(self, batch: Batch) -> tuple[Tensor, Tensor]:
        parts = (
            by_word(candidates.tokens.word_of_token, gradient, embedded)
            for candidates, _, gradient, embedded in self._candidate_gradients(batch)
        )
        slopes, products = zip(*parts, strict=True)
        return joined(slopes), joined(products)

    def word_vectors(self, words: Sequence[str]) -> Tensor:
        """On the CPU: the mean `[V, D]` of each word's token embeddings when it stands alone. Knowledge of the
        model, no query of an example; each word's is made once."""
        return self._words.of(words, self.chunk)

    def word_effects(self, words: Sequence[str]) -> Tensor:
        """On the CPU: what each word adds to the logit of each of the world's reference examples when it stands behind
        the text, `[V, R]`; zeros where there are none. Knowledge of the model, no query of an example that is attacked;
        made once for the same words."""
        wanted = tuple(words)
        if self.world.references is None:
            return torch.zeros((len(wanted), 1))
        if self._word_effects is None or self._word_effects[0] != wanted:
            references = self.world.references.to(self.clean.items.device)
            with self._timed(), torch.no_grad():
                effects = added_by_words(references, self.world.catalog, wanted, self._in_order)
            self._word_effects = wanted, effects
            self.effort.forwards += effects.numel()
        return self._word_effects[1]

    def history_gradient(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Logits `[B]`, the history's embeddings `[B, H, D]` and the logits' gradient with respect to them."""
        found = self._asked_for_gradients(batch, self._history_gradient)
        self.effort.user_encodings += len(batch) * self.samples
        return found

    def _history_gradient(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        logits, embeddings, gradients = [], [], []
        for part in in_chunks(batch, self.chunk, self.clean.users):
            users = part.users.select(part.rows)
            with torch.no_grad():
                candidates = self.model.candidates(part.items, part.texts)
            logit, gradient, embedded = mean_gradient(
                self.samples, partial(self._history_embedded, users), partial(self._score_history, users, candidates)
            )
            logits.append(self._precision.settled(part, logit))
            embeddings.append(embedded)
            gradients.append(gradient)
        return torch.cat(logits), torch.cat(embeddings), torch.cat(gradients)

    def history_item_vectors(self) -> Tensor:
        """`[N, D]`: every catalog item's vector alone in a history. Knowledge of the model, no query; made once."""
        return self._history.items(self.chunk)

    def _book_encodings(self, count: int) -> None:
        self.effort.user_encodings += count  # handed on in place of a method of the effort, which `reset` makes anew

    def _forward(self, batch: Batch) -> Tensor:
        state = self._user_state(batch)
        candidates = self.model.candidates(batch.items, batch.texts)
        embedded = None if batch.delta is None else self._embedded(candidates, batch.delta)
        return self._scored(state.select(batch.rows), candidates, embedded)

    def _scored(self, state: UserState, candidates: Candidates, embeddings: Tensor | None = None) -> Tensor:
        with self._precision.of_passes():
            return self.model.score(state, candidates, embeddings)

    def _user_state(self, batch: Batch) -> UserState:
        if batch.users is self.clean.users:
            if self._state is not None:
                self.effort.cache_hits += len(batch)
            return self.prepare()
        self.effort.user_encodings += len(batch.users)
        with torch.no_grad():
            embeddings = self._history.of(batch.users, self.chunk)
            with self._precision.of_passes():
                return self.model.encode_user(batch.users, embeddings)

    def _places(self, example_ids: Tensor) -> Tensor:
        """Where each example stands among the known ones; ValueError for one that the clean batch does not have."""
        ids = example_ids.cpu()
        places = torch.searchsorted(self._known, ids).clamp(max=max(len(self._known) - 1, 0))
        if len(ids) and (len(self._known) == 0 or not torch.equal(self._known[places], ids)):
            raise ValueError("an attack asked about an example that is not in the victim's clean batch")
        return places

    def _count(self, batch: Batch) -> None:
        """Book one query a row, before anything is scored; BudgetExceeded books nothing."""
        asked = self._asked + torch.bincount(self._places(batch.example_ids), minlength=len(self._known))
        if self.limit is not None and bool((asked > self.limit).any()):
            worst = int(asked.argmax())
            raise BudgetExceeded(f"example {int(self._known[worst])}: more than {self.limit} queries")
        self._asked = asked
        self.effort.queries += len(batch)

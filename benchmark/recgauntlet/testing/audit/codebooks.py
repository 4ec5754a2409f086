"""Fake defenses that pass embeddings through a codebook: what moves within a code's cell is nearly undone, and with it
the gradient, though a move into the next cell changes the score as before."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recgauntlet.core.batch import Candidates
from recgauntlet.core.dataset import TaskData
from recgauntlet.core.recommender import Recommender, embedding_mask
from recgauntlet.core.rng import Randomness
from recgauntlet.data.batches import pairs_to_batch
from recgauntlet.testing.audit.fake import Fake
from recgauntlet.threats.embedding_scale import embedding_scale
from recgauntlet.training.defense import model_scores


class SoftCodebook(Fake):
    """Embeddings are drawn to the nearest of a few centres by a softmax: a vocabulary of concepts.

    A change within a centre's cell is nearly undone, and its gradient with it, but a larger one reaches another centre.
    """

    name = "soft-codebook"
    centres, temperature, rounds = 256, 0.05, 5

    def __init__(self, inner: Recommender, data: TaskData) -> None:
        super().__init__(inner, data)
        items = torch.arange(len(inner.catalog), device=inner.device)
        candidates = Candidates(items, inner.catalog_tokens())
        with torch.no_grad():
            embedded = inner.embed(candidates)
        vectors = torch.unique(embedded[embedding_mask(candidates, embedded)], dim=0)
        generator = Randomness(0, "audit/soft-codebook").torch()
        chosen = torch.randperm(len(vectors), generator=generator)[: self.centres]
        self.codes = vectors[chosen.to(vectors.device)]
        for _ in range(self.rounds):  # k-means
            nearest = torch.cdist(vectors, self.codes).argmin(dim=1)
            sums = torch.zeros_like(self.codes).index_add_(0, nearest, vectors)
            counts = nearest.bincount(minlength=len(self.codes))[:, None]
            self.codes = torch.where(counts > 0, sums / counts.clamp(min=1), self.codes)
        self.unit = self.temperature * embedding_scale(inner, inner.catalog).norm ** 2

    def masked_embeddings(self, embedded: Tensor, candidates: Candidates) -> Tensor:
        distances = torch.cdist(embedded, self.codes).square()
        drawn: Tensor = torch.softmax(-distances / self.unit, dim=-1) @ self.codes
        return drawn


class TrainedCodebook(SoftCodebook):
    """Embeddings pass through a soft assignment to a codebook that was trained together with the model.

    The assignment is cooled while it is trained, so that the model is as good as before and every gradient is there,
    is right by finite differences, and leads nowhere: beyond the nearest codes it tells nothing.
    """

    name = "trained-codebook"
    temperature = 0.05
    warm, steps, pairs, learning_rate = 0.2, 80, 64, 2e-3

    def __init__(self, inner: Recommender, data: TaskData) -> None:
        trained = copy.deepcopy(inner, {id(part): part for part in (inner.catalog, inner.origin)})
        super().__init__(trained.requires_grad_(True), data)
        codes = nn.Parameter(self.codes.clone())
        self.codes = codes
        cold, size = self.unit, min(self.pairs, len(data.train))
        optimizer = torch.optim.Adam([*trained.parameters(), codes], lr=self.learning_rate)
        draw = Randomness(0, "audit/trained-codebook").numpy()
        for step in range(self.steps):
            self.unit = cold * (self.warm / self.temperature) ** (1 - step / self.steps)
            batch = pairs_to_batch(data.train, draw.choice(len(data.train), size=size, replace=False))
            scores = model_scores(self, batch.to(inner.device))
            optimizer.zero_grad()
            F.binary_cross_entropy_with_logits(scores, batch.labels.to(scores)).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        self.unit = cold
        self.requires_grad_(False)

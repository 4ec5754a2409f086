"""A defense plugin for RecGauntlet: training with random noise on the candidate's embeddings."""

from __future__ import annotations

import torch
from torch import Tensor

from recgauntlet import Batch, Defense, Recommender, TrainingContext, click_loss


class EmbeddingNoise(Defense):
    """Gaussian noise of `sigma` times the embeddings' own spread: adversarial training with chance as the adversary."""

    def __init__(self, *, sigma: float = 0.5) -> None:
        self.sigma = sigma

    def training_loss(self, model: Recommender, batch: Batch, context: TrainingContext) -> Tensor:
        state = model.encode_user(batch.users).select(batch.rows)
        candidates = model.candidates(batch.items, batch.texts)
        embedded = model.embed(candidates)
        noise = torch.randn(embedded.shape, generator=context.rng.torch(context.step)).to(embedded.device)
        noisy = embedded + noise * (self.sigma * embedded.detach().std())
        return click_loss(model.score(state, candidates, noisy), batch)

"""Training as the harness does it, and the least that the same steps can cost: bare loops of PyTorch."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from bench_subject import CHECKPOINT, rows_of, untrained_subject
from torch import Tensor
from torch.nn import functional as F

from recgauntlet.core.batch import Batch
from recgauntlet.core.dataset import TaskData
from recgauntlet.core.recommender import Recommender
from recgauntlet.core.rng import Randomness
from recgauntlet.data.batches import pairs_to_batch
from recgauntlet.training.checkpoint import read_info
from recgauntlet.training.defense import Defense
from recgauntlet.training.trainer import train

RNG = Randomness(0, "benchmark")


@dataclass(frozen=True)
class Course:
    """One epoch of `len(batches)` steps, for the harness (`data`) and for a bare loop (`batches`, made beforehand)."""

    model: Recommender
    data: TaskData
    batches: tuple[Batch, ...]
    subject: str

    @classmethod
    def of(cls, model: str, options: dict[str, int], steps: int, size: int | None = None) -> Course:
        """A model with its first weights and the training pairs of a demo track (of the track of the checkpoint that
        the environment names), over and over, in batches of `size` pairs (None: as the model's recipe has them). Two
        validation pairs: validation is not what is measured."""
        named = os.environ.get(CHECKPOINT)
        task, track = (read_info(Path(named)).task, read_info(Path(named)).track) if named else ("news-click", "demo")
        opened = untrained_subject(model, options, task, track)
        built = opened.model.requires_grad_(True)
        size = size or built.recipe.batch_size
        built.recipe = replace(built.recipe, epochs=1, batch_size=size, least_steps=1)
        known = opened.data
        pairs = rows_of(known.train, np.arange(steps * size) % len(known.train))
        order = RNG.child("batches").numpy(0).permutation(len(pairs))
        batches = tuple(pairs_to_batch(pairs, order[start : start + size]) for start in range(0, len(pairs), size))
        data = replace(known, train=pairs, valid=rows_of(known.valid, np.arange(2)))
        return cls(built, data, batches, f"{opened.name}, {steps} steps of {size} pairs")

    def harness(self, defense: Defense) -> None:
        """Train as a cell does: batches made, passes and operations counted, losses read."""
        train(self.model, defense, self.data, RNG)

    def bare(self, gradients: int = 0, losses: int = 1) -> None:
        """The same steps with nothing around them, each after `gradients` bare passes for the gradient of the
        candidates' embeddings, and of so many `losses` of the candidates."""
        model = self.model.train()
        optimizer, schedule = _optimizer(model, len(self.batches))
        for batch in self.batches:
            state = model.encode_user(batch.users).select(batch.rows)
            candidates = model.candidates(batch.items)
            embedded = model.embed(candidates)
            fixed = state.detach()
            for _ in range(gradients):
                handle = embedded.detach().requires_grad_(True)
                torch.autograd.grad(_loss(model.score(fixed, candidates, handle), batch), handle)
            loss = torch.stack([_loss(model.score(state, candidates, embedded), batch) for _ in range(losses)]).sum()
            optimizer.zero_grad(set_to_none=True)
            torch.autograd.backward(loss)
            torch.nn.utils.clip_grad_norm_(model.parameters(), model.recipe.clip_norm)
            optimizer.step()
            schedule.step()


def _loss(scores: Tensor, batch: Batch) -> Tensor:
    return F.binary_cross_entropy_with_logits(scores, batch.labels)


def _optimizer(model: Recommender, steps: int) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LambdaLR]:
    recipe = model.recipe
    optimizer = torch.optim.AdamW(model.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    rising = max(1, round(recipe.warmup * steps))
    falling = max(1, steps - rising)
    return optimizer, torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / rising, max(0.0, (steps - step) / falling))
    )

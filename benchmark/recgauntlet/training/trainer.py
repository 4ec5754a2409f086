"""Training a recommender under a defense: the same optimizer, schedule, batches and seeds whatever the defense."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from recgauntlet.core.batch import Batch
from recgauntlet.core.dataset import Pairs, TaskData
from recgauntlet.core.errors import PluginError
from recgauntlet.core.recommender import Recommender
from recgauntlet.core.rng import Randomness
from recgauntlet.core.scoring import score_batch
from recgauntlet.core.types import FloatArray, Progress
from recgauntlet.data.batches import pairs_to_batch
from recgauntlet.metrics.ranking import auc
from recgauntlet.records.schema import Epoch
from recgauntlet.training.cost import Passes, count_flops, count_passes
from recgauntlet.training.defense import Defense, TrainingContext
from recgauntlet.training.parallel import ALONE, Team

_RECENT = 50
"""Steps whose mean loss is shown while training."""
CALIBRATION_PAIRS = 200
"""Validation pairs, the first ones, whose scores a model without training is calibrated on."""


@dataclass(frozen=True)
class Trained:
    """What training gave: the model holds the best weights; `seconds` leaves validation out. Of several `devices`,
    steps count once, passes and FLOPs are those of all, and the memory is that of the one that took most."""

    epochs: tuple[Epoch, ...]
    seconds: float
    steps: int
    passes: Passes
    flops: float
    peak_memory_bytes: int = 0
    devices: int = 1


class AdamWTrainer:
    """The `Trainer` of every cell: AdamW with a warm-up and a linear decay, as the model's recipe has them."""

    def __init__(
        self, model: Recommender, total_steps: int, rng: Randomness, precision: str, team: Team = ALONE
    ) -> None:
        self.model = model
        self._team = team
        self.context = TrainingContext(0, 0.0, rng)
        self.total_steps = total_steps
        self._precision = precision
        self._batch: Batch | None = None
        recipe = model.recipe
        self.parameters = [p for p in model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(self.parameters, lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
        rising = max(1, round(recipe.warmup * total_steps))
        self.schedule = torch.optim.lr_scheduler.LambdaLR(
            self.optimizer,
            lambda step: min((step + 1) / rising, max(0.0, (total_steps - step) / max(1, total_steps - rising))),
        )

    def auxiliary_loss(self) -> Tensor | None:
        """The model's own further loss on the batch of this step, or None; `minimize` and `apply` add it."""
        if self._batch is None:
            return None
        generator = self.context.rng.child("model").torch(self.context.step)
        return self.model.auxiliary_loss(self._batch, generator)

    def minimize(self, loss: Tensor) -> None:
        """Add the model's auxiliary loss; backward, clip, step.

        Raises
        ------
        PluginError
            Where the loss is no finite scalar or does not depend on the model.
        """
        self._require_loss(loss)
        auxiliary = self.auxiliary_loss()
        self.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss if auxiliary is None else loss + auxiliary)
        self._descend()

    def gradients(self, loss: Tensor, *, retain_graph: bool = False) -> list[Tensor | None]:
        """The gradient of a loss for each of `parameters`, None where it does not reach one; `retain_graph` where a
        further loss shares the graph. For `apply`.

        Raises
        ------
        PluginError
            Where the loss is no finite scalar or does not depend on the model.
        """
        self._require_loss(loss)
        found = torch.autograd.grad(loss, self.parameters, retain_graph=retain_graph, allow_unused=True)
        return self._team.average(self.parameters, found)

    def apply(self, gradients: Sequence[Tensor | None]) -> None:
        """What `minimize` does once it has the gradient of its loss, with `gradients` (in the order of `parameters`;
        they are used up) in its place: add the auxiliary loss's, clip, step."""
        auxiliary = self.auxiliary_loss()
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            parameter.grad = gradient
        if auxiliary is not None:
            torch.autograd.backward(auxiliary)
        self._descend()

    def _descend(self) -> None:
        found = self._team.average(self.parameters, [parameter.grad for parameter in self.parameters])
        for parameter, gradient in zip(self.parameters, found, strict=True):
            parameter.grad = gradient
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.model.recipe.clip_norm)
        self.optimizer.step()

    def _require_loss(self, loss: Tensor) -> None:
        if not isinstance(loss, Tensor) or loss.ndim != 0:
            shape = tuple(loss.shape) if isinstance(loss, Tensor) else type(loss).__name__
            raise PluginError(
                f"the training loss has shape {shape} where a scalar is expected",
                field="training_loss",
                remedy="return the mean over the batch",
            )
        if not math.isfinite(float(loss.detach())):
            raise PluginError(
                f"the training loss is {float(loss.detach())} at step {self.context.step}",
                field="training_loss",
                remedy="lower epsilon, lam or the learning rate, or look for a division by zero or a logarithm of zero",
            )
        if not loss.requires_grad:
            raise PluginError(
                "the training loss has no gradient",
                field="training_loss",
                remedy="compute it from the model's scores, outside torch.no_grad and without detach",
            )

    def advance(self, defense: Defense, batch: Batch) -> float:
        """One step of the defense, then the schedule; the loss."""
        # fp32 leaves an autocast that is on outside as it is: a sibling may train inside one
        half = self._precision == "bf16"
        self._batch = batch
        with torch.autocast(self.model.device.type, dtype=torch.bfloat16) if half else nullcontext():
            loss = defense.step(self, batch)
        self._batch = None
        self.schedule.step()
        step = self.context.step + 1
        self.context = TrainingContext(step, step / self.total_steps, self.context.rng)
        return float(loss)


def train(
    model: Recommender,
    defense: Defense,
    data: TaskData,
    rng: Randomness,
    *,
    precision: str = "fp32",
    progress: Progress = lambda what, share: None,
    team: Team = ALONE,
) -> Trained:
    """Train `model` in place and leave it with the weights of the best validation AUC since the defense was ready. Of a
    `team`, the first process has these, the others the last.

    Raises
    ------
    PluginError
        Where the defense breaks its contract.
    """
    recipe = model.recipe
    pairs = filtered(defense, data.train)
    size = recipe.pairs_a_step(len(pairs))
    per_epoch = math.ceil(len(pairs) / size)
    trainer = AdamWTrainer(model, per_epoch * recipe.epochs, team.own(rng.child("defense")), precision, team)
    best: dict[str, Tensor] | None = None
    best_auc, score, stale, seconds, steps = -1.0, 0.0, 0, 0.0, 0
    flops: list[float] = []
    epochs: list[Epoch] = []
    with count_passes(model) as passes:
        for number in range(recipe.epochs):
            order = rng.child("batches").numpy(number).permutation(len(pairs))
            model.train()
            losses = []
            for start in range(0, len(pairs), size):
                batch = pairs_to_batch(pairs, team.part(order[start : start + size])).to(model.device)
                started = time.perf_counter()
                # FLOPs of one step in the middle of an epoch: the very first step of a warm-up is plain training
                with count_flops(flops) if start == size * (per_epoch // 2) else nullcontext():
                    losses.append(trainer.advance(defense, batch) * team.share * team.size)
                seconds += time.perf_counter() - started
                steps += 1
                what = f"training, epoch {number + 1} of {recipe.epochs}, loss {np.mean(losses[-_RECENT:]):.3f}"
                progress(what + (f", AUC {score:.3f}" if epochs else ""), steps / trainer.total_steps)
            score = team.of_first(lambda: validate(model, data.valid))
            ready = defense.ready(trainer.context)
            kept = ready and score > best_auc
            if kept:
                best_auc, stale = score, 0
                if team.is_first:
                    best = {name: value.detach().clone() for name, value in model.state_dict().items()}
            elif ready:
                stale += 1
            (loss,) = team.sum([float(np.mean(losses)) / team.size])
            epochs.append(Epoch(epoch=number + 1, loss=loss, valid_auc=score, kept=kept))
            if stale >= recipe.patience:
                break
    if best is not None:
        model.load_state_dict(best)
    model.eval()
    if recipe.epochs == 0:
        some = data.valid.select(np.arange(min(CALIBRATION_PAIRS, len(data.valid))))
        progress(f"calibrating on {len(some)} validation pairs", 0.0)
        model.calibrate(torch.from_numpy(scores_of(model, some)[0]))
    done = float(np.mean(flops)) * steps if steps else 0.0
    forwards, backwards, done = team.sum([passes.forwards, passes.backwards, done])
    return Trained(tuple(epochs), seconds, steps, Passes(int(forwards), int(backwards)), done, devices=team.size)


def validate(model: Recommender, pairs: Pairs) -> float:
    """The AUC on pairs; a model whose scores are not finite is worth 0."""
    scores, labels = scores_of(model, pairs)
    return float(auc(labels > 0.5, scores)) if np.isfinite(scores).all() else 0.0


@torch.no_grad()
def scores_of(model: Recommender, pairs: Pairs, *, chunk: int = 512) -> tuple[FloatArray, FloatArray]:
    """The logits `[2 V]` of `V` pairs and their labels."""
    model.eval()
    labels, scores = [], []
    for start in range(0, len(pairs), chunk):
        batch = pairs_to_batch(pairs, np.arange(start, min(start + chunk, len(pairs)))).to(model.device)
        scores.append(score_batch(model, batch).cpu().numpy())
        labels.append(batch.labels.cpu().numpy())
    return np.concatenate(scores), np.concatenate(labels)


def filtered(defense: Defense, pairs: Pairs) -> Pairs:
    """The training pairs that a defense learns from; PluginError where there are none."""
    pairs = defense.filter(pairs)
    if not isinstance(pairs, Pairs) or len(pairs) == 0:
        raise PluginError(
            "the defense's filter left no training pairs",
            field="filter",
            remedy="return a Pairs with at least one pair",
        )
    return pairs


def rows_lost(kept: Pairs, pairs: Pairs) -> tuple[int, ...]:
    """The rows of `pairs` whose user and click are those of none of `kept`, whatever became of the histories."""
    size = 1 + max(int(part.clicked.max(initial=0)) for part in (kept, pairs))
    keys, left = (part.users * size + part.clicked for part in (pairs, kept))
    return tuple(np.flatnonzero(~np.isin(keys, left)).tolist())

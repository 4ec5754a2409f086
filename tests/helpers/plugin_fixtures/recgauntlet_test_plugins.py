"""Defenses that break their contract or their process, registered as a stranger's package would register them."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import torch
from torch import Tensor

from recgauntlet import Batch, Defense, Recommender
from recgauntlet.core.dataset import Pairs
from recgauntlet.training.defense import TrainingContext


class NanLoss(Defense):
    """A loss that is not a number."""

    def training_loss(self, model: Recommender, batch: Batch, context: TrainingContext) -> Tensor:
        return super().training_loss(model, batch, context) * float("nan")


class NoGradient(Defense):
    """A loss cut off from the model."""

    def training_loss(self, model: Recommender, batch: Batch, context: TrainingContext) -> Tensor:
        return super().training_loss(model, batch, context).detach()


class WrongShape(Defense):
    """One loss an example where a scalar belongs."""

    def training_loss(self, model: Recommender, batch: Batch, context: TrainingContext) -> Tensor:
        return super().training_loss(model, batch, context).expand(3)


class DropsEverything(Defense):
    """A filter that leaves nothing."""

    def filter(self, pairs: Pairs) -> Pairs:
        return pairs.select(slice(0))


class RefusesPoison(Defense):
    """Fails once there are more than the tiny task's users."""

    def filter(self, pairs: Pairs) -> Pairs:
        if int(pairs.users.max()) >= 60:
            raise ValueError("these are too many users")
        return pairs


class RaisesInTraining(Defense):
    """A fault of the plugin's own in the middle of training."""

    def training_loss(self, model: Recommender, batch: Batch, context: TrainingContext) -> Tensor:
        raise ZeroDivisionError("the plugin divided by zero")


class RaisesBeside(Defense):
    """A fault in a process that is not the first of those that train together."""

    def training_loss(self, model: Recommender, batch: Batch, context: TrainingContext) -> Tensor:
        if "process 1" in context.rng.purpose and context.step == 2:
            raise ZeroDivisionError("the plugin divided by zero")
        return super().training_loss(model, batch, context)


class RaisesInWrap(Defense):
    """A fault at serving."""

    def wrap(self, model: Recommender) -> Recommender:
        raise ValueError("nothing to serve")


class ServesWrongShape(Defense):
    """A served model that gives two logits a candidate."""

    def wrap(self, model: Recommender) -> Recommender:
        score = model.score

        def doubled(*arguments: object, **named: object) -> Tensor:
            logits = score(*arguments, **named)  # type: ignore[arg-type]
            return torch.stack([logits, logits], dim=-1)

        model.score = doubled  # type: ignore[method-assign]
        return model


class Exits(Defense):
    """Its process ends with exit code 3."""

    def wrap(self, model: Recommender) -> Recommender:
        os._exit(3)


class Killed(Defense):
    """Its process is killed, as by a system out of memory."""

    def wrap(self, model: Recommender) -> Recommender:
        os.kill(os.getpid(), signal.SIGKILL)
        return model


class Waits(Defense):
    """Trains slowly while the file named by $TEST_GATE is missing; leaves its process id where it may write."""

    def training_loss(self, model: Recommender, batch: Batch, context: TrainingContext) -> Tensor:
        gate = Path(os.environ["TEST_GATE"])
        if not gate.exists():
            Path(os.environ["TMPDIR"], "waiting.pid").write_text(str(os.getpid()))
            time.sleep(0.3)
        return super().training_loss(model, batch, context)


class NotADefense:
    """Registered, but no Defense."""

"""Random draws of a training step, one row per example, independent of the rest of the batch."""

from __future__ import annotations

import torch
from torch import Tensor

from recgauntlet.training.defense import TrainingContext


def uniform(context: TrainingContext, ids: Tensor, width: int) -> Tensor:
    """`[B, width]` even draws from [0, 1) on the device of `ids [B]`: row b depends on the step and `ids[b]` alone, and
    its first columns do not depend on `width`."""
    rows = [torch.rand(width, generator=context.rng.torch(context.step, number)) for number in ids.tolist()]
    return torch.stack(rows).to(ids.device) if rows else torch.empty((0, width), device=ids.device)

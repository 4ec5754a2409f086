"""Scoring a batch with a model, as the evaluator does: nothing counted, nothing cached."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from recgauntlet.core.batch import Batch
from recgauntlet.core.errors import PluginError
from recgauntlet.core.recommender import Recommender


@torch.no_grad()
def score_batch(model: Recommender, batch: Batch) -> Tensor:
    """Logits `[B]` of a batch as it stands, users encoded once, nothing counted and nothing cached.

    Raises
    ------
    PluginError
        Where the model's scores do not have the shape `[B]`.
    """
    state = model.encode_user(batch.users)
    candidates = model.candidates(batch.items, batch.texts)
    embedded: Any = None
    if batch.delta is not None:
        embedded = model.embed(candidates)
        embedded = embedded + fit(batch.delta, embedded.shape[1])
    scores = model.score(state.select(batch.rows), candidates, embedded)
    if scores.shape != (len(batch),):
        raise PluginError(
            f"the model's scores have shape {tuple(scores.shape)} where {(len(batch),)} is expected",
            field="score",
            remedy="return one logit a candidate",
        )
    return scores.float()


def fit(tensor: Tensor, width: int) -> Tensor:
    """`[B, L, ...]` cut or zero-padded to `[B, width, ...]`."""
    if tensor.shape[1] >= width:
        return tensor[:, :width]
    shape = (tensor.shape[0], width - tensor.shape[1], *tensor.shape[2:])
    return torch.cat([tensor, tensor.new_zeros(shape)], dim=1)

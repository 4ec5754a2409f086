"""Scoring a batch with a model, as the evaluator does: nothing counted, nothing cached."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
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
    check_shape(scores.shape, len(batch))
    return scores.float()


def check_shape(shape: Sequence[int], count: int) -> None:
    """PluginError where scores of `count` candidates have another shape than `[count]`."""
    if tuple(shape) != (count,):
        raise PluginError(
            f"the model's scores have shape {tuple(shape)} where {(count,)} is expected",
            field="score",
            remedy="return one logit a candidate",
        )


def fit(tensor: Tensor, width: int) -> Tensor:
    """`[B, L, ...]` cut or zero-padded to `[B, width, ...]`."""
    if tensor.shape[1] >= width:
        return tensor[:, :width]
    shape = (tensor.shape[0], width - tensor.shape[1], *tensor.shape[2:])
    return torch.cat([tensor, tensor.new_zeros(shape)], dim=1)


@contextmanager
def autograd_calls() -> Iterator[list[str]]:
    """The calls of autograd while the context is open."""
    calls: list[str] = []
    autograd: Any = torch.autograd
    originals = {name: getattr(autograd, name) for name in ("grad", "backward")}

    def counted(name: str) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            calls.append(name)
            return originals[name](*args, **options)

        return call

    try:
        for name in originals:
            setattr(autograd, name, counted(name))
        yield calls
    finally:
        for name, original in originals.items():
            setattr(autograd, name, original)

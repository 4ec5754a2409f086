"""Counting a model's work: passes by hooks on `score`, FLOPs by torch's counter."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from recgauntlet.core.batch import Candidates, Users, UserState
from recgauntlet.core.recommender import Recommender


@dataclass
class Passes:
    """Candidates scored (`forwards`) and gradients drawn through a score (`backwards`)."""

    forwards: int = 0
    backwards: int = 0


@contextmanager
def count_passes(model: Recommender) -> Iterator[Passes]:
    """Count every candidate that `model.score` scores, and every backward pass through such a score."""
    passes = Passes()
    original = model.score

    def drawn(gradient: Tensor) -> None:
        passes.backwards += len(gradient)

    def counted(user: UserState, candidates: Candidates, embeddings: Tensor | None = None) -> Tensor:
        scores = original(user, candidates, embeddings)
        passes.forwards += len(scores)
        if scores.requires_grad:
            hooked: Any = scores
            hooked.register_hook(drawn)
        return scores

    patched: Any = model
    patched.score = counted
    try:
        yield passes
    finally:
        del patched.score


@contextmanager
def count_flops(totals: list[float]) -> Iterator[None]:
    """Append the floating-point operations inside, by torch's counter (matrix products, attention, convolutions), to
    `totals`. Counting slows a step down."""
    counter: Any = FlopCounterMode(display=False)
    counter.mod_tracker = _NoModules()
    with counter:
        yield
    totals.append(float(counter.get_total_flops()))


class _NoModules(nullcontext[None]):
    """Stands in for the tracker of modules: its hooks forbid `autograd.grad` to a leaf that a module takes."""

    parents = frozenset({"Global"})


@torch.no_grad()
def inference_latency(model: Recommender, users: Users, items: Tensor, *, repeats: int = 7) -> float:
    """Milliseconds to encode one user and score `items` for it, scaled to 1,000 candidates; the median of `repeats`."""
    one = users.select(torch.zeros(1, dtype=torch.long, device=users.ids.device))
    rows = torch.zeros(len(items), dtype=torch.long, device=items.device)
    seconds = []
    for _ in range(repeats):
        if items.device.type == "cuda":
            torch.cuda.synchronize(items.device)
        started = time.perf_counter()
        model.score(model.encode_user(one).select(rows), model.candidates(items)).cpu()
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds) * 1e6 / len(items)

"""Counting a model's work: passes by hooks on `score`, FLOPs by torch's counter."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self

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

    def counted(user: UserState, candidates: Candidates, embeddings: Tensor | None = None) -> Tensor:
        scores = original(user, candidates, embeddings)
        passes.forwards += len(scores)
        if scores.requires_grad:
            hooked: Any = scores
            hooked.register_hook(lambda gradient: _add(passes, len(gradient)))
        return scores

    patched: Any = model
    patched.score = counted
    try:
        yield passes
    finally:
        del patched.score


def _add(passes: Passes, count: int) -> None:
    passes.backwards += count


class FlopCount:
    """A context that counts floating-point operations by torch's counter (matrix products, attention, convolutions).

    Counting slows a step down, so it can be off; `totals` then stays empty, else it gets the one count.
    """

    def __init__(self, *, active: bool) -> None:
        self._counter: Any = None
        if active:
            counter: Any = FlopCounterMode(display=False)
            counter.mod_tracker = _NoModules()
            self._counter = counter
        self.totals: list[float] = []

    def __enter__(self) -> Self:
        if self._counter is not None:
            self._counter.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        if self._counter is not None:
            self._counter.__exit__(*error)
            self.totals.append(float(self._counter.get_total_flops()))


class _NoModules:
    """Stands in for the tracker of modules: its hooks forbid `autograd.grad` to a leaf that a module takes."""

    parents = frozenset({"Global"})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        """Nothing to undo."""


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

"""Training one model in several processes, one a device, each on its part of every batch. By accelerate."""

from __future__ import annotations

import datetime
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from recgauntlet.core.rng import Randomness
from recgauntlet.core.types import IntArray

MEETING = "meeting"
"""The file by which the processes find each other."""
_PATIENCE = datetime.timedelta(hours=1)
"""How long a process waits for the others: the first one validates alone."""


class PeerError(RuntimeError):
    """Another of the processes that train together has ended."""


class Team:
    """The processes that train a model together, as one of them sees it. All call its methods, in the same order.

    Gradients are those of the whole batch: a mean over the processes, weighed by how many pairs each had. So weights
    and optimizers stay equal everywhere.

    Parameters
    ----------
    rank
        The number of this process; that of 0 validates, reports and keeps the weights.
    size
        How many there are.
    device
        That of this process; None where nothing is exchanged, because the process is alone.
    """

    def __init__(self, rank: int = 0, size: int = 1, device: torch.device | None = None) -> None:
        self.rank, self.size, self.device = rank, size, device
        self.share = 1.0
        """The share of the batch that this process takes."""

    @property
    def is_first(self) -> bool:
        """Whether this is the process that validates, reports and keeps the weights."""
        return self.rank == 0

    def own(self, rng: Randomness) -> Randomness:
        """The randomness of this process; that of the first is `rng`, as where it is alone."""
        return rng if self.is_first else rng.child(f"process {self.rank}")

    def part(self, rows: IntArray) -> IntArray:
        """The rows of a batch that this process takes; all of them where there are fewer than processes."""
        whole = len(rows) < self.size
        mine = rows if whole else np.array_split(rows, self.size)[self.rank]
        self.share = 1 / self.size if whole else len(mine) / len(rows)
        return mine

    def average(self, parameters: Sequence[Tensor], gradients: Sequence[Tensor | None]) -> list[Tensor | None]:
        """The gradients of `parameters` on the batch, from those on each process's part; None where no process has
        one."""
        if self.device is None:
            return list(gradients)
        there = torch.tensor([float(gradient is not None) for gradient in gradients], device=self.device)
        filled = [torch.zeros_like(p) if g is None else g for p, g in zip(parameters, gradients, strict=True)]
        together = torch.cat([there, *(gradient.detach().reshape(-1) for gradient in filled)])
        together[len(filled) :] *= self.share
        sizes = [len(filled), *(parameter.numel() for parameter in parameters)]
        there, *parts = torch.split(self._reduce(together, "sum"), sizes)
        return [
            part.view_as(parameter).to(parameter.dtype) if found else None
            for parameter, part, found in zip(parameters, parts, there.tolist(), strict=True)
        ]

    def sum(self, values: Sequence[float]) -> list[float]:
        """The sums of what the processes have."""
        return self._reduced(values, "sum")

    def largest(self, value: float) -> float:
        """The largest that a process has."""
        return self._reduced([value], "max")[0]

    def of_first(self, compute: Callable[[], float]) -> float:
        """What the first process computes; the others wait."""
        return self.sum([compute() if self.is_first else 0.0])[0]

    def _reduced(self, values: Sequence[float], how: str) -> list[float]:
        if self.device is None:
            return list(values)
        # a sum of 64-bit floats: counts and scores stay what they are
        found: list[float] = self._reduce(torch.tensor(values, dtype=torch.float64, device=self.device), how).tolist()
        return found

    def _reduce(self, tensor: Tensor, how: str) -> Tensor:
        from accelerate.utils import reduce

        try:
            reduced: Any = reduce(tensor, how)
        except RuntimeError as error:
            raise PeerError("another of the processes that train this model together has ended") from error
        return cast(Tensor, reduced)


ALONE = Team()
"""Of a process that trains by itself."""


def join(rank: int, size: int, device: torch.device, place: Path) -> Team:
    """Meet the other processes of this machine by a file in the directory `place`, and connect to them by the loopback
    interface (on GPUs by NCCL): afterwards no socket is opened and no process started, so that a fence may be raised.

    `device` says of which kind the devices are; on GPUs the process gets that of its number.
    """
    from accelerate import PartialState

    os.environ |= {name: str(rank) for name in ("RANK", "LOCAL_RANK")}
    os.environ |= {name: str(size) for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE")}
    os.environ |= {"GLOO_SOCKET_IFNAME": "lo", "NCCL_SOCKET_IFNAME": "lo", "NCCL_RUNTIME_CONNECT": "0"}
    os.environ.setdefault("OMP_NUM_THREADS", str(torch.get_num_threads()))  # accelerate would choose another number
    meeting = {"init_method": f"file://{(place / MEETING).resolve()}", "rank": rank, "world_size": size}
    state = PartialState(cpu=device.type == "cpu", timeout=_PATIENCE, **meeting)
    team = Team(rank, size, device if device.type == "cpu" else state.device)
    team.sum([0.0])  # NCCL connects when it is first used (all of it: see NCCL_RUNTIME_CONNECT)
    return team

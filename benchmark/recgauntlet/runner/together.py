"""Starting the processes that train one model together, and what such a training asks for."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import torch

from recgauntlet.core.errors import DeviceError, PluginError
from recgauntlet.core.spec import CellSpec
from recgauntlet.runner.sandbox.limits import end_with_parent
from recgauntlet.training.build import OpenCell
from recgauntlet.training.device import choose_device
from recgauntlet.training.parallel import MEETING, Team, join


def train_together(
    spec: CellSpec, place: Path, work: Callable[[Team], None], failed: Callable[[Exception], None]
) -> None:
    """Call `work` in this process, as the first of the cell's team, and in forks of it, which end with it.

    Call it while this process has one thread and has not asked for a GPU, and before its fence is raised: forks and
    connections are made here. `failed` is called in a fork with what `work` raised there.

    Raises
    ------
    DeviceError
        Where the processes cannot connect.
    """
    place.mkdir(parents=True, exist_ok=True)
    (place / MEETING).unlink(missing_ok=True)

    def take_part(rank: int) -> None:
        torch.set_num_threads(spec.threads)
        try:
            team = join(rank, spec.devices, choose_device(spec.device), place)
        except RuntimeError as error:
            raise DeviceError(
                f"the processes that train a cell cannot connect ({str(error).splitlines()[0]})",
                field="--devices",
                remedy="leave --devices out, or let this machine's loopback interface (lo) be used",
            ) from error
        work(team)

    for rank in range(1, spec.devices):
        if os.fork() == 0:
            try:
                end_with_parent()
                take_part(rank)
            except Exception as error:  # whatever a plugin raises
                failed(error)
            finally:
                os._exit(0)
    take_part(0)


def check_devices(cell: OpenCell, device: torch.device) -> None:
    """Check that the cell can be trained on as many devices as its spec asks for.

    Raises
    ------
    PluginError, DeviceError
        Where its model or its defense cannot be trained so, or there are too few devices.
    """
    count, fewer = cell.spec.devices, "leave --devices out"
    if count == 1:
        return
    for name, can in (
        (cell.model.name, cell.model.value.trains_in_parallel),
        (cell.defense.name, cell.defense.value.trains_in_parallel),
    ):
        if not can:
            raise PluginError(f"{name} is trained on one device alone", field="--devices", remedy=fewer)
    there = torch.cuda.device_count() if device.type == "cuda" else count
    if device.type not in ("cpu", "cuda") or device.index is not None or there < count:
        problem = f"{device} is one device" if there >= count else f"this machine has {there} GPUs"
        raise DeviceError(f"{problem}, {count} are asked for", field="--devices", remedy=fewer)
    if not hasattr(os, "fork"):
        raise DeviceError("this system cannot copy a process", field="--devices", remedy=fewer)

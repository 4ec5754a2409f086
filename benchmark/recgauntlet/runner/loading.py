"""Trained weights opened again: the cell they belong to, its data, and the model as it is served."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from recgauntlet.core.dataset import TaskData
from recgauntlet.core.errors import RecordError
from recgauntlet.core.recommender import Recommender
from recgauntlet.core.spec import CellSpec, Options
from recgauntlet.core.task import SourceOptions
from recgauntlet.core.types import Progress, Scalar
from recgauntlet.data.prepare import prepare
from recgauntlet.training.build import OpenCell, open_cell, untrained
from recgauntlet.training.checkpoint import CheckpointInfo, load_weights, read_info
from recgauntlet.training.device import choose_device

Sources = Callable[[str], SourceOptions]


@dataclass(frozen=True)
class Loaded:
    """`model` has the weights; `served` is what the cell's defense makes of it for inference."""

    info: CheckpointInfo
    cell: OpenCell
    data: TaskData
    model: Recommender
    served: Recommender
    device: torch.device


def load_cell(
    path: Path,
    sources: Sources,
    *,
    task: str | None = None,
    device: str = "auto",
    threads: int = 1,
    progress: Progress = lambda what, share: None,
) -> Loaded:
    """Open the checkpoint `path` with the data of its task, or of `task` where it is named.

    Raises
    ------
    RecordError
        Where the checkpoint cannot be read, or was trained on other data than its task has now.
    """
    info = read_info(path)
    cell = open_cell(spec_of(info, path, task, sources, device, threads))
    where = choose_device(device)
    torch.set_num_threads(threads)
    progress("reading data", 0.0)
    data = prepare(cell.task, info.track, cell.spec.source)
    if task is None and data.fingerprint != info.data_fingerprint:
        raise RecordError(
            "was trained on other data than this task has now",
            where=path,
            field="data_fingerprint",
            remedy="name a task with --task to attack it there all the same, or train it again",
        )
    model = untrained(cell, data, where)
    load_weights(model, path)
    return Loaded(info, cell, data, model, cell.defense_object.wrap(model), where)


def spec_of(
    info: CheckpointInfo,
    path: Path,
    task: str | None,
    sources: Sources,
    device: str,
    threads: int,
) -> CellSpec:
    """The cell that a checkpoint belongs to; `task` names another task than the one it was trained for."""
    name = task or info.task
    return CellSpec(
        task=name,
        track=info.track,
        model=info.model,
        defense=info.defense,
        seed=info.seed,
        out=path.parent,
        source=sources(name),
        device=device,
        threads=threads,
        model_options=_sorted(info.model_options),
        defense_options=_sorted(info.defense_options),
    )


def _sorted(options: dict[str, Scalar]) -> Options:
    return tuple(sorted(options.items()))

"""What the process of a model does from its start: opens the cell, loads weights, and serves; or trains a twin."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from recgauntlet.core.dataset import TaskData
from recgauntlet.core.recommender import Recommender
from recgauntlet.core.spec import CellSpec
from recgauntlet.core.task import Task
from recgauntlet.runner.cell import train_and_save
from recgauntlet.runner.enclosure import enclose, training_fence
from recgauntlet.runner.failures import StepError
from recgauntlet.runner.record import Machine
from recgauntlet.runner.remote.line import Line
from recgauntlet.runner.remote.messages import Fault, Opened
from recgauntlet.runner.remote.server import Answer, ModelServer, answer, smoothing_of
from recgauntlet.training.build import OpenCell, open_cell, untrained
from recgauntlet.training.checkpoint import load_weights
from recgauntlet.training.device import choose_device

WEIGHTS = "weights.safetensors"
"""Where, in its own directory, a process leaves the weights of a twin."""


class CellServer:
    """Answers what is asked before and after a model is served.

    Parameters
    ----------
    spec, task, data
        The cell of the model (of the twin, where that is asked), and its training data.
    weights
        The content of its checkpoint; empty where it has none.
    place
        The directory of this process.
    line
        Where progress is reported.
    """

    def __init__(self, spec: CellSpec, task: Task, data: TaskData, weights: bytes, place: Path, line: Line) -> None:
        self._spec, self._task, self._data = spec, task, data
        self._weights, self._place, self._line = weights, place, line
        self._cell: OpenCell | None = None
        self._model: Recommender | None = None
        self.calls: dict[str, Callable[[dict[str, Any], list[Tensor]], Answer]] = {
            "open": self._open,
            "load": self._load,
            "serve": self._serve,
            "train": self._train,
        }

    def _open(self, header: dict[str, Any], tensors: list[Tensor]) -> Answer:
        """Import the plugins and build the untrained model."""
        self._cell = open_cell(self._spec, self._task)
        self._model = untrained(self._cell, self._data, choose_device(self._spec.device))
        opened = Opened(refs=self._cell.refs, recipe=asdict(self._model.recipe))
        return {"opened": opened.model_dump(mode="json")}, ()

    def _load(self, header: dict[str, Any], tensors: list[Tensor]) -> Answer:
        assert self._model is not None
        load_weights(self._model, self._weights)
        self._model.eval()
        return {}, ()

    def _serve(self, header: dict[str, Any], tensors: list[Tensor]) -> Answer:
        """Wrap the model as its defense does, and answer for it from now on."""
        assert self._cell is not None
        assert self._model is not None
        served = self._cell.defense_object.wrap(self._model).eval().requires_grad_(False)
        smoothing = smoothing_of(served)
        asked: Any = served if smoothing is None else served.inner
        server = ModelServer(asked, smoothing, sum(p.numel() for p in asked.parameters()))
        self.calls |= server.calls
        return {"served": server.described().model_dump(mode="json")}, ()

    def _train(self, header: dict[str, Any], tensors: list[Tensor]) -> Answer:
        """Train the model and leave its weights in the directory of this process."""
        cell = open_cell(self._spec, self._task)

        def progress(what: str, share: float) -> None:
            self._line.send({"what": what, "share": float(share)})

        try:
            train_and_save(cell, self._data, Machine.of(cell.spec, cell.model), self._place / WEIGHTS, progress)
        except StepError as error:
            fault = Fault(kind=error.failure.kind, message=error.failure.message[:4096])
            return {"fault": fault.model_dump(mode="json")}, ()
        return {}, ()


def serve(
    spec: CellSpec, parts: tuple[Task, TaskData], weights: Path | None, place: Path, line: Line, *, guarded: bool
) -> None:
    """Serve the model of `spec` at the other end of `line`, until that ends; `weights` are read before the fence is
    raised."""
    content = b"" if weights is None else weights.read_bytes()
    place.mkdir(parents=True)
    if guarded:
        enclose(place, training_fence(spec, place), lambda what: line.send({"refused": what}))
    torch.set_num_threads(spec.threads)
    answer(line, CellServer(spec, *parts, content, place, line).calls)

"""The models of a cell: where they come from and how they are served."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Protocol

from recgauntlet.core.dataset import TaskData
from recgauntlet.core.recommender import Recommender
from recgauntlet.core.types import Progress
from recgauntlet.runner.record import Machine
from recgauntlet.training.build import OpenCell, belongs, find_twin, open_cell, train_cell, untrained
from recgauntlet.training.checkpoint import CheckpointInfo, load_weights, read_info, weights_hash


class Models(Protocol):
    """The models of a cell, wherever they are: the trained one, and its undefended twin."""

    def saved(self, cell: OpenCell, data: TaskData, machine: Machine) -> CheckpointInfo | None:
        """Load the cell's checkpoint; what it states, None where there is no checkpoint of this training."""
        ...

    def twin(
        self, cell: OpenCell, data: TaskData, machine: Machine, progress: Progress
    ) -> tuple[Recommender | None, CheckpointInfo | None]:
        """The undefended twin; None for an undefended cell."""
        ...

    def retrained_twin(self, cell: OpenCell, data: TaskData, machine: Machine) -> Recommender | None:
        """The undefended twin, trained on `data`, where that holds accounts which the task's data does not; None for an
        undefended cell."""
        ...

    def served(self, cell: OpenCell, data: TaskData, machine: Machine) -> Recommender:
        """What the cell's defense makes of the trained model for inference."""
        ...

    def weights(self) -> str:
        """The hash of the trained weights."""
        ...


class ModelsHere:
    """Models in this process."""

    def __init__(self, model: Recommender | None = None, weights: Path | None = None) -> None:
        self._model, self._path = model, weights

    def saved(self, cell: OpenCell, data: TaskData, machine: Machine) -> CheckpointInfo | None:
        path = self._path or cell.spec.checkpoint_path
        if not path.exists():
            return None
        info = read_info(path)
        model = untrained(cell, data, machine.device)
        if info.recipe != asdict(model.recipe) or info.precision != machine.precision or not belongs(info, cell, data):
            return None
        load_weights(model, path)
        self._model = model.eval()
        return info

    def twin(
        self, cell: OpenCell, data: TaskData, machine: Machine, progress: Progress
    ) -> tuple[Recommender | None, CheckpointInfo | None]:
        if cell.spec.is_twin:
            return None, None
        return find_twin(cell, data, machine.device, machine.precision, progress)

    def retrained_twin(self, cell: OpenCell, data: TaskData, machine: Machine) -> Recommender | None:
        if cell.spec.is_twin:
            return None
        twin = open_cell(cell.spec.twin())
        model, _ = train_cell(twin, data, machine.device, machine.precision, lambda what, share: None)
        return model.eval().requires_grad_(False)

    def served(self, cell: OpenCell, data: TaskData, machine: Machine) -> Recommender:
        return cell.defense_object.wrap(self._trained)

    def weights(self) -> str:
        return weights_hash(self._trained)

    @property
    def _trained(self) -> Recommender:
        assert self._model is not None
        return self._model

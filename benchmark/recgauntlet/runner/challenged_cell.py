"""The cell of a challenge, opened: weights, task and data, checked to be those that the record names."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from recgauntlet.core.card import Threat
from recgauntlet.core.errors import RecordError
from recgauntlet.core.types import Progress
from recgauntlet.evaluation.robustness import Trial
from recgauntlet.records.best_known import Challenged
from recgauntlet.runner.loading import Loaded, Sources, load_cell
from recgauntlet.threats.knowledge import World
from recgauntlet.training.checkpoint import weights_hash


@dataclass(frozen=True)
class OpenChallenge:
    """The model and its test examples, the threats of its task by id, and the device."""

    trial: Trial
    threats: dict[str, Threat]
    device: torch.device


def open_challenged(
    cell: Challenged,
    checkpoint: Path,
    sources: Sources,
    *,
    task: str | None,
    device: str,
    threads: int,
    progress: Progress,
) -> OpenChallenge:
    """Load the weights `checkpoint` and the data, and score the test examples.

    Raises
    ------
    RecordError
        Where weights, defense, task or data are not those of `cell`.
    """
    loaded = load_cell(checkpoint, sources, task=task, device=device, threads=threads, progress=progress)
    _check_belongs(loaded, cell, checkpoint)
    loaded.served.eval().requires_grad_(False)
    card = loaded.cell.task.card
    trial = Trial.of(loaded.served, loaded.data, World.of(card, loaded.data))
    return OpenChallenge(trial, {threat.id: threat for threat in card.threats}, loaded.device)


def _check_belongs(loaded: Loaded, cell: Challenged, checkpoint: Path) -> None:
    card, track = loaded.cell.task.card, loaded.info.track
    defense = (loaded.info.defense, loaded.cell.defense_object.hyperparameters())
    own = "give the record's own weights with --checkpoint"
    for field, expected, found, remedy in (
        ("weights_sha256", cell.weights_sha256, weights_hash(loaded.model), own),
        ("defense", (cell.defense.name, cell.defense.hyperparameters), defense, own),
        ("task.fingerprint", cell.task.fingerprint, card.fingerprint(track), "install the task in that version"),
        ("task.data_fingerprint", cell.task.data_fingerprint, loaded.data.fingerprint, "fetch the data that it names"),
    ):
        if expected != found:
            raise RecordError(
                f"does not belong to the record: {found} here, {expected} there",
                where=checkpoint,
                field=field,
                remedy=remedy,
            )

"""What `recgauntlet export` and `recgauntlet serve` share: a trained model with its data and its card."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import click

from recgauntlet.cli.options import PATH, DataOptions
from recgauntlet.core.errors import PluginError, RecordError
from recgauntlet.core.names import shown
from recgauntlet.core.recommender import Recommender
from recgauntlet.runner.trained import Loaded, Setup, load_cell
from recgauntlet.runner.weights import CHECKPOINTS, checkpoint_at, find_trained
from recgauntlet.serving.card import ModelCard, RowCard, find_row, model_card
from recgauntlet.training.build import needs_plugins, untrained
from recgauntlet.training.checkpoint import load_weights, read_info

trust_option = click.option(
    "--trust-plugins", is_flag=True, help="Run the code of models and defenses that are not built-in in this process."
)
results_option = click.option(
    "--results", type=PATH, metavar="DIR", help="Where the record of CHECKPOINT is. [the directory of its checkpoints/]"
)


@dataclass(frozen=True)
class Opened:
    """A checkpoint, opened: its file, what is in it, and the card of the model."""

    path: Path
    loaded: Loaded
    card: ModelCard

    @property
    def model(self) -> Recommender:
        """The model as it is served, frozen."""
        return self.loaded.served.eval().requires_grad_(False)

    def rebuilt(self, weights: bytes) -> Recommender:
        """The served model with the content of a checkpoint, built anew."""
        model = untrained(self.loaded.cell, self.loaded.data, self.loaded.machine.device)
        load_weights(model, weights)
        return self.loaded.cell.defense_object.wrap(model)


def open_checkpoint(
    checkpoint: Path,
    *,
    results: Path | None,
    task: str | None,
    device: str,
    threads: int,
    data: DataOptions,
    trust_plugins: bool,
    needs_row: bool,
) -> Opened:
    """Load CHECKPOINT, a file or the address of a cell, and its row; without a row where none is found and it is not
    needed.

    Raises
    ------
    RecordError, PluginError, DataError
        Where there is no such checkpoint, row or data, or it needs the code of plugins and that is not trusted.
    """
    path = checkpoint_at(checkpoint, offline=data.offline)
    setup, info = Setup(data.sources(), task, device, threads), read_info(path)
    spec = setup.spec_of(info, path)
    if needs_plugins(spec, info) and not trust_plugins:
        raise PluginError(
            f"{spec.model} with {shown('defense', spec.defense)} needs code of a plugin in this process",
            where=path,
            remedy="read the plugin's source, then give --trust-plugins",
        )
    loaded = load_cell(path, setup)
    if loaded.data.fingerprint != info.data_fingerprint:
        raise RecordError(
            "was trained on other data than this task has now",
            where=path,
            field="data_fingerprint",
            remedy="name the task that it was trained for (--task), or train it again",
        )
    row = _row_of(checkpoint, path, results, loaded.weights, needed=needs_row)
    track = loaded.cell.task.card.track(info.track)
    card = model_card(
        info,
        loaded.weights,
        track.source,
        items=len(loaded.data.catalog),
        history_length=loaded.data.test.histories.shape[1],
        row=row,
    )
    return Opened(path, loaded, card)


def _row_of(checkpoint: Path, path: Path, results: Path | None, weights: str, *, needed: bool) -> RowCard | None:
    directory = results
    if directory is None and path != checkpoint:
        directory = find_trained(checkpoint.as_posix()).at.board.directory
    if directory is None and len(path.absolute().parents) > 3 and path.absolute().parents[2].name == CHECKPOINTS:
        directory = path.absolute().parents[3]  # OUT/checkpoints/TASK/TRACK/NAME.safetensors
    if directory is not None and (needed or results is not None or directory.is_dir()):
        try:
            return find_row(directory, weights)
        except RecordError:
            if needed or results is not None:
                raise
            return None
    if needed:
        raise RecordError(
            "does not lie in a results directory, so its record is not known",
            where=path,
            field="--results",
            remedy="name the results directory in which it was trained and attacked (--results)",
        )
    return None

"""Event files for TensorBoard, one directory a run.

TensorBoard has no run ids: the directory's name ends in the run's id. It is written under another name and renamed at
the end, so that a directory with its final name is whole. The files of a run lie beside its events.
"""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import numpy as np

from recgauntlet.core.files import check_writable
from recgauntlet.leaderboard.address import slug
from recgauntlet.tracking.base import Key, TrackedRun, package

_UNFINISHED = ".unfinished"


class TensorBoard:
    """Runs below `directory`."""

    def __init__(self, directory: Path) -> None:
        self._writer = package("torch.utils.tensorboard", "tensorboard").SummaryWriter
        self._hparams = package("torch.utils.tensorboard.summary", "tensorboard").hparams
        self._image = package("PIL.Image", "tensorboard")
        self._directory = directory
        check_writable(directory, "choose another directory")

    @property
    def hint(self) -> str:
        """The command that shows the runs."""
        return f"tensorboard --logdir {self._directory}"

    def has(self, key: Key) -> bool:
        """Whether the run's directory is there."""
        return self._place(key).is_dir()

    def log(self, run: TrackedRun) -> None:
        """Write the run's events and files."""
        place = self._place(run.key)
        part = place.with_name(place.name + _UNFINISHED)
        shutil.rmtree(part, ignore_errors=True)
        finished = run.times[1] if run.times else None
        with self._writer(str(part)) as writer:
            for number, values in run.epochs:
                for name, value in values.items():
                    writer.add_scalar(name, value, number, walltime=finished)
            for name, value in run.metrics.items():
                writer.add_scalar(name, value, 0, walltime=finished)
            parameters = {name: "" if value is None else value for name, value in run.parameters.items()}
            for summary in self._hparams(parameters, dict.fromkeys(run.metrics, 0.0)):
                writer.file_writer.add_summary(summary)
            writer.add_text("notes", run.notes, walltime=finished)
            for picture in run.pictures:
                pixels = np.asarray(self._image.open(io.BytesIO(picture.png)).convert("RGB"))
                writer.add_image(f"figures/{picture.name}", pixels, walltime=finished, dataformats="HWC")
        for name, content in run.files.items():
            (part / name).write_bytes(content)
        part.rename(place)

    def _place(self, key: Key) -> Path:
        return self._directory / key.task / f"{slug(key.name)}-{key.id[:10]}"

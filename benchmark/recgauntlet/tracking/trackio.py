"""Runs of Trackio in its local database.

Trackio knows runs by their names: ours end in the run's id. A run has another name until it is whole.
"""

from __future__ import annotations

import io
import os
import tempfile
from pathlib import Path
from typing import Any

from recgauntlet.core.errors import OutputError
from recgauntlet.core.files import check_writable
from recgauntlet.tracking.base import Key, TrackedRun, package

_ELSEWHERE = ("TRACKIO_SPACE_ID", "TRACKIO_SERVER_URL")
_UNFINISHED = " (unfinished)"


class Trackio:
    """Runs in `directory`/trackio, or in `TRACKIO_DIR` where that is set. One project a task and track."""

    def __init__(self, directory: Path) -> None:
        for variable in _ELSEWHERE:
            if os.environ.get(variable):  # there it cannot be asked which runs it has
                remedy = f"unset {variable}, and send the local project with trackio sync"
                raise OutputError("is set, but runs are logged locally alone", where=variable, remedy=remedy)
        self._place = Path(os.environ.setdefault("TRACKIO_DIR", str((directory / "trackio").absolute())))
        check_writable(self._place, "choose another directory")
        self._trackio = package("trackio", "trackio")
        self._image = package("PIL.Image", "trackio")

    @property
    def hint(self) -> str:
        """The command that shows the runs."""
        return f"TRACKIO_DIR={self._place} trackio show"

    def has(self, key: Key) -> bool:
        """Whether a run of this name is there."""
        return bool(self._runs(key.project, key.unique))

    def log(self, run: TrackedRun) -> None:
        """Log the run. Epochs are its steps."""
        unfinished = run.key.unique + _UNFINISHED
        for found in self._runs(run.key.project, unfinished):
            found.delete()
        logged = self._trackio.init(
            run.key.project,
            name=unfinished,
            config=dict(run.parameters),
            embed=False,
            auto_log_gpu=False,
            auto_log_cpu=False,
        )
        try:
            for number, values in run.epochs:
                logged.log(dict(values), step=number)
            last: dict[str, Any] = {**run.metrics, "notes": self._trackio.Markdown(run.notes)}
            for picture in run.pictures:
                drawn = self._image.open(io.BytesIO(picture.png)).convert("RGB")
                last[f"figures/{picture.name}"] = self._trackio.Image(drawn, caption=picture.title)
            logged.log(last, step=run.last_step)
            with tempfile.TemporaryDirectory() as directory:
                for name, content in run.files.items():
                    path = Path(directory, name)
                    path.write_bytes(content)
                    logged.log_artifact(path, name=f"{run.key.id}-{name}", type="record")
        finally:
            self._trackio.finish()
        (whole,) = self._runs(run.key.project, unfinished)  # Trackio reports a failed write as a warning
        whole.rename(run.key.unique)

    def _runs(self, project: str, name: str) -> list[Any]:
        try:
            runs = self._trackio.Api().runs(project)
        except ValueError:  # there is no such project
            return []
        return [run for run in runs if run.name == name]

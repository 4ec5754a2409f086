"""Runs of Weights & Biases, offline unless `WANDB_MODE` says otherwise.

The run's id is ours. A file in the run's local directory marks that the run is whole; on the server a run that is sent
again keeps its id, so it is not doubled.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from recgauntlet.core.files import check_writable
from recgauntlet.tracking.base import Key, TrackedRun, package

_WHOLE = "recgauntlet-logged"


class WeightsAndBiases:
    """Runs in `directory`/wandb. One project a task and track."""

    def __init__(self, directory: Path) -> None:
        check_writable(directory, "choose another directory")
        self._directory = directory.absolute()
        self._mode = os.environ.get("WANDB_MODE") or "offline"  # online it could ask for a key and wait
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        os.environ.setdefault("WANDB_DATA_DIR", str(self._directory / "wandb-artifacts"))
        self._wandb = package("wandb", "wandb")
        self._settings = self._wandb.Settings(  # about the machine that logs, which need not be the one that trained
            silent=True,
            console="off",
            disable_git=True,
            disable_code=True,
            x_disable_stats=True,
            x_disable_meta=True,
            x_save_requirements=False,
        )

    @property
    def hint(self) -> str:
        """The commands that show the runs and send them, where they are offline."""
        runs = self._directory / "wandb"
        return f"wandb leet {runs}; wandb sync {runs}/offline-run-*" if self._mode == "offline" else "Weights & Biases"

    def has(self, key: Key) -> bool:
        """Whether the run was logged from this directory."""
        return any((run / _WHOLE).is_file() for run in self._runs(key))

    def log(self, run: TrackedRun) -> None:
        """Log the run. Epochs are its steps, which may not fall: the metrics of the whole run are at the last."""
        for unfinished in self._runs(run.key):
            shutil.rmtree(unfinished)
        logged = self._wandb.init(
            project=run.key.project,
            id=run.key.id,
            name=run.key.name,
            notes=run.notes,
            config=dict(run.parameters),
            dir=str(self._directory),
            mode=self._mode,
            resume="allow",
            reinit="create_new",
            settings=self._settings,
        )
        try:
            for number, values in run.epochs:
                logged.log(dict(values), step=number)
            with tempfile.TemporaryDirectory() as directory:
                last = dict(run.metrics)
                for picture in run.pictures:
                    path = Path(directory, f"{picture.name}.png")
                    path.write_bytes(picture.png)
                    last[f"figures/{picture.name}"] = self._wandb.Image(str(path), caption=picture.title)
                logged.log(last, step=run.last_step)
                if run.files:
                    artifact = self._wandb.Artifact(f"record-{run.key.id}", type="record")
                    for name, content in run.files.items():
                        with artifact.new_file(name, mode="wb") as file:
                            file.write(content)
                    logged.log_artifact(artifact)
        except BaseException:
            logged.finish(exit_code=1)
            raise
        logged.finish(exit_code=int(run.failed))
        (Path(logged.dir).parent / _WHOLE).touch()

    def _runs(self, key: Key) -> list[Path]:
        return sorted((self._directory / "wandb").glob(f"*run-*-{key.id}"))

"""Runs of MLflow, in an SQLite database or wherever `MLFLOW_TRACKING_URI` points.

MLflow gives runs ids of its own. The tag `recgauntlet.id` holds ours, and a run counts as there where one with this tag
has ended.
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from typing import Any

from recgauntlet.core.escape import shortened, visible
from recgauntlet.core.files import check_writable
from recgauntlet.tracking.base import Key, TrackedRun, package

_ID = "recgauntlet.id"
_LONGEST = 500
"""Characters of a parameter; MLflow refuses more than 6,000, some of its servers more than 500."""
_LONGEST_NOTE = 5000
"""Characters of the description; older databases hold no longer tag."""
_BATCH = 100
"""Parameters of one request, MLflow's own limit."""


class MLflow:
    """Runs in `directory`/mlflow.db with their files in `directory`/mlflow-artifacts, unless `MLFLOW_TRACKING_URI` is
    set. One experiment a task and track."""

    def __init__(self, directory: Path) -> None:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")  # 7 would take four minutes
        entities = package("mlflow.entities", "mlflow")
        self._metric, self._param = entities.Metric, entities.Param
        self._files = None if (uri := os.environ.get("MLFLOW_TRACKING_URI")) else directory / "mlflow-artifacts"
        if self._files is not None:
            package("sqlalchemy", "mlflow")
            check_writable(directory, "choose another directory")
            uri = f"sqlite:///{(directory / 'mlflow.db').absolute()}"
        self._uri = uri
        self._client: Any = package("mlflow.tracking", "mlflow").MlflowClient(tracking_uri=uri)

    @property
    def hint(self) -> str:
        """The command that shows the runs. The address of a server may hold a password and is not told."""
        if self._files is None:
            return "MLflow at the address in MLFLOW_TRACKING_URI"
        return f"mlflow ui --backend-store-uri {self._uri} (needs the whole package: pip install mlflow)"

    def has(self, key: Key) -> bool:
        """Whether a run with this id has ended."""
        experiment = self._client.get_experiment_by_name(key.project)
        if experiment is None:
            return False
        return any(run.info.end_time for run in self._runs(experiment.experiment_id, key))

    def log(self, run: TrackedRun) -> None:
        """Log the run, whose metrics have the record's times."""
        experiment = self._experiment(run.key.project)
        for unfinished in self._runs(experiment, run.key):
            self._client.delete_run(unfinished.info.run_id)
        started, finished = (round(1000 * moment) for moment in run.times or (time.time(), time.time()))
        tags = {_ID: run.key.id, "mlflow.note.content": _shortened(run.notes), "mlflow.source.name": "recgauntlet"}
        found = self._client.create_run(experiment, start_time=started, run_name=run.key.name, tags=tags)
        number = found.info.run_id
        parameters = [self._param(name, shortened(visible(str(v)), _LONGEST)) for name, v in run.parameters.items()]
        for start in range(0, len(parameters), _BATCH):
            self._client.log_batch(number, params=parameters[start : start + _BATCH])
        series = [*run.epochs, (0, run.metrics)]  # at step 0 they are shown as bars
        metrics = [self._metric(name, v, finished, step) for step, values in series for name, v in values.items()]
        self._client.log_batch(number, metrics=metrics)
        with tempfile.TemporaryDirectory() as directory:
            figures = {f"figures/{picture.name}.png": picture.png for picture in run.pictures}
            for name, content in {**run.files, **figures, "notes.md": run.notes.encode()}.items():
                path = Path(directory, name)
                path.parent.mkdir(exist_ok=True)
                path.write_bytes(content)
            self._client.log_artifacts(number, directory)
        self._client.set_terminated(number, "FAILED" if run.failed else "FINISHED", finished)

    def _experiment(self, name: str) -> str:
        experiment = self._client.get_experiment_by_name(name)
        if experiment is not None:
            return str(experiment.experiment_id)
        files = None if self._files is None else (self._files / name).absolute().as_uri()
        return str(self._client.create_experiment(name, artifact_location=files))

    def _runs(self, experiment: str, key: Key) -> list[Any]:
        return list(self._client.search_runs([experiment], f"tags.`{_ID}` = '{key.id}'"))


def _shortened(notes: str) -> str:
    """The first lines of the notes, as many as fit into the description."""
    if len(notes) <= _LONGEST_NOTE:
        return notes
    return notes[: _LONGEST_NOTE - 30].rpartition("\n")[0] + "\n\nThe rest is in notes.md."

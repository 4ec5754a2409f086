"""Every tracker, read with its own package: a whole run is logged once, what was interrupted is replaced.

Trackers that are not in the extra `test` are skipped where they are not installed.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from tracked_runs import tracked_run

from recgauntlet.core.errors import OutputError
from recgauntlet.tracking import trackers
from recgauntlet.tracking.base import TrackedRun, Tracker
from recgauntlet.tracking.trackers import TRACKERS, open_trackers

IN_TEST_EXTRA = "tensorboard"
VARIABLES = ("MLFLOW_TRACKING_URI", "TRACKIO_SPACE_ID", "TRACKIO_SERVER_URL", "WANDB_MODE", "WANDB_DATA_DIR")
pytestmark = pytest.mark.filterwarnings("default")  # the trackers' packages warn of each other


class Found(NamedTuple):
    """A run as its tracker has it."""

    metrics: dict[str, float]
    losses: list[tuple[int, float]]
    parameters: dict[str, Any]
    figures: int
    files: list[str]


def of_tensorboard(directory: Path, project: str) -> Iterator[Found]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    for place in (directory / "tensorboard").glob("*/*/"):
        events = EventAccumulator(str(place)).Reload()
        series = {tag: [(one.step, one.value) for one in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
        data = events.PluginTagToContent("hparams")["_hparams_/session_start_info"]
        parameters = HParamsPluginData.FromString(data).session_start_info.hparams
        yield Found(
            {name: points[-1][1] for name, points in series.items()},
            series["training/loss"],
            {name: value.number_value or value.string_value for name, value in parameters.items()},
            len(events.Tags()["images"]),
            [path.name for path in place.glob("*.json")],
        )


def of_mlflow(directory: Path, project: str) -> Iterator[Found]:
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{directory / 'mlflow.db'}")
    experiment = client.get_experiment_by_name(project)
    for run in client.search_runs([experiment.experiment_id]):
        number = run.info.run_id
        losses = [(one.step, one.value) for one in client.get_metric_history(number, "training/loss")]
        figures = len(client.list_artifacts(number, "figures"))
        files = [file.path for file in client.list_artifacts(number) if file.path.endswith(".json")]
        yield Found(run.data.metrics, losses, run.data.params, figures, files)


def of_wandb(directory: Path, project: str) -> Iterator[Found]:
    for place in (directory / "wandb").glob("offline-run-*"):
        command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(place)]
        lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
        told: dict[str, list[Any]] = {}
        for line in map(json.loads, lines):
            told.setdefault(line["type"], []).append(line[line["type"]])
        values = {name: value for line in told["history"] for name, value in line["item"].items()}
        yield Found(
            {name: value for name, value in values.items() if isinstance(value, float | int)},
            [(x["step"]["num"], x["item"]["training/loss"]) for x in told["history"] if "training/loss" in x["item"]],
            told["run"][0]["config"]["update"],
            len(list(place.glob("files/media/images/figures/*.png"))),
            [one["path"] for artifact in told.get("artifact", ()) for one in artifact["manifest"]["contents"]],
        )


def of_trackio(directory: Path, project: str) -> Iterator[Found]:
    from trackio import Api
    from trackio.sqlite_storage import SQLiteStorage

    for run in Api().runs(project):
        logs = SQLiteStorage.get_logs(project, run.name)
        values = {name: value for line in logs for name, value in line.items()}
        media = [value["_type"] for value in values.values() if isinstance(value, dict)]
        yield Found(
            {name: value for name, value in values.items() if isinstance(value, float | int)},
            [(line["step"], line["training/loss"]) for line in logs if "training/loss" in line],
            dict(run.config or {}),
            media.count("trackio.image"),
            [
                path.name
                for path in directory.glob("trackio/artifacts/*/blobs/sha256/*/*")
                if path.stat().st_size > 1000
            ],
        )


READERS: dict[str, Callable[[Path, str], Iterator[Found]]] = {
    "tensorboard": of_tensorboard,
    "mlflow": of_mlflow,
    "wandb": of_wandb,
    "trackio": of_trackio,
}


@pytest.fixture(scope="module")
def trackio_directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Trackio reads its directory once, when it is imported."""
    directory = tmp_path_factory.mktemp("trackio")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRACKIO_DIR", str(directory / "trackio"))
        yield directory


@pytest.fixture(params=TRACKERS)
def name(request: pytest.FixtureRequest) -> str:
    if request.param != IN_TEST_EXTRA:
        pytest.importorskip(request.param)
    return str(request.param)


@pytest.fixture
def directory(name: str, trackio_directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for variable in VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    return trackio_directory if name == "trackio" else tmp_path


@pytest.fixture
def run(name: str, request: pytest.FixtureRequest) -> TrackedRun:
    """A run of a project that no other test uses."""
    found = tracked_run()
    return replace(found, key=replace(found.key, task=f"shop-{request.node.originalname[-20:]}"))


def open_(name: str, directory: Path) -> Tracker:
    (opened,) = open_trackers([name], directory).values()
    return opened


def test_a_run_is_there_with_all_its_parts(name: str, directory: Path, run: TrackedRun) -> None:
    tracker = open_(name, directory)
    assert not tracker.has(run.key)
    tracker.log(run)
    assert tracker.has(run.key)
    assert open_(name, directory).has(run.key)
    assert not tracker.has(replace(run.key, id="0" * 32))
    (found,) = READERS[name](directory, run.key.project)
    assert {metric: found.metrics[metric] for metric in run.metrics} == pytest.approx(dict(run.metrics))
    assert found.losses == [(1, pytest.approx(0.7)), (2, pytest.approx(0.5))]
    assert found.parameters["defense"] == "pgd"
    assert float(found.parameters["model.heads"]) == 16
    assert found.figures == len(found.files) == 1


def test_what_was_interrupted_does_not_count_and_is_replaced(name: str, directory: Path, run: TrackedRun) -> None:
    tracker = open_(name, directory)
    broken = replace(run.pictures[0], png=b"no picture")
    with pytest.raises(Exception, match=r"."):  # whatever the package raises
        tracker.log(replace(run, pictures=(broken,), files={"no/such/place/record.json": b""}))
    assert not tracker.has(run.key)
    tracker.log(run)
    assert tracker.has(run.key)
    (found,) = READERS[name](directory, run.key.project)
    assert found.figures == 1


def test_a_failed_cell_with_long_notes_and_a_loss_that_is_no_number_is_logged(
    name: str, directory: Path, run: TrackedRun
) -> None:
    tracker = open_(name, directory)
    failed = replace(run, failed=True, metrics={"failed": 1.0}, epochs=((1, {"training/loss": float("nan")}),))
    tracker.log(replace(failed, notes="a line\n" * 2000, pictures=(), times=None, parameters={"model.path": None}))
    assert tracker.has(run.key)


def test_a_missing_package_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(OutputError, match=re.escape("pip install 'recgauntlet[wandb]'")):
        open_trackers(["wandb"], tmp_path)


def test_a_tracker_that_cannot_be_opened_is_an_error_of_the_input(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fails(directory: Path) -> Tracker:
        raise ConnectionError("no route")

    monkeypatch.setitem(trackers.TRACKERS, "mlflow", fails)
    with pytest.raises(OutputError, match="mlflow: cannot be opened: ConnectionError: no route"):
        open_trackers(["mlflow"], tmp_path)


def test_trackio_elsewhere_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TRACKIO_SPACE_ID", "someone/space")
    with pytest.raises(OutputError, match="TRACKIO_SPACE_ID: is set"):
        open_trackers(["trackio"], tmp_path)

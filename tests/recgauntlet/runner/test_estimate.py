"""How long a plan will take: which records speak for a cell, and what workers make of it."""

from __future__ import annotations

import datetime
from dataclasses import replace
from pathlib import Path

import pytest
from synthetic_records import make_record

from recgauntlet.core.spec import CellSpec
from recgauntlet.core.task import SourceOptions
from recgauntlet.records.io import write_record
from recgauntlet.records.schema import RunRecord
from recgauntlet.runner.estimate import Estimate, Past, estimate, estimates, makespan, read_past
from recgauntlet.runner.plan import Planned
from recgauntlet.training.device import describe

SOURCE = SourceOptions(directory=None, cache=Path("cache"), offline=True)


def cell(defense: str = "standard", task: str = "shop", model: str = "nrms", seed: int = 0) -> CellSpec:
    return CellSpec(task, "standard", model, defense, seed, Path("out"), SOURCE, device="cpu")


def took(seconds: float, defense: str = "standard", task: str = "shop", model: str = "nrms") -> Past:
    return Past(task, "standard", model, defense, "cpu", seconds * 0.25, seconds * 0.75)


def lasting(minutes: float, training: float, **more: str) -> RunRecord:
    """A record of a cell that took so many minutes; `training` in seconds."""
    record = make_record()
    assert record.cost is not None
    began = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)
    return record.model_copy(
        update={
            "started": began.isoformat(),
            "finished": (began + datetime.timedelta(minutes=minutes)).isoformat(),
            "cost": record.cost.model_copy(update={"seconds": training}),
            "environment": record.environment.model_copy(update={"device": "cpu"}),
            **more,
        }
    )


def parts(record: RunRecord) -> tuple[float, float]:
    past = Past.of(record)
    assert past is not None
    return past.training, past.rest


def test_a_record_tells_its_training_and_the_rest() -> None:
    assert parts(lasting(10, 100.0)) == (100.0, 500.0)
    assert parts(lasting(10, 100.0, training_commit="0123456789abcdef")) == (100.0, 500.0)


def test_weights_that_were_trained_before_add_their_training() -> None:
    assert parts(lasting(10, 100.0, training_commit="another")) == (100.0, 600.0)
    assert parts(lasting(1, 100.0)) == (100.0, 60.0)


@pytest.mark.parametrize(
    "record",
    [
        make_record(failure="no luck"),
        lasting(10, 1.0, started="some day"),
        lasting(10, 1.0, started="2026-01-02T03:04:05"),
        lasting(-10, 1.0),
    ],
    ids=["failed", "no time", "no zone", "backwards"],
)
def test_a_record_without_times_tells_nothing(record: RunRecord) -> None:
    assert Past.of(record) is None


def test_other_seeds_of_the_cell_speak_first() -> None:
    past = [took(60, "pgd"), took(100, "pgd"), took(7), took(9, "pgd", task="news"), took(8, task="news")]
    assert estimate(cell("pgd"), past) == Estimate(80, 60, 100, "other runs of it", 2)


def test_then_what_the_defense_costs_elsewhere() -> None:
    past = [took(100), took(200), took(30, "pgd", task="news"), took(10, task="news"), took(5, "fgm")]
    told = estimate(cell("pgd"), past)
    assert told == Estimate(450, 300, 600, "the defense's cost elsewhere", 2)


def test_then_the_model_on_its_task_and_then_the_model_anywhere() -> None:
    past = [took(100), took(50, "fgm"), took(10, task="news")]
    assert estimate(cell("pgd"), past) == Estimate(75, 50, 100, "the model under other defenses", 2)
    assert estimate(cell("pgd"), past[2:]) == Estimate(10, 10, 10, "the model on other tasks", 1)


def test_another_model_and_another_track_say_nothing() -> None:
    assert estimate(cell("pgd"), [took(10, "pgd", model="bert"), replace(took(10, "pgd"), track="demo")]) is None


def test_another_device_says_nothing() -> None:
    planned = [Planned(cell("pgd"), "new"), Planned(cell(), "done")]
    assert estimates(planned, [replace(took(10, "pgd"), device="H100")]) == {cell("pgd").record_path: None}
    told = estimates(planned, [took(10, "pgd")])[cell("pgd").record_path]
    assert told is not None
    assert told.seconds == 10


def test_weights_that_are_reused_take_no_training(tmp_path: Path) -> None:
    spec = replace(cell("pgd"), out=tmp_path, reuse_weights=True)
    past = [took(100, "pgd")]
    assert estimate(spec, past) == Estimate(100, 100, 100, "other runs of it", 1)
    spec.checkpoint_path.parent.mkdir(parents=True)
    spec.checkpoint_path.touch()
    assert estimate(spec, past) == Estimate(75, 75, 75, "other runs of it", 1)


def test_a_directory_inside_another_is_read_once(tmp_path: Path) -> None:
    write_record(lasting(10, 100.0), tmp_path / "mine" / "a.json")
    (tmp_path / "mine" / "b.json").write_text("{")
    assert len(read_past([tmp_path, tmp_path / "mine", tmp_path / "nowhere"])) == 1


def test_workers_share_the_cells_and_a_cell_waits_for_its_twin() -> None:
    specs = [cell(seed=0), cell(seed=1), cell("pgd", seed=0), cell("fgm", seed=0), cell("pgd", seed=1)]
    planned = [Planned(spec, "new") for spec in specs]
    seconds = {spec.record_path: took for spec, took in zip(specs, [10, 4, 3, 5, 2], strict=True)}
    assert makespan(planned, seconds, 1) == 24
    # 0-10 twin of 0; beside it 0-4 twin of 1, 4-6 pgd of 1; then 10-13 pgd and 10-15 fgm of 0
    assert makespan(planned, seconds, 2) == 15
    assert makespan(planned, {}, 2) == 0


def test_the_device_of_a_plan_is_named_as_records_name_it() -> None:
    import torch

    assert describe(torch.device("cpu"), "fp32").device == "cpu"

"""What a plan will take, by the records that exist."""

from __future__ import annotations

import datetime
from dataclasses import replace
from pathlib import Path

from synthetic_records import cut, make_record
from tiny_task import make_spec

from recgauntlet.core.spec import CellSpec
from recgauntlet.core.task import SourceOptions
from recgauntlet.data.custom import find_task_or_card
from recgauntlet.records.io import write_record
from recgauntlet.runner.plan import Planned, estimates, plan
from recgauntlet.training.device import choose_device, describe

SOURCE = SourceOptions(directory=None, cache=Path("cache"), offline=True)


def planned(model: str, defense: str, task: str, state: str = "new") -> Planned:
    spec = CellSpec(task, "standard", model, defense, 7, Path("out"), SOURCE, device="cpu")
    return Planned(spec, state)  # type: ignore[arg-type]


def test_estimates_come_from_the_same_cell_else_from_the_same_model(tmp_path: Path) -> None:
    device = describe(choose_device("cpu"), "fp32").device
    began = datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC)
    record = make_record()
    task, model, defense = record.task.id, record.model.name, record.defense.name
    for seed, (seconds, where) in enumerate(((60, device), (100, device), (9999, "another"))):
        timed = {
            "seed": seed,
            "started": began.isoformat(),
            "finished": (began + datetime.timedelta(seconds=seconds)).isoformat(),
            "environment": record.environment.model_copy(update={"device": where}),
        }
        write_record(record.model_copy(update=timed), tmp_path / f"{seed}.json")
    other = {"defense": record.defense.model_copy(update={"name": "slow"}), "finished": "not a date"}
    write_record(record.model_copy(update=other), tmp_path / "no-date.json")
    cells = [
        planned(model, defense, task),
        planned(model, "unseen", task),
        planned("unseen", defense, task),
        planned(model, defense, task, "done"),
    ]
    found = estimates(cells, (tmp_path, tmp_path / "missing"))
    assert list(found.values()) == [80, 80, None]


def test_what_is_not_training_is_estimated_in_proportion_to_the_test_pairs(tmp_path: Path) -> None:
    """A record of 50 of 500 pairs: 40 s of training and 20 s of attacks, which are 200 s for all pairs."""
    record = cut(make_record(task="video-watch", pairs=500), 50)
    assert record.cost is not None
    timed = {
        "started": "2026-01-02T00:00:00+00:00",
        "finished": "2026-01-02T00:01:00+00:00",
        "environment": record.environment.model_copy(update={"device": describe(choose_device("cpu"), "fp32").device}),
        "cost": record.cost.model_copy(update={"seconds": 40.0}),
    }
    record = record.model_copy(update=timed)
    write_record(record, tmp_path / "first.json")
    cell = planned("nrms", "standard", "video-watch")
    fifth = find_task_or_card("video-watch").card.track("standard").test_pairs // 5
    cells = [cell, Planned(replace(cell.spec, seed=8, test_pairs=fifth), "new")]
    assert list(estimates(cells, (tmp_path,)).values()) == [240, 80]


def test_a_model_is_not_estimated_by_another_that_had_its_name(tmp_path: Path) -> None:
    device = describe(choose_device("cpu"), "fp32").device
    record = make_record(task="video-watch")
    for seed, (seconds, options) in enumerate(((60, {"heads": 2}), (100, {"layers": 6}), (140, {"layers": 30}))):
        timed = {
            "seed": seed,
            "started": "2026-01-02T00:00:00+00:00",
            "finished": f"2026-01-02T00:0{seconds // 60}:{seconds % 60:02}+00:00",
            "environment": record.environment.model_copy(update={"device": device}),
            "model": record.model.model_copy(update={"name": "gpt", "hyperparameters": options}),
        }
        write_record(record.model_copy(update=timed), tmp_path / f"{seed}.json")
    cell = planned("gpt", "standard", "video-watch")
    found = [
        estimates([replace(cell, options=(options, {}))], (tmp_path,))[cell.spec.record_path]
        for options in ({"layers": 6, "rank": 8}, {"layers": 2, "rank": 8}, {"heads": 4}, {"width": 64})
    ]
    assert found == [100, 120, 60, None], "equal options, else the same names; other names are another model's"


def test_included_language_models_are_looked_up_behind_the_fence(
    tiny_card: Path, tiny_cache: Path, tmp_path: Path
) -> None:
    """Importing one must open no connection."""
    first = replace(make_spec(tiny_card, tmp_path, tiny_cache), model_options=())
    models = ("bert", "gpt", "gpt-small", "two-tower")
    assert {cell.spec.model for cell in plan([replace(first, model=name) for name in models])} == set(models)

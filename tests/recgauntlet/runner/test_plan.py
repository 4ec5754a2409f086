"""What a plan will take, by the records that exist."""

from __future__ import annotations

import datetime
from pathlib import Path

from synthetic_records import make_record

from recgauntlet.core.spec import CellSpec
from recgauntlet.core.task import SourceOptions
from recgauntlet.records.io import write_record
from recgauntlet.runner.plan import Planned, estimates
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

"""The seconds and the memory that a run takes to find 10,000 finished cells."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from pathlib import Path

import psutil
import pytest
from bench_command import watched
from bench_figures import Book

from recgauntlet.attacks.suite import suite_ref
from recgauntlet.core.source import source_of
from recgauntlet.core.spec import CellSpec
from recgauntlet.core.task import SourceOptions
from recgauntlet.data.custom import find_task_or_card
from recgauntlet.records.digest import to_bytes
from recgauntlet.records.io import read_record
from recgauntlet.records.schema import RunRecord
from recgauntlet.runner.plan import Planned, plan

RECORD = (
    Path(__file__)
    .resolve()
    .parents[2]
    .joinpath("results", "season-one", "ecommerce-purchase", "standard", "nrms-standard-0.json.xz")
)
TASKS = ("video-watch", "news-click")
MODELS = ("nrms", "sasrec", "bert4rec", "din", "two-tower")
DEFENSES = ("none", "fgsm", "fgm", "pgd", "trades", "freelb", "mart", "vat", "label-smoothing", "rdrop")
SEEDS = 100
SHARDS = 100


def cell(out: Path, task: str, model: str, defense: str, seed: int) -> CellSpec:
    return CellSpec(task, "standard", model, defense, seed, out, SourceOptions(None, out, offline=True))


def finished(record: RunRecord, planned: Planned) -> RunRecord:
    """`record` as if it were that of a cell, as far as a plan looks at it."""
    spec = planned.spec
    assert planned.options is not None
    card = find_task_or_card(spec.task).card
    refs = {
        part: ref.model_copy(update={"name": name, "hyperparameters": options, "source": source_of(f"{part}s", name)})
        for part, ref, name, options in zip(
            ("model", "defense"),
            (record.model, record.defense),
            (spec.model, spec.defense),
            planned.options,
            strict=True,
        )
    }
    task = record.task.model_copy(update={"id": card.id, "fingerprint": card.fingerprint(spec.track)})
    return record.model_copy(update={**refs, "task": task, "suite": suite_ref(), "poisoning": ()})


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A record for each cell, those of a row hard links of one file: a record does not say where it lies, and a plan
    does not ask for its seed."""
    out = tmp_path_factory.mktemp("results")
    original = read_record(RECORD)
    rows = [cell(out, *names, seed=0) for names in product(TASKS, MODELS, DEFENSES)]
    for planned in plan(rows):
        path = planned.spec.record_path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(to_bytes(finished(original, planned).sealed()))
        for seed in range(1, SEEDS):
            replace(planned.spec, seed=seed).record_path.hardlink_to(path)
    return out


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="shared memory is counted once by Linux's /proc")
@pytest.mark.parametrize("share", ["", f"1/{SHARDS}"])
def test_10_000_finished_cells_are_skipped(share: str, results: Path, book: Book) -> None:
    cells = [*results.glob("*/standard/*.json")]
    size = max(path.stat().st_size for path in cells)
    names = [f"--task={','.join(TASKS)}", f"--model={','.join(MODELS)}", f"--defense={','.join(DEFENSES)}"]
    numbers = f"--seeds={','.join(map(str, range(SEEDS)))}"
    command = ["run", *names, numbers, f"--out={results}", "--offline", *([f"--shard={share}"] if share else [])]
    took = watched(command, lambda process: process.memory_full_info().pss)
    planned = len(cells) // SHARDS if share else len(cells)
    assert f"Plan: {planned} cells" in took.out
    assert not [*results.glob(".cells")]
    what = f"a share of {planned:,} of {len(cells):,} finished cells" if share else f"{len(cells):,} finished cells"
    detail = f"records of {size / 1e3:.0f} kB; on {psutil.cpu_count()} cores at a load of {psutil.getloadavg()[0]:.1f}"
    book("plan", f"seconds to skip {what}", took.wall, detail, at_most=30)
    book("plan", f"processor seconds to skip {what}, all processes", took.processor, detail)
    book("plan", f"GB that skipping {what} takes, all processes", took.peak / 1e9, detail, at_most=1)

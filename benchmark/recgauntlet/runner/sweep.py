"""Many cells on an engine.

A cell may fail without taking the sweep down; a killed sweep starts again where it stopped, because finished cells are
found by their records.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait

from recgauntlet.core.spec import CellSpec
from recgauntlet.records.schema import RunRecord
from recgauntlet.runner.engine import Engine
from recgauntlet.runner.processes import Watcher


def run_sweep(
    cells: Sequence[CellSpec],
    watcher: Watcher,
    engine: Engine,
    *,
    on_record: Callable[[RunRecord], None] | None = None,
) -> tuple[RunRecord, ...]:
    """Run `cells`, twins before what needs them; the records in order of finishing. `on_record` is called with each
    when its cell has ended.

    Raises
    ------
    OutputError
        Where a record cannot be written: nothing more is started. Finished records stay.
    KeyboardInterrupt
        The cells in flight are stopped; finished records stay.
    """
    waiting = list(cells)
    to_come = {spec.record_path for spec in cells}
    running: dict[Future[RunRecord], tuple[CellSpec, float]] = {}
    records: list[RunRecord] = []

    def ready() -> CellSpec | None:
        """The first cell whose twin is not still to come."""
        return next((spec for spec in waiting if spec.is_twin or spec.twin().record_path not in to_come), None)

    with engine:
        while waiting or running:
            while len(running) < engine.capacity and (spec := ready()) is not None:
                waiting.remove(spec)
                watcher.started(spec.title)
                running[engine.submit(spec, watcher)] = (spec, time.monotonic())
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                spec, began = running.pop(future)
                record = future.result()
                records.append(record)
                to_come.remove(spec.record_path)
                failure = f"{record.failure.stage}: {record.failure.message}" if record.failure else ""
                watcher.finished(spec.title, f"{time.monotonic() - began:.0f} s", failure)
                if on_record is not None:
                    on_record(record)
    return tuple(records)

"""Shared by the commands that run cells: show a plan, prepare its data, run it with progress."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from recgauntlet.cli.progress import SweepProgress, duration
from recgauntlet.core.files import check_cache, check_writable
from recgauntlet.core.locks import locked
from recgauntlet.core.names import shown
from recgauntlet.core.spec import CellSpec
from recgauntlet.data.custom import find_task_or_card
from recgauntlet.data.prepare import item_vectors, prepare
from recgauntlet.records.schema import RunRecord
from recgauntlet.runner import resources
from recgauntlet.runner.cell_processes import fetch_weights
from recgauntlet.runner.engine import Engine, LocalEngine
from recgauntlet.runner.plan import Planned
from recgauntlet.runner.ray_engine import RayEngine
from recgauntlet.runner.sandbox.bubblewrap import Sandbox
from recgauntlet.runner.sandbox.limits import GIB, Allowance
from recgauntlet.runner.sweep import run_sweep
from recgauntlet.training.device import choose_device


def carry_out(
    console: Console,
    planned: tuple[Planned, ...],
    out: Path,
    engine: Engine,
    *,
    shard: str = "",
    on_record: Callable[[RunRecord], None] | None = None,
) -> tuple[RunRecord, ...]:
    """Run what of the plan is not done on `engine`, with bars; the records in order of finishing. A plan that is a
    `shard` leaves room for the other ones in `out`. `on_record` is called with each record.

    Raises
    ------
    OutputError, DataError, CardError, DeviceError
        Before anything runs, where it could not, or where another run writes into `out`.
    """
    todo = [cell.spec for cell in planned if cell.state != "done"]
    if not todo:
        return ()
    with reserved(out, shard):
        make_ready(console, todo)
        with SweepProgress(console, len(todo)) as progress:
            return run_sweep(todo, progress, engine, on_record=on_record)


@dataclass(frozen=True)
class Limits:
    """How many cells run at a time (None: what the machine or cluster can hold), and what each may take and do."""

    workers: int | None = None
    minutes: float | None = None
    gib: float | None = None
    guarded: bool = True
    sandbox: Sandbox = "auto"

    def local(self, spec: CellSpec) -> LocalEngine:
        """The engine of this machine, for cells like `spec`."""
        workers = self.workers or workers_for(spec)
        allowance = Allowance.of_machine(workers, seconds=self.seconds, memory=self.memory)
        return LocalEngine(workers, allowance=allowance, guarded=self.guarded, sandbox=self.sandbox)

    def ray(self, address: str) -> RayEngine:
        """The engine of the Ray cluster at `address`."""
        return RayEngine(
            address,
            self.workers,
            seconds=self.seconds,
            memory=self.memory,
            guarded=self.guarded,
            sandbox=self.sandbox,
        )

    @property
    def seconds(self) -> float:
        """Of one cell; 0 for the default."""
        return 60 * (self.minutes or 0)

    @property
    def memory(self) -> int:
        """Bytes of one cell; 0 for the default."""
        return int(GIB * (self.gib or 0))


def workers_for(spec: CellSpec) -> int:
    """One cell a core, counted with its threads and processes; one on GPUs."""
    if choose_device(spec.device).type != "cpu":
        return 1
    return max(1, resources.cpus() // (spec.threads * spec.devices))


def print_plan(
    console: Console, planned: tuple[Planned, ...], out: Path, times: Mapping[Path, float | None] | None = None
) -> None:
    """The cells of a plan as a table, seeds of a row together; with `times`, what each row will take."""
    headings = ["task", "track", "model", "defense", "seeds", "to do", *([] if times is None else ["time"]), "note"]
    title = f"Plan: {len(planned)} cells, records in {out}"
    table = Table(*headings, title=title, title_justify="left", box=None, pad_edge=False)
    groups: dict[tuple[str, ...], list[Planned]] = {}
    for cell in planned:
        spec = cell.spec
        groups.setdefault((spec.task_id, spec.track, spec.model, spec.defense, cell.reason), []).append(cell)
    for (task, track, model, defense, reason), cells in groups.items():
        done = sum(cell.state == "done" for cell in cells)
        again = sum(cell.state == "failed before" for cell in cells)
        changed = sum(cell.state == "changed" for cell in cells)
        notes = [
            f"{done} exist already" if done else "",
            f"{again} failed before" if again else "",
            f"{changed} made by other source code, run again" if changed else "",
            reason,
        ]
        table.add_row(
            task,
            track,
            model,
            shown("defense", defense),
            ",".join(str(cell.spec.seed) for cell in cells),
            str(len(cells) - done),
            *([] if times is None else [_row_time(cells, times)]),
            "; ".join(note for note in notes if note),
        )
    console.print(table)


def _row_time(cells: Sequence[Planned], times: Mapping[Path, float | None]) -> str:
    """What the cells of a row that are to be run take one after the other."""
    planned = [times[cell.spec.record_path] for cell in cells if cell.spec.record_path in times]
    known = [seconds for seconds in planned if seconds is not None]
    return duration(sum(known)) if known else "unknown" if planned else ""


def print_time(console: Console, times: Mapping[Path, float | None], workers: int) -> None:
    """How long the plan will take with `workers` cells at a time, and what is not counted."""
    found = {path: each for path, each in times.items() if each is not None}
    strange = len(times) - len(found)
    left_out = f"{strange} of {len(times)} cells are like no record of this device and not counted" if strange else ""
    if not found:
        console.print(f"time    unknown: {left_out}" if times else "time    none: every cell is done", soft_wrap=True)
        return
    seconds = max(sum(found.values()) / workers, *found.values())  # cells that wait for their twin are not modelled
    at_a_time = f"{workers} cells at a time" if workers > 1 else "one cell after the other"
    console.print(
        f"time    about {duration(seconds)}, {at_a_time}{'; ' + left_out if left_out else ''}", soft_wrap=True
    )


@contextlib.contextmanager
def reserved(out: Path, shard: str = "") -> Iterator[None]:
    """Make sure that `out` can be written to, and keep other runs out of it, or other runs of this `shard`.

    Raises
    ------
    OutputError
        Where it cannot, or another run holds it.
    """
    check_writable(out, "free some disk space or choose another output directory (--out)")
    with locked(out, shard) as alone:
        if not alone:
            click.echo(f"note: {out} cannot be locked here: start no other run into it meanwhile", err=True)
        yield


def make_ready(console: Console, todo: Sequence[CellSpec]) -> None:
    """Make each track's data and each model's pretrained weights ready once, before the cells' processes look for
    them."""
    firsts = {(spec.task, spec.track, spec.source): spec for spec in todo}
    for cache in {spec.source.cache for spec in todo}:
        check_cache(cache)
    for spec in {(spec.model, spec.model_options): spec for spec in todo}.values():
        with console.status(f"fetching what {spec.model} is built from"):
            fetch_weights(spec)
    for spec in firsts.values():
        task, track, source = find_task_or_card(spec.task), spec.track, spec.source
        with console.status(f"preparing the data of {task.card.id} ({track})"):
            data = prepare(task, track, source)
            if task.card.compares_items():
                item_vectors(data)
        note = " (simulated)" if task.card.track(track).source.simulated else ""
        console.print(
            f"data    {task.card.id} {track}{note}: {len(data.catalog)} items, {len(data.train)} training pairs, "
            f"{len(data.test)} test pairs",
            soft_wrap=True,
        )

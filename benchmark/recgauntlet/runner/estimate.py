"""How long a plan will take, told from the records that there are."""

from __future__ import annotations

import datetime
import heapq
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from statistics import fmean

from recgauntlet.core.spec import TWIN, CellSpec
from recgauntlet.records.io import read_records
from recgauntlet.records.schema import RunRecord
from recgauntlet.runner.plan import Planned
from recgauntlet.training.device import choose_device, describe


@dataclass(frozen=True)
class Past:
    """What one recorded cell took, in seconds: its training, and the rest."""

    task: str
    track: str
    model: str
    defense: str
    device: str
    training: float
    rest: float

    @classmethod
    def of(cls, record: RunRecord) -> Past | None:
        """A finished cell; None where it failed or says nothing that can be believed.

        A record whose weights an earlier run had trained tells its evaluation alone: other code trained them, or it
        took less time than they did.
        """
        if record.status != "ok" or record.cost is None:
            return None
        try:
            began, ended = (datetime.datetime.fromisoformat(time) for time in (record.started, record.finished))
            took = (ended - began).total_seconds()
        except (ValueError, TypeError):  # TypeError: one with a time zone and one without
            return None
        training = record.cost.seconds
        reused = record.training_commit not in ("", record.environment.commit) or took < training
        rest = took if reused else took - training
        if rest < 0:
            return None
        name, environment = record.task, record.environment
        return cls(name.id, name.track, record.model.name, record.defense.name, environment.device, training, rest)

    def seconds(self, *, trained: bool) -> float:
        """Of the whole cell; of its evaluation where the weights are there (`trained`)."""
        return self.rest if trained else self.training + self.rest


@dataclass(frozen=True)
class Estimate:
    """Seconds of a cell: what is expected, between what its `matches` give at least and at most; `basis` in words."""

    seconds: float
    least: float
    most: float
    basis: str
    matches: int


def read_past(directories: Iterable[Path]) -> tuple[Past, ...]:
    """What the records below `directories` took; one that lies in another is read once. Broken files are left out."""
    places = {directory.resolve() for directory in directories if directory.is_dir()}
    outer = sorted(place for place in places if not any(place != p and place.is_relative_to(p) for p in places))
    records = (record for place in outer for _, record in read_records(place).records)
    return tuple(past for record in records if (past := Past.of(record)) is not None)


def estimates(planned: Sequence[Planned], past: Sequence[Past]) -> dict[Path, Estimate | None]:
    """An estimate of each cell that is to be done, by its record's path; None where no record of its device helps."""
    devices = {name: describe(choose_device(name), "fp32").device for name in {cell.spec.device for cell in planned}}
    out: dict[Path, Estimate | None] = {}
    for cell in planned:
        if cell.state != "done":
            spec = cell.spec
            out[spec.record_path] = estimate(spec, [p for p in past if p.device == devices[spec.device]])
    return out


def estimate(spec: CellSpec, past: Sequence[Past]) -> Estimate | None:
    """What a cell will take, by the nearest of `past` (all of its device): other seeds of it; the undefended model on
    its task times what the defense costs elsewhere; the same model on its task; the same model anywhere."""
    trained = spec.reuse_weights and spec.checkpoint_path.exists()
    took: dict[tuple[str, str, str], list[float]] = {}
    for p in past:
        if p.track == spec.track:
            took.setdefault((p.task, p.model, p.defense), []).append(p.seconds(trained=trained))
    here = took.get((spec.task_id, spec.model, spec.defense))
    if here:
        return _by(here, "other runs of it")
    plain = took.get((spec.task_id, spec.model, TWIN), [])
    ratios = [
        fmean(seconds) / fmean(twin)
        for (task, model, defense), seconds in took.items()
        if defense == spec.defense and (twin := took.get((task, model, TWIN))) and fmean(twin) > 0
    ]
    if plain and ratios:
        return _by([a * b for a, b in product(plain, ratios)], "the defense's cost elsewhere")
    same_model = {key: seconds for key, seconds in took.items() if key[1] == spec.model}
    on_task = [s for key, seconds in same_model.items() if key[0] == spec.task_id for s in seconds]
    if on_task:
        return _by(on_task, "the model under other defenses")
    anywhere = [s for seconds in same_model.values() for s in seconds]
    return _by(anywhere, "the model on other tasks") if anywhere else None


def _by(seconds: Sequence[float], basis: str) -> Estimate:
    return Estimate(fmean(seconds), min(seconds), max(seconds), basis, len(seconds))


def makespan(planned: Sequence[Planned], seconds: Mapping[Path, float], workers: int) -> float:
    """Seconds that a sweep of the cells in `seconds` takes with `workers` at a time: in the order of the plan, a cell
    only after the undefended twin that it needs."""
    waiting = [cell.spec for cell in planned if cell.spec.record_path in seconds]
    running: list[tuple[float, str]] = []
    now = 0.0
    while waiting or running:
        pending = {spec.record_path for spec in waiting} | {Path(path) for _, path in running}
        free = (s for s in waiting if s.is_twin or s.twin().record_path not in pending)
        following = next(free, None) if len(running) < workers else None
        if following is not None:
            waiting.remove(following)
            heapq.heappush(running, (now + seconds[following.record_path], str(following.record_path)))
        else:
            now, _ = heapq.heappop(running)
    return now

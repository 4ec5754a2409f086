"""What a sweep would do: the cells that are asked for, the twins that they need, and what is done already."""

from __future__ import annotations

import contextlib
import datetime
import functools
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Literal

from recgauntlet.attacks.suite import suite_ref
from recgauntlet.core.card import TaskCard
from recgauntlet.core.errors import CardError, PluginError, RecordError
from recgauntlet.core.source import source_of
from recgauntlet.core.spec import CellSpec
from recgauntlet.data.custom import find_task_or_card
from recgauntlet.records.io import read_outline, read_outlines
from recgauntlet.records.outline import RecordOutline, lacks_curves, lacks_high_tier, lacks_perplexities, lacks_threats
from recgauntlet.records.schema import RunRecord
from recgauntlet.runner.messages import Message, Pair, receive
from recgauntlet.runner.poisoned_files import threats_of
from recgauntlet.runner.poisoning import trainings_of
from recgauntlet.runner.processes import importable, spawn
from recgauntlet.runner.sandbox.limits import end_tree
from recgauntlet.runner.worker import LookUp, look_up
from recgauntlet.training.device import choose_device, describe

LOOKING_UP = 300.0
"""Seconds that the plugins of a plan may take to be imported."""
State = Literal["new", "done", "failed before", "changed"]
"""`changed`: done, but with another source of the model or the defense than is installed now."""
Outline = RecordOutline | RunRecord


@dataclass(frozen=True)
class _Installed:
    """What is installed now: the fingerprint of the attack suite, and the source hashes of a model and a defense by
    their names."""

    suite: str
    sources: Callable[[str, str], tuple[str, ...]]


@dataclass(frozen=True)
class Planned:
    """A cell and what is known of it before the sweep."""

    spec: CellSpec
    state: State
    reason: str = ""
    """Why a cell that nobody asked for is in the plan."""
    options: Pair | None = None
    """The hyper-parameters of the model and of the defense."""


def plan(specs: Sequence[CellSpec], *, overwrite: bool = False) -> tuple[Planned, ...]:
    """The cells of `specs` and the undefended twins that they need, twins first.

    Raises
    ------
    PluginError, CardError, DeviceError
        Where a spec names something wrong.
    RecordError
        Where a record stands in the way that is broken, or was made under another card, suite or set of options,
        unless `overwrite`, which replaces the records of `specs`.
    """
    asked: dict[Path, CellSpec] = {}
    for spec in specs:
        first = asked.setdefault(spec.record_path, spec)
        if first.task != spec.task:
            raise CardError(
                f"has the file name of {first.task}, so their records would replace each other",
                where=spec.task,
                field="--task",
                remedy="rename one of the two cards, or run them into different directories (--out)",
            )
        _check_left_out(spec)
    twins = {spec.twin().record_path: spec.twin() for spec in specs if not spec.is_twin}
    ordered = sorted((asked | twins | asked).values(), key=lambda spec: not spec.is_twin)
    planned = []
    sources = functools.cache(lambda model, defense: (source_of("models", model), source_of("defenses", defense)))
    installed = _Installed(suite_ref().fingerprint, sources)
    for spec, known in zip(ordered, _look_up(ordered), strict=True):
        is_asked = spec.record_path in asked
        cell = (
            Planned(spec, _state(spec, known, overwrite, installed))
            if is_asked
            else _twin(spec, known, overwrite, installed)
        )
        planned.append(replace(cell, options=known.opened))
    return tuple(planned)


def _check_left_out(spec: CellSpec) -> None:
    """CardError where what is left out is no threat of the task, or a ranked one."""
    if not spec.left_out:
        return
    unranked = [threat.id for threat in find_task_or_card(spec.task).card.threats if not threat.ranked]
    wrong = [name for name in spec.left_out if name not in unranked]
    if wrong:
        raise CardError(
            f"has no unranked threat {wrong[0]!r} that could be left out",
            where=spec.task,
            field="--leave-out",
            remedy=f"choose among: {', '.join(unranked) or 'none'}",
        )


def _twin(spec: CellSpec, known: Message, overwrite: bool, installed: _Installed) -> Planned:
    """A twin that nobody named: kept even with `overwrite`, unless its record is damaged or of another version."""
    reason = "the undefended twin that the others are compared with"
    try:
        state = _state(spec, known, False, installed, named=False)
    except RecordError as error:
        if not overwrite:
            raise
        return Planned(spec, "new", f"{reason}; its record {error.problem.removesuffix('; it is kept')}")
    if state == "done":
        weights = "and weights" if spec.checkpoint_path.exists() else "alone: each cell trains its lost weights again"
        reason += f", reused with its record {weights}"
    elif state == "new":
        reason += "; trained here, since releases hold no weights"
    return Planned(spec, state, reason)


def estimates(planned: Sequence[Planned], directories: Iterable[Path]) -> dict[Path, float | None]:
    """Seconds that each cell to be done will take, by its record's path; None where no record of its device helps.

    It is the mean over the finished records below `directories` of the same track and model: of those with the cell's
    options of the model where there are any, and of those with its task and defense where there are any. A record with
    options that the model does not have is of another model of that name. What is not training is taken in proportion
    to the test pairs, and trainings on poisoned data as many as there will be.
    """
    took: dict[tuple[str, ...], list[tuple[Outline, _Took]]] = {}
    for record in (record for directory in directories if directory.is_dir() for record in read_outlines(directory)):
        with contextlib.suppress(ValueError, TypeError):  # no dates, or one with a time zone and one without
            began, ended = (datetime.datetime.fromisoformat(time) for time in (record.started, record.finished))
            key = (record.environment.device, record.task.track, record.model.name)
            if record.status == "ok":
                took.setdefault(key, []).append((record, _Took.of(record, (ended - began).total_seconds())))
    devices = {name: describe(choose_device(name), "fp32").device for name in {cell.spec.device for cell in planned}}
    out: dict[Path, float | None] = {}
    for cell in (cell for cell in planned if cell.state != "done"):
        spec = cell.spec
        known = took.get((devices[spec.device], spec.track, spec.model), [])
        found = [one for _, one in _nearest(known, cell)]
        share = _share_of_pairs(spec) if found else 1.0
        out[spec.record_path] = fmean([one.seconds_of(spec, share) for one in found]) if found else None
    return out


def _nearest(known: list[tuple[Outline, _Took]], cell: Planned) -> list[tuple[Outline, _Took]]:
    """Those of the records of a model that are most like the cell."""
    options = cell.options[0] if cell.options else {}
    if cell.options:
        known = [one for one in known if one[0].model.hyperparameters.keys() <= options.keys()]
    equal = [one for one in known if one[0].model.hyperparameters.items() <= options.items()] or known
    place = (cell.spec.task_id, cell.spec.defense)
    return [one for one in equal if (one[0].task.id, one[0].defense.name) == place] or equal


@dataclass(frozen=True)
class _Took:
    """What a cell took, in seconds: one training, one on poisoned data with its measurement, and the rest, as if it
    had attacked all test pairs."""

    training: float
    retraining: float
    rest: float

    @classmethod
    def of(cls, record: Outline, seconds: float) -> _Took:
        poisoned = sum(one.seconds for one in record.poisoning)
        count, first = sum(len(one.trainings) for one in record.poisoning), record.first_pairs
        training = min(seconds, record.cost.seconds if record.cost else 0.0)
        rest = max(0.0, seconds - training - poisoned) * (first.all_pairs / first.pairs if first else 1.0)
        return cls(training, poisoned / count if count else training, rest)

    def seconds_of(self, spec: CellSpec, share: float) -> float:
        """What the cell of `spec` takes, which attacks a `share` of the test pairs, if it is like this one."""
        return self.training + self.retraining * trainings_of(spec, self.training) + self.rest * share


def _share_of_pairs(spec: CellSpec) -> float:
    """The share of the task's test pairs that the spec attacks."""
    if spec.test_pairs is None:
        return 1.0
    return spec.test_pairs / find_task_or_card(spec.task).card.track(spec.track).test_pairs


def _look_up(cells: Sequence[CellSpec]) -> list[Message]:
    """A message for each cell with the card's fingerprint and the hyper-parameters, after everything that it names was
    found in a process of its own: importing a plugin runs its code. Cells that differ by their seed are looked up once.
    """
    rows = [replace(cell, seed=0) for cell in cells]
    specs = tuple(dict.fromkeys(rows))
    found: list[Message] = []
    message: Message | None = None
    with tempfile.TemporaryDirectory(prefix="recgauntlet-") as scratch:
        with importable():
            process, pipe = spawn(look_up, LookUp(specs, Path(scratch)))
        try:
            end = time.monotonic() + LOOKING_UP
            while len(found) < len(specs):
                message = receive(pipe) if pipe.poll(max(0.0, end - time.monotonic())) else None
                if message is None or message.opened is None or message.defaults is None:
                    break
                found.append(message)
        finally:
            if process.is_alive():
                end_tree(process.pid or 0)
            process.join()
            pipe.close()
    if message is not None and message.error is not None:
        raise message.error.error()
    if len(found) != len(specs):
        raise PluginError(
            message.refused if message and message.refused else "ended the process in which it was looked up",
            where=", ".join(sorted({name for spec in specs for name in (spec.model, spec.defense)})),
            remedy="a package must not do this where it is imported; mend or uninstall the one that registers it",
        )
    known = dict(zip(specs, found, strict=True))
    return [known[row] for row in rows]


def _state(spec: CellSpec, known: Message, overwrite: bool, installed: _Installed, *, named: bool = True) -> State:
    """`named`: whether somebody asked for this cell, and for all that its record shall have."""
    path = spec.record_path
    if overwrite or not path.exists():
        return "new"
    record = read_outline(path)
    if record.status == "failed":
        return "failed before"
    for name, found, wanted in (
        ("task.fingerprint", record.task.fingerprint, known.fingerprint),
        ("suite.fingerprint", record.suite.fingerprint, installed.suite),
    ):
        if found != wanted:
            raise RecordError(
                "was made under another version of the task or the attack suite; it is kept",
                where=path,
                field=name,
                remedy="write to another directory (--out), or replace the old records (--overwrite)",
            )
    card = find_task_or_card(spec.task).card
    for field, problem, less in _attacked_less(record, spec, card, named):
        raise RecordError(
            f"{problem}; it is kept",
            where=path,
            field=field,
            remedy=f"{less}, write to another directory (--out), or attack its weights anew "
            "(--overwrite --reuse-weights)",
        )
    for part, plugin, now, default in zip(
        ("model", "defense"), (record.model, record.defense), known.opened or (), known.defaults or (), strict=True
    ):
        then = default | plugin.hyperparameters  # an option that is newer than the record was what it is by default
        for name in sorted({*then, *now}):
            if name not in now or then[name] != now[name]:
                raise RecordError(
                    f"was made with {name} = {then[name]!r} where it would now be {now.get(name)!r}; it is kept",
                    where=path,
                    field=f"{part}.hyperparameters.{name}",
                    remedy=f"ask for the same value ({plugin.name}.{name}={then[name]}), "
                    f"{'' if spec.untuned else 'leave tuned values out (--untuned), '}"
                    "write to another directory (--out), or replace the old records (--overwrite)",
                )
    if named or threats_of(card, spec.poison_attacks):  # a twin that nobody named may have more
        _check_poisoning(record, spec, card)
    made_by = (record.model.source, record.defense.source)
    return "done" if spec.reuse_weights or made_by == installed.sources(spec.model, spec.defense) else "changed"


def _attacked_less(record: Outline, spec: CellSpec, card: TaskCard, named: bool) -> Iterator[tuple[str, str, str]]:
    """What a record lacks of what is asked for: the field, the words, and how to ask for less."""
    had = record.first_pairs
    if had is not None and had.pairs < (spec.test_pairs or had.all_pairs):
        asked = f"{spec.test_pairs or 'all'} are asked for"
        less = f"ask for no more (--test-pairs {had.pairs})"
        yield "first_pairs.pairs", f"was attacked on its first {had.pairs} test pairs, {asked}", less
    if not named:  # a twin serves without the rest
        return
    if spec.high_tier and lacks_high_tier(record):
        problem = "was not attacked at the high tier, which is asked for"
        yield "threats.tiers", problem, "leave that tier out (--no-high-tier)"
    if spec.curves and lacks_curves(record):
        yield "threats.curve", "has no security curves, which are asked for", "leave them out (--no-curves)"
    lacking = [name for name in lacks_threats(record, card) if name not in spec.left_out]
    if lacking:
        problem = f"was not attacked under {', '.join(lacking)}, which is asked for"
        yield "threats", problem, f"leave it out (--leave-out {','.join(lacking)})"
    if spec.naturalness and lacks_perplexities(record):
        problem = "was made without perplexities of its edits, which are asked for"
        yield "naturalness", problem, "leave --naturalness out"


def _check_poisoning(record: Outline, spec: CellSpec, card: TaskCard) -> None:
    """RecordError where a record has other attacks on training data than the spec asks for."""
    asked = spec.poison_attacks
    threats = {threat.id for threat in threats_of(card, asked)}
    if threats == {one.threat for one in record.poisoning} and all(one.chosen == asked for one in record.poisoning):
        return
    made = sorted({name for one in record.poisoning for name in one.chosen or ("those of the card",)})
    raise RecordError(
        f"was made with other attacks on the training data ({', '.join(made) or 'none'}); it is kept",
        where=spec.record_path,
        field="poisoning",
        remedy="ask for the same (--poison-attacks), write to another directory (--out), or replace the old records "
        "(--overwrite)",
    )

"""Tuning studies: their definition, stored trials, and parallel execution."""

from __future__ import annotations

import hashlib
import json
import multiprocessing.connection
import multiprocessing.process
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Protocol

from pydantic import ValidationError

from recgauntlet.core.journal import Journal
from recgauntlet.core.spec import CellSpec
from recgauntlet.core.types import Scalar
from recgauntlet.runner.processes import importable, spawn
from recgauntlet.runner.sandbox.limits import Allowance, Meter, end_tree
from recgauntlet.runner.sweep import LOOKS_EVERY
from recgauntlet.runner.tuning.objective import PAIRS, VERSION
from recgauntlet.runner.tuning.trial import TrialJob, TrialResult, try_apart
from recgauntlet.runner.worker import receive
from recgauntlet.training.device import now
from recgauntlet.training.tuned import Method, Tuned, TunedTrial

Values = dict[str, Scalar]


@dataclass(frozen=True)
class Study:
    """The trials of one method: `spec` is its cell with all hyper-parameters as they come; `trials` are the values to
    be tried, the defaults first; `belonging` is what else its results depend on (fingerprints)."""

    spec: CellSpec
    method: Method
    name: str
    trials: tuple[Values, ...]
    epochs: int
    prepared: Path
    belonging: dict[str, str]

    def spec_of(self, values: Values) -> CellSpec:
        """The cell of a trial."""
        if self.method == "model":
            return replace(self.spec, model_options=_with(self.spec.model_options, values))
        return replace(self.spec, defense_options=_with(self.spec.defense_options, values))

    @property
    def header(self) -> dict[str, str]:
        """What a trial's result belongs to: other trials are not mixed with it."""
        spec = self.spec
        return self.belonging | {
            "objective": str(VERSION),
            "options": json.dumps([spec.model_options, spec.defense_options]),
            "seed": str(spec.seed),
            "epochs": str(self.epochs),
            "method": f"{self.method} {self.name}",
            "cell": f"{spec.task_id} {spec.track} {spec.model} {spec.defense}",
            "run": f"{spec.device} {spec.precision} {spec.threads}",
        }

    @property
    def path(self) -> Path:
        """The file of its finished trials; another one for anything that makes its results others."""
        digest = hashlib.sha256(json.dumps(self.header, sort_keys=True).encode()).hexdigest()[:8]
        spec = self.spec
        return spec.out / spec.task_id / spec.track / f"{spec.model}-{spec.defense}-{spec.seed}-{digest}.jsonl"

    def journal(self) -> Journal:
        """What is known of its trials."""
        return Journal(self.path, self.header)

    def results(self) -> tuple[TrialResult | None, ...]:
        """The result of each trial, None where it was not run."""
        journal = self.journal()
        return tuple(journal.found(_key(values), TrialResult) for values in self.trials)


def _key(values: Values) -> str:
    return json.dumps(values, sort_keys=True)


def _with(options: tuple[tuple[str, Scalar], ...], values: Values) -> tuple[tuple[str, Scalar], ...]:
    return tuple(sorted((dict(options) | values).items()))


def chosen(study: Study, results: Sequence[TrialResult | None]) -> Tuned | None:
    """The best of the finished trials, the earliest of equals; None where all failed or have objective 0."""
    done = [result for result in results if result is not None]
    good = [result for result in done if result.objective]
    if not good:
        return None
    best = max(good, key=lambda result: (result.objective or 0.0, -result.number))
    spec = study.spec
    return Tuned(
        kind=study.method,
        name=study.name,
        task=spec.task_id,
        track=spec.track,
        model=spec.model,
        values=best.values,
        objective=best.objective or 0.0,
        trial=best.number,
        seed=spec.seed,
        epochs=study.epochs,
        pairs=PAIRS,
        date=now()[:10],
        commit=best.commit,
        trials=tuple(TunedTrial(values=result.values, objective=result.objective) for result in done),
    )


class TrialWatcher(Protocol):
    """Told what happens to trials; the command line draws bars from it."""

    def started(self, study: Study, number: int) -> None:
        """A trial's process has started."""

    def progress(self, study: Study, number: int, what: str, share: float) -> None:
        """A trial does `what` and is done to `share` (0 to 1)."""

    def finished(self, study: Study, result: TrialResult, seconds: float) -> None:
        """A trial's result is kept."""


@dataclass
class _Running:
    study: Study
    job: TrialJob
    process: multiprocessing.process.BaseProcess
    pipe: Connection
    meter: Meter
    began: float = field(default_factory=time.monotonic)
    reason: str = ""


def run_studies(
    studies: Sequence[Study],
    watcher: TrialWatcher,
    *,
    workers: int = 1,
    allowance: Allowance | None = None,
    guarded: bool = True,
) -> None:
    """Run the trials that were not run, at most `workers` at a time, each in a process of its own behind the fence of a
    training; each result is kept in its study's file as soon as it is there.

    Raises
    ------
    OutputError
        Where a result cannot be kept: nothing more is started.
    KeyboardInterrupt
        The trials in flight are stopped; results stay.
    """
    allowance = allowance or Allowance.of_machine(workers)
    journals = {study.path: study.journal() for study in studies}
    waiting = [(study, number) for study in studies for number, result in enumerate(study.results()) if result is None]
    running: list[_Running] = []
    with importable():
        try:
            while waiting or running:
                while waiting and len(running) < workers:
                    study, number = waiting.pop(0)
                    watcher.started(study, number)
                    running.append(_start(study, number, allowance, guarded=guarded))
                ready = multiprocessing.connection.wait([trial.pipe for trial in running], timeout=LOOKS_EVERY)
                for trial in list(running):
                    if _listen(trial, watcher) if trial.pipe in ready else _is_fine(trial):
                        continue
                    running.remove(trial)
                    result = _result(trial)
                    journals[trial.study.path].keep(_key(dict(result.values)), result)
                    watcher.finished(trial.study, result, time.monotonic() - trial.began)
        finally:
            for trial in running:
                if trial.process.is_alive():
                    end_tree(trial.process.pid or 0)
                trial.process.join()
                trial.job.spec.clear_workplace()


def _start(study: Study, number: int, allowance: Allowance, *, guarded: bool) -> _Running:
    values = study.trials[number]
    spec = study.spec_of(values)
    spec.clear_workplace()
    spec.workplace.mkdir(parents=True, exist_ok=True)
    plain = {name: value for name, value in values.items() if value is not None}
    job = TrialJob(spec, number, plain, study.epochs, study.prepared, guarded)
    process, pipe = spawn(try_apart, job)
    return _Running(study, job, process, pipe, Meter(process.pid or 0, allowance))


def _listen(trial: _Running, watcher: TrialWatcher) -> bool:
    """Take one message; false once there is no more, or it ended the trial."""
    message = receive(trial.pipe)
    if message is None:
        return False
    trial.meter.heard()
    if message.refused or message.error is not None:
        trial.reason = f"FenceError: {message.refused}" if message.refused else str(message.error)
        return False
    if message.what:
        watcher.progress(trial.study, trial.job.number, message.what, message.share)
    return _is_fine(trial)


def _is_fine(trial: _Running) -> bool:
    excess = trial.meter.look()
    if excess is not None:
        trial.reason = f"{excess.kind}: {excess.message}"
    return excess is None


def _result(trial: _Running) -> TrialResult:
    """What the process left, checked to be this trial's."""
    if trial.reason and trial.process.is_alive():
        end_tree(trial.process.pid or 0)
    trial.process.join()
    trial.meter.end_rest()
    trial.pipe.close()
    job = trial.job
    reason = trial.reason or f"ProcessDied: the process ended with exit code {trial.process.exitcode}"
    try:
        if not trial.reason and job.result.is_file() and not job.result.is_symlink():
            left = TrialResult.model_validate_json(job.result.read_bytes())
            if (left.number, left.values) == (job.number, job.values):
                return left
            reason = "it left the result of another trial"
    except (OSError, ValidationError) as error:
        reason = f"{type(error).__name__}: it left no result that could be read"
    finally:
        job.spec.clear_workplace()
    return TrialResult(number=job.number, values=job.values, status="failed", reason=reason[:2000])

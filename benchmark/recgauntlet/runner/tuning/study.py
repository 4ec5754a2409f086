"""Tuning studies: their definition, stored trials, and parallel execution."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Sequence
from concurrent.futures import as_completed
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import ValidationError

from recgauntlet.core.journal import Journal
from recgauntlet.core.spec import CellSpec
from recgauntlet.core.types import Scalar
from recgauntlet.runner.processes import Child, ProcessPool, Watcher
from recgauntlet.runner.sandbox import bubblewrap
from recgauntlet.runner.sandbox.bubblewrap import Sandbox
from recgauntlet.runner.sandbox.limits import Allowance
from recgauntlet.runner.tuning.objective import PAIRS, VERSION
from recgauntlet.runner.tuning.poison import TuningPoison, names_of
from recgauntlet.runner.tuning.trial import TrialJob, TrialResult, try_apart
from recgauntlet.training.device import now
from recgauntlet.training.tuned import Method, Tuned, TunedTrial

Values = dict[str, Scalar]


@dataclass(frozen=True)
class Study:
    """The trials of one method."""

    spec: CellSpec
    """Its cell, with all hyper-parameters at their defaults."""
    method: Method
    name: str
    trials: tuple[Values, ...]
    """The values to be tried, the defaults first."""
    epochs: int
    prepared: Path
    """The prepared data of the track."""
    belonging: dict[str, str]
    """What else its results depend on (fingerprints)."""
    poison: tuple[TuningPoison, ...] = ()
    """What each trial is trained on again, by threat."""

    def title(self, number: int) -> str:
        """A trial's name on a terminal."""
        return f"{self.spec.task_id} {self.spec.model} {self.spec.defense} trial {number}"

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
            "poison": names_of(self.poison),
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


def run_studies(
    studies: Sequence[Study],
    watcher: Watcher,
    *,
    workers: int = 1,
    allowance: Allowance | None = None,
    guarded: bool = True,
    sandbox: Sandbox = "fence",
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
    boxed = guarded and bubblewrap.is_chosen(sandbox)
    keeping = threading.Lock()

    def run(study: Study, number: int) -> None:
        values = study.trials[number]
        spec, name, began = study.spec_of(values), study.title(number), time.monotonic()
        spec.clear_workplace()
        try:
            spec.workplace.mkdir(parents=True, exist_ok=True)
            plain = {key: value for key, value in values.items() if value is not None}
            watcher.started(name)
            job = TrialJob(spec, number, plain, study.epochs, study.prepared, guarded, study.poison)
            box = bubblewrap.command((spec.workplace,)) if boxed else ()
            child = Child(try_apart, job, name, allowance, box)
            result = _result(pool.follow(child, lambda what, share: watcher.progress(name, what, share)))
            with keeping:
                study.journal().keep(_key(dict(result.values)), result)
        finally:
            spec.clear_workplace()
        objective = result.objective
        done = "" if objective is None else f"objective {objective:.4f}, {time.monotonic() - began:.0f} s"
        watcher.finished(name, done, result.reason)

    with ProcessPool(workers) as pool:
        trials = [(study, number) for study in studies for number, result in enumerate(study.results()) if not result]
        for trial in as_completed([pool.threads.submit(run, *trial) for trial in trials]):
            trial.result()


def _result(child: Child[TrialJob]) -> TrialResult:
    """What the process left, checked to be this trial's."""
    job, reason = child.job, ": ".join(child.fault())
    try:
        if child.is_good and job.result.is_file() and not job.result.is_symlink():
            left = TrialResult.model_validate_json(job.result.read_bytes())
            if (left.number, left.values) == (job.number, job.values):
                return left
            reason = "it left the result of another trial"
    except (OSError, ValidationError) as error:
        reason = f"{type(error).__name__}: it left no result that could be read"
    return TrialResult(number=job.number, values=job.values, status="failed", reason=reason[:2000])

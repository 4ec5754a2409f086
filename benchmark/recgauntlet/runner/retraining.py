"""Periodic retraining: go on with trained weights on the next window of time, and say what got worse."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from recgauntlet.core.card import RANKING_TIER
from recgauntlet.core.dataset import Pairs, TaskData
from recgauntlet.core.errors import PluginError, RecordError
from recgauntlet.core.recommender import Recommender
from recgauntlet.core.rng import Randomness, derive
from recgauntlet.core.task import Task
from recgauntlet.core.types import BoolArray, Progress
from recgauntlet.data.custom import find_task_or_card
from recgauntlet.data.fingerprint import fingerprint
from recgauntlet.data.prepare import check_fingerprint, prepare
from recgauntlet.data.validate import validate
from recgauntlet.data.windows import Window, next_window, windowed
from recgauntlet.evaluation.first_pairs import first_pairs
from recgauntlet.evaluation.gauntlet import GauntletResult, run_gauntlet
from recgauntlet.evaluation.sanity_checks import failed
from recgauntlet.metrics.bootstrap import Estimate, estimates, resampled_means
from recgauntlet.metrics.significance import flip_test
from recgauntlet.records.schema import Gate
from recgauntlet.runner.record import Machine
from recgauntlet.runner.trained import Setup
from recgauntlet.training.build import OpenCell, checkpoint_info, needs_plugins, open_cell, untrained
from recgauntlet.training.checkpoint import CheckpointInfo, load_weights, read_info, save_checkpoint
from recgauntlet.training.device import make_deterministic, peak_memory
from recgauntlet.training.trainer import Trained, train

CLEAN = ""
"""The name of no threat."""


@dataclass(frozen=True)
class Change:
    """A share of right answers (0 to 1) on the new test period, of the old weights and the new, and their difference
    with its 95 % interval and p (paired by test pair).

    threat
        Its id; CLEAN for clean inputs.
    ranked
        Whether it decides.
    """

    threat: str
    ranked: bool
    before: float
    after: float
    difference: Estimate
    p: float


@dataclass(frozen=True)
class Retraining:
    """The outcome: the window, what changed, the checks that failed of the new model and not of the old, and the new
    model, in memory."""

    window: Window
    changes: tuple[Change, ...]
    newly_failed: tuple[str, ...]
    epochs: int
    model: Recommender
    info: CheckpointInfo

    def worse(self, most_lost: float) -> tuple[str, ...]:
        """Why the old weights should stay: ranked threats under which more than `most_lost` (a share) is lost, and
        checks that failed newly; empty where nothing speaks against the new ones."""
        lost = [
            f"under {change.threat} {-100 * change.difference.value:.1f} points are lost"
            for change in self.changes
            if change.ranked and change.difference.value < -most_lost
        ]
        return (*lost, *(f"the check {name} fails, and did not before" for name in self.newly_failed))

    def save(self, path: Path) -> None:
        """Write the new weights; OutputError where the place cannot be written."""
        save_checkpoint(self.model, self.info, path)


@dataclass(frozen=True)
class Step:
    """One step of periodic retraining, opened: the cell of the old weights at `path`, with the window's data."""

    path: Path
    cell: OpenCell
    window: Window
    data: TaskData
    machine: Machine

    @classmethod
    def open(cls, path: Path, setup: Setup, until: str, progress: Progress = lambda what, share: None) -> Step:
        """Read the checkpoint and the window that ends at `until`; raises as `retrain`."""
        info = read_info(path)
        spec = setup.spec_of(info, path)
        if needs_plugins(spec, info):
            raise PluginError(
                "is of a plugin, whose code runs in recgauntlet run alone",
                where=path,
                remedy="write a card of the next window (split.train_from, split.test_until) and run the plugin on it",
            )
        task, window = _next(info, setup, until, progress)
        cell = open_cell(spec, task)
        step = cls(path, cell, window, prepare(task, info.track, spec.source), Machine.of(spec, cell.model))
        _require_training(info, step.model(), path)
        return step

    def model(self, path: Path | None = None) -> Recommender:
        """The model with the old weights, or with those at `path`."""
        self.cell.model.value.fetch(self.cell.model_options, offline=self.cell.spec.source.offline)
        model = untrained(self.cell, self.data, self.machine.device)
        load_weights(model, path or self.path)
        return model

    def attacked(
        self, model: Recommender, test_pairs: int | None = None, progress: Progress = lambda what, share: None
    ) -> GauntletResult:
        """The model, as its defense serves it, at the medium tier and under the checks; it does not learn any more."""
        cell, tested = self.cell, first_pairs(self.data, test_pairs)
        served = cell.defense_object.wrap(model)
        return run_gauntlet(served, cell.task.card, tested, cell.spec.seed, brief=True, progress=progress)

    def trained(
        self, *, epochs: int | None = None, pairs: Pairs | None = None, progress: Progress = lambda what, share: None
    ) -> tuple[Recommender, Trained]:
        """The old weights trained on `pairs` (None: the window's), for at most `epochs`."""
        model, seed = self.model(), self.cell.spec.seed
        most = model.recipe.epochs
        model.recipe = replace(model.recipe, epochs=most if epochs is None else min(epochs, most))
        make_deterministic(derive(seed, "training"))
        data = self.data if pairs is None else replace(self.data, train=pairs)
        precision, rng = self.machine.precision, Randomness(seed, "training")
        outcome = train(model, self.cell.defense_object, data, rng, precision=precision, progress=progress)
        return model, replace(outcome, peak_memory_bytes=peak_memory(self.machine.device))

    def info(self, model: Recommender, outcome: Trained) -> CheckpointInfo:
        """The header of the new weights."""
        info = checkpoint_info(self.cell, outcome, self.data, model.recipe, self.machine.environment)
        return info.model_copy(update={"window": self.window})


def retrain(
    path: Path,
    setup: Setup,
    until: str,
    *,
    epochs: int | None = None,
    test_pairs: int | None = None,
    progress: Progress = lambda what, share: None,
) -> Retraining:
    """Train the weights at `path` further, under their defense, on what was clicked since their training ended and
    before the date `until`, and send old and new weights through the medium tier on the time after it.

    Parameters
    ----------
    epochs
        At most; None for the recipe's.
    test_pairs
        The first test pairs alone; None for all of the window.

    Raises
    ------
    RecordError, CardError, DataError, PluginError
        Where the checkpoint, the date, or what the model is made of does not allow it.
    """
    step = Step.open(path, setup, until, progress)
    before = step.attacked(step.model(), test_pairs, _part(progress, "the old weights", 0.0, 0.35))
    model, outcome = step.trained(epochs=epochs, progress=_part(progress, "retraining", 0.35, 0.3))
    after = step.attacked(model, test_pairs, _part(progress, "the new weights", 0.65, 0.35))
    newly = newly_failed(before.gates, after.gates)
    return Retraining(step.window, changes(before, after), newly, len(outcome.epochs), model, step.info(model, outcome))


def newly_failed(before: Sequence[Gate], after: Sequence[Gate]) -> tuple[str, ...]:
    """The checks that fail of `after` and not of `before`, each with the threat that it is about, if any."""
    old, new = (
        {f"{gate.name} under {gate.threat}" if gate.threat else gate.name for gate in failed(gates)}
        for gates in (before, after)
    )
    return tuple(sorted(new - old))


def _require_training(info: CheckpointInfo, model: Recommender, path: Path) -> None:
    """PluginError where something else than weights comes from the training data: made of a window alone it would
    forget the rest."""
    counts = type(model).prepare is not Recommender.prepare and bool(model._non_persistent_buffers_set)
    keeps = info.filters and info.needs_defense
    if model.recipe.epochs and not counts and not keeps:
        return
    name, what = (info.defense, "serves with") if keeps else (info.model, "is made of")
    raise PluginError(
        f"{name} {what} what it counts in all training data, so there are no weights to go on with",
        where=path,
        remedy="run it again on a card whose split ends later",
    )


def _next(info: CheckpointInfo, setup: Setup, until: str, progress: Progress) -> tuple[Task, Window]:
    """The task with the next window's periods, and the window."""
    progress("reading data", 0.0)
    task = find_task_or_card(setup.task or info.task)
    where = f"{task.card.id} ({info.track})"
    tables = task.load(task.card, info.track, setup.sources(setup.task or info.task))
    validate(tables, where)
    found = fingerprint(tables)
    check_fingerprint(task.card.track(info.track), found, where)
    if found.sha256 != info.data_fingerprint:
        raise RecordError(
            "was trained on other data than this task has now",
            where=setup.task,
            field="data_fingerprint",
            remedy="a table with new rows gives items and users other numbers: run the model again on a card of it",
        )
    window = next_window(task.card, info.track, tables, until, info.window.until if info.window else "")
    return windowed(task, info.track, window), window


def changes(before: GauntletResult, after: GauntletResult) -> tuple[Change, ...]:
    """What differs between two models on the same test pairs: clean, and under each threat that both were attacked
    under, at the medium tier."""
    found = [_change(CLEAN, False, _right(before), _right(after))]
    for old, new in zip(before.threats, after.threats, strict=True):
        kept = [tier.robust for result in (old, new) for tier in result.tiers if tier.tier == RANKING_TIER]
        if len(kept) == 2:
            found.append(_change(old.threat.id, old.threat.ranked, *kept))
    return tuple(found)


def _right(result: GauntletResult) -> BoolArray:
    return result.trial.right.cpu().numpy()


def _change(threat: str, ranked: bool, before: BoolArray, after: BoolArray) -> Change:
    old, new = (np.asarray(bits, dtype=np.float64).reshape(-1, 2).mean(axis=1) for bits in (before, after))
    differences = (new - old)[None, :]
    value = float(differences.mean())
    (estimate,) = estimates([value], resampled_means(differences[:, :, None]))
    return Change(threat, ranked, float(old.mean()), float(new.mean()), estimate, flip_test(differences))


def _part(progress: Progress, name: str, start: float, share: float) -> Progress:
    return lambda what, done: progress(f"{name}: {what}", start + share * done)

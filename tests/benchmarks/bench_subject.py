"""The frozen model that the benchmarks attack, and its examples: trained on a demo track, or a checkpoint of yours."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from recgauntlet import CellSpec, SourceOptions
from recgauntlet.attacks.suite import attacks_for
from recgauntlet.core import files as paths
from recgauntlet.core.card import Threat, Tier
from recgauntlet.core.dataset import Pairs, TaskData
from recgauntlet.core.plugins import Plugin
from recgauntlet.core.recommender import Recommender
from recgauntlet.core.rng import Randomness
from recgauntlet.core.types import IntArray
from recgauntlet.data.prepare import item_vectors, prepare
from recgauntlet.evaluation.robustness import run_attack
from recgauntlet.evaluation.setup import Trial, attackable
from recgauntlet.threats.budget import Budget
from recgauntlet.threats.knowledge import AttackerKnowledge
from recgauntlet.training.build import OpenCell, belongs, checkpoint_info, open_cell, train_cell, untrained
from recgauntlet.training.checkpoint import load_weights, read_info, save_checkpoint
from recgauntlet.training.device import describe

ROOT = Path(__file__).resolve().parents[2]
WORKPLACE = ROOT / ".benchmarks"
CHECKPOINT = "RECGAUNTLET_BENCH_CHECKPOINT"
"""Environment variable: weights that `recgauntlet run` left, to be attacked instead of those of the demo track."""
PAIRS = 500
"""Two examples each."""


@dataclass(frozen=True)
class Subject:
    """A trained model, its data, and what everyone knows of its catalog."""

    cell: OpenCell
    data: TaskData
    model: Recommender
    world: AttackerKnowledge

    @property
    def name(self) -> str:
        spec = self.cell.spec
        return f"{spec.model} on {spec.task_id} ({spec.track})"

    def threat(self, name: str) -> Threat:
        """The threat of the task's card."""
        return next(threat for threat in self.cell.task.card.threats if threat.id == name)

    def trial(self, pairs: int = PAIRS, *, times: int = 1) -> Trial:
        """The model before `pairs` pairs, all of them `times` times under ids of their own: test pairs first, then
        validation and training pairs where those are too few. How a model fares on what it was trained on is no
        result, but all attacks face the same examples."""
        every = [self.data.test, self.data.valid, self.data.train]
        joined = Pairs(*(np.concatenate(arrays) for arrays in zip(*map(arrays_of, every), strict=True)))
        rows = np.tile(np.arange(min(pairs, len(joined))), times)
        return Trial.of(self.model, replace(self.data, test=rows_of(joined, rows)), self.world)


def open_subject(task: str = "news-click") -> Subject:
    """The subject that the environment names, or a small NRMS of the demo track of `task`, trained once."""
    torch.set_num_threads(1)
    named = os.environ.get(CHECKPOINT)
    source = SourceOptions(directory=None, cache=paths.cache_root(), offline=True)
    if named:
        info = read_info(Path(named))
        options = tuple(sorted(info.model_options.items()))
        spec = CellSpec(info.task, info.track, info.model, info.defense, info.seed, WORKPLACE, source, "cpu")
        spec = replace(spec, model_options=options, defense_options=tuple(sorted(info.defense_options.items())))
    else:
        spec = CellSpec(task, "demo", "nrms", "standard", 0, WORKPLACE, source, "cpu")
    cell = open_cell(spec)
    data = prepare(cell.task, spec.track, spec.source)
    model = _trained(cell, data, Path(named) if named else spec.checkpoint_path)
    return Subject(cell, data, model.eval().requires_grad_(False), AttackerKnowledge(data.catalog, item_vectors(data)))


def demo_subject(task: str, model: type[Recommender] | None = None) -> Subject:
    """A small NRMS of the demo track of `task`, or `model`, which need not be installed, trained in its place."""
    torch.set_num_threads(1)
    source = SourceOptions(directory=None, cache=paths.cache_root(), offline=True)
    spec = CellSpec(task, "demo", "nrms", "standard", 0, WORKPLACE, source, "cpu")
    cell = open_cell(spec)
    data = prepare(cell.task, "demo", source)
    if model is None:
        trained = _trained(cell, data, spec.checkpoint_path)
    else:
        plugin = Plugin(model.__name__, model, "benchmarks", "")
        cell = replace(cell, spec=replace(spec, model=plugin.name), model=plugin, model_options=model.hyperparameters())
        trained, _ = train_cell(cell, data, torch.device("cpu"), "fp32", lambda what, share: None)
    return Subject(cell, data, trained.eval().requires_grad_(False), AttackerKnowledge.of(cell.task.card, data))


def _trained(cell: OpenCell, data: TaskData, path: Path) -> Recommender:
    cpu = torch.device("cpu")
    if path.exists() and belongs(read_info(path), cell, data):
        model = untrained(cell, data, cpu)
        load_weights(model, path)
        return model
    if os.environ.get(CHECKPOINT) == str(path):
        raise ValueError(f"{path} was trained on other data than its task has now")
    model, trained = train_cell(cell, data, cpu, "fp32", lambda what, share: None)
    save_checkpoint(model, checkpoint_info(cell, trained, data, model.recipe, describe(cpu, "fp32")), path)
    return model


def untrained_subject(model: str, options: dict[str, int], task: str = "news-click", track: str = "demo") -> Subject:
    """A model with its first weights: enough where only time or memory is asked for."""
    torch.set_num_threads(1)
    source = SourceOptions(directory=None, cache=paths.cache_root(), offline=True)
    spec = CellSpec(task, track, model, "standard", 0, WORKPLACE, source, "cpu")
    cell = open_cell(replace(spec, model_options=tuple(sorted(options.items()))))
    data = prepare(cell.task, spec.track, spec.source)
    built = untrained(cell, data, torch.device("cpu"))
    return Subject(cell, data, built.eval().requires_grad_(False), AttackerKnowledge(data.catalog, item_vectors(data)))


def arrays_of(pairs: Pairs) -> tuple[IntArray, ...]:
    return pairs.users, pairs.histories, pairs.clicked, pairs.unclicked


def rows_of(pairs: Pairs, rows: IntArray) -> Pairs:
    """Pairs by their numbers."""
    return Pairs(*(array[rows] for array in arrays_of(pairs)))


def survivors(trial: Trial, threat: Threat, tier: Tier, enough: int = 0) -> torch.Tensor:
    """`[B]`: which examples stand after the suite's attacks, as the harness runs them at one tier: in order, each on
    those that still stand, every returned input scored and verified; or as soon as no more than `enough` stand."""
    budget = Budget.of(threat, tier)
    standing = trial.right.clone()
    touched = attackable(threat, trial.batch)
    for attack in attacks_for(threat):
        index = torch.nonzero(standing & touched).squeeze(1)
        if int(standing.sum()) <= enough:
            break
        if not attack.supports(budget) or not len(index):
            continue
        found = run_attack(trial, attack, budget, index, Randomness(0, "benchmark").child(attack.name))
        if found.error or found.violations:
            raise AssertionError(f"{attack.name}: {found.error or f'{found.violations} illegal inputs'}")
        standing[index[found.broken]] = False
    return standing

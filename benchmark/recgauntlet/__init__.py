"""RecGauntlet: how robust is a recommender system, and what does robustness cost?

The names here and in `recgauntlet.testing` are the public interface of plugins; everything else may change.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recgauntlet.attacks.base import Attack as Attack
    from recgauntlet.attacks.poisoning.base import Poisoning as Poisoning
    from recgauntlet.attacks.poisoning.base import PoisoningKnowledge as PoisoningKnowledge
    from recgauntlet.attacks.poisoning.base import dated as dated
    from recgauntlet.attacks.poisoning.base import targets_of as targets_of
    from recgauntlet.core.batch import Batch as Batch
    from recgauntlet.core.batch import Candidates as Candidates
    from recgauntlet.core.batch import Tokens as Tokens
    from recgauntlet.core.batch import Users as Users
    from recgauntlet.core.batch import UserState as UserState
    from recgauntlet.core.card import TaskCard as TaskCard
    from recgauntlet.core.card import load_card as load_card
    from recgauntlet.core.dataset import Catalog as Catalog
    from recgauntlet.core.dataset import Pairs as Pairs
    from recgauntlet.core.dataset import Tables as Tables
    from recgauntlet.core.dataset import TaskData as TaskData
    from recgauntlet.core.dataset import TrainingPeriod as TrainingPeriod
    from recgauntlet.core.errors import RecGauntletError as RecGauntletError
    from recgauntlet.core.poison import FakeAccounts as FakeAccounts
    from recgauntlet.core.poison import Targets as Targets
    from recgauntlet.core.recommender import Recommender as Recommender
    from recgauntlet.core.recommender import TrainingRecipe as TrainingRecipe
    from recgauntlet.core.rng import Randomness as Randomness
    from recgauntlet.core.search_space import Between as Between
    from recgauntlet.core.search_space import OneOf as OneOf
    from recgauntlet.core.spec import CellSpec as CellSpec
    from recgauntlet.core.task import SourceOptions as SourceOptions
    from recgauntlet.core.task import Task as Task
    from recgauntlet.data.batches import pairs_to_batch as pairs_to_batch
    from recgauntlet.leaderboard.dataframe import load as load
    from recgauntlet.records.io import read_record as read_record
    from recgauntlet.records.schema import RunRecord as RunRecord
    from recgauntlet.runner.cell import run_cell as run_cell
    from recgauntlet.runner.trained import evaluate as evaluate
    from recgauntlet.runner.trained import load_data as load_data
    from recgauntlet.runner.weights import load_model as load_model
    from recgauntlet.threats.budget import Budget as Budget
    from recgauntlet.threats.training_data import PoisonBudget as PoisonBudget
    from recgauntlet.threats.victim import Victim as Victim
    from recgauntlet.training.defense import Defense as Defense
    from recgauntlet.training.defense import Trainer as Trainer
    from recgauntlet.training.defense import TrainingContext as TrainingContext
    from recgauntlet.training.defense import click_loss as click_loss
    from recgauntlet.training.defense import model_scores as model_scores

_MODULES = {
    "attacks.base": "Attack",
    "attacks.poisoning.base": "Poisoning PoisoningKnowledge dated targets_of",
    "core.batch": "Batch Candidates Tokens UserState Users",
    "core.card": "TaskCard load_card",
    "core.dataset": "Catalog Pairs Tables TaskData TrainingPeriod",
    "core.errors": "RecGauntletError",
    "core.poison": "FakeAccounts Targets",
    "core.recommender": "Recommender TrainingRecipe",
    "core.rng": "Randomness",
    "core.search_space": "Between OneOf",
    "core.spec": "CellSpec",
    "core.task": "SourceOptions Task",
    "data.batches": "pairs_to_batch",
    "leaderboard.dataframe": "load",
    "records.io": "read_record",
    "records.schema": "RunRecord",
    "runner.cell": "run_cell",
    "runner.trained": "evaluate load_data",
    "runner.weights": "load_model",
    "threats.budget": "Budget",
    "threats.training_data": "PoisonBudget",
    "threats.victim": "Victim",
    "training.defense": "Defense Trainer TrainingContext click_loss model_scores",
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names.split()}
__all__ = sorted(_MODULE_OF)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    """Load a public name when it is first asked for: torch takes seconds to import, `--help` should not."""
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'recgauntlet' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"recgauntlet.{_MODULE_OF[name]}"), name)


def __dir__() -> list[str]:
    """The public names: `dir` would else show those alone that were asked for already."""
    return list(__all__)

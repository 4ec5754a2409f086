"""RecGauntlet: how robust is a recommender system, and what does robustness cost?

The names here and in `recgauntlet.testing` are the public interface of plugins; everything else may change.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recgauntlet.attacks.base import Attack
    from recgauntlet.core.batch import Batch, Candidates, Tokens, Users, UserState
    from recgauntlet.core.card import TaskCard, load_card
    from recgauntlet.core.dataset import Catalog, Pairs, Tables, TrainingPeriod
    from recgauntlet.core.errors import RecGauntletError
    from recgauntlet.core.recommender import Recommender, TrainingRecipe
    from recgauntlet.core.rng import Randomness
    from recgauntlet.core.search_space import Between, OneOf
    from recgauntlet.core.spec import CellSpec
    from recgauntlet.core.task import SourceOptions, Task
    from recgauntlet.leaderboard.dataframe import load
    from recgauntlet.records.io import read_record
    from recgauntlet.records.schema import RunRecord
    from recgauntlet.runner.cell import run_cell
    from recgauntlet.runner.trained import evaluate, load_data
    from recgauntlet.threats.budget import Budget
    from recgauntlet.threats.victim import Victim
    from recgauntlet.training.defense import Defense, TrainingContext, click_loss, model_scores

_HOME = {
    "Attack": "attacks.base",
    "Batch": "core.batch",
    "Between": "core.search_space",
    "Budget": "threats.budget",
    "Candidates": "core.batch",
    "Catalog": "core.dataset",
    "CellSpec": "core.spec",
    "Defense": "training.defense",
    "OneOf": "core.search_space",
    "Pairs": "core.dataset",
    "Randomness": "core.rng",
    "RecGauntletError": "core.errors",
    "Recommender": "core.recommender",
    "RunRecord": "records.schema",
    "SourceOptions": "core.task",
    "Tables": "core.dataset",
    "Task": "core.task",
    "TaskCard": "core.card",
    "Tokens": "core.batch",
    "TrainingContext": "training.defense",
    "TrainingPeriod": "core.dataset",
    "TrainingRecipe": "core.recommender",
    "UserState": "core.batch",
    "Users": "core.batch",
    "Victim": "threats.victim",
    "click_loss": "training.defense",
    "evaluate": "runner.trained",
    "load": "leaderboard.dataframe",
    "load_card": "core.card",
    "load_data": "runner.trained",
    "model_scores": "training.defense",
    "read_record": "records.io",
    "run_cell": "runner.cell",
}

__all__ = [
    "Attack",
    "Batch",
    "Between",
    "Budget",
    "Candidates",
    "Catalog",
    "CellSpec",
    "Defense",
    "OneOf",
    "Pairs",
    "Randomness",
    "RecGauntletError",
    "Recommender",
    "RunRecord",
    "SourceOptions",
    "Tables",
    "Task",
    "TaskCard",
    "Tokens",
    "TrainingContext",
    "TrainingPeriod",
    "TrainingRecipe",
    "UserState",
    "Users",
    "Victim",
    "click_loss",
    "evaluate",
    "load",
    "load_card",
    "load_data",
    "model_scores",
    "read_record",
    "run_cell",
]


def __getattr__(name: str) -> Any:
    """Load a public name when it is first asked for: torch takes seconds to import, `--help` should not."""
    if name not in _HOME:
        raise AttributeError(f"module 'recgauntlet' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"recgauntlet.{_HOME[name]}"), name)

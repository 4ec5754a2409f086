"""RecGauntlet: how robust is a recommender system, and what does robustness cost?

The names here and in `recgauntlet.testing` are the public interface of plugins; everything else may change.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recgauntlet.attack import Attack, Budget
    from recgauntlet.batch import Batch, Candidates, Tokens, Users, UserState
    from recgauntlet.card import TaskCard, load_card
    from recgauntlet.cell import run_cell
    from recgauntlet.data.tables import Catalog, Pairs, Tables, TrainingPeriod
    from recgauntlet.defense import Defense, TrainingContext, click_loss, model_scores
    from recgauntlet.errors import RecGauntletError
    from recgauntlet.frame import load
    from recgauntlet.recommender import Recommender, TrainingRecipe
    from recgauntlet.record import RunRecord, read_record
    from recgauntlet.rng import Randomness
    from recgauntlet.search_space import Between, OneOf
    from recgauntlet.spec import CellSpec
    from recgauntlet.task import SourceOptions, Task
    from recgauntlet.victim import Victim

_HOME = {
    "Attack": "attack",
    "Batch": "batch",
    "Between": "search_space",
    "Budget": "attack",
    "Candidates": "batch",
    "Catalog": "data.tables",
    "CellSpec": "spec",
    "Defense": "defense",
    "OneOf": "search_space",
    "Pairs": "data.tables",
    "Randomness": "rng",
    "RecGauntletError": "errors",
    "Recommender": "recommender",
    "RunRecord": "record",
    "SourceOptions": "task",
    "Tables": "data.tables",
    "Task": "task",
    "TaskCard": "card",
    "Tokens": "batch",
    "TrainingContext": "defense",
    "TrainingPeriod": "data.tables",
    "TrainingRecipe": "recommender",
    "UserState": "batch",
    "Users": "batch",
    "Victim": "victim",
    "click_loss": "defense",
    "load": "frame",
    "load_card": "card",
    "model_scores": "defense",
    "read_record": "record",
    "run_cell": "cell",
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
    "load",
    "load_card",
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

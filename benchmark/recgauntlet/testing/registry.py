"""The checks of a plugin, given by name or class: to be called, or as pytest tests."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, get_args

from recgauntlet.attacks.base import Attack, find_attack
from recgauntlet.attacks.poisoning.base import Poisoning, find_poisoning
from recgauntlet.attacks.poisoning.suite import poisoning_attacks
from recgauntlet.attacks.suite import suite_attacks
from recgauntlet.core.errors import PluginError
from recgauntlet.core.plugins import Plugin, names
from recgauntlet.core.recommender import find_model
from recgauntlet.core.types import Scalar
from recgauntlet.data.custom import find_task_or_card
from recgauntlet.testing import (
    attack_checks,
    defense_checks,
    defense_isolation,
    model_contract,
    model_training,
    poisoning_checks,
    task_checks,
)
from recgauntlet.testing.check import Check, ConformanceError, Rule, Subject
from recgauntlet.testing.outcomes import require_known
from recgauntlet.testing.poisoning_checks import PoisoningSubject
from recgauntlet.testing.subjects import AttackSubject, DefenseSubject, ModelSubject
from recgauntlet.testing.task_checks import TaskSubject
from recgauntlet.training.build import merged_options
from recgauntlet.training.defense import find_defense

Kind = Literal["defenses", "models", "tasks", "attacks", "poisoning"]
KINDS: tuple[Kind, ...] = get_args(Kind)
MODULES: dict[Kind, tuple[ModuleType, ...]] = {
    "defenses": (defense_checks, defense_isolation),
    "models": (model_contract, model_training),
    "tasks": (task_checks,),
    "attacks": (attack_checks,),
    "poisoning": (poisoning_checks,),
}


def rules(kind: Kind) -> tuple[Rule[Any], ...]:
    """All checks of a kind, in the order in which they are written and run."""
    return tuple(value for module in MODULES[kind] for value in vars(module).values() if isinstance(value, Rule))


def checks_for(kind: Kind, plugin: Any, *, options: Mapping[str, Scalar] | None = None) -> tuple[Check, ...]:
    """Every check of a plugin, ready to run in order.

    Parameters
    ----------
    kind
        "defenses", "models", "tasks", "attacks" or "poisoning".
    plugin
        A registered name, or the object itself: a class, for a task a `Task`.
    options
        Hyper-parameters other than the defaults, to check a large model in a small size.

    Raises
    ------
    PluginError
        Where there is no such plugin, or it has no such option.
    """
    subject = _subject(kind, plugin, dict(options or {}))
    return tuple(rule.of(subject) for rule in rules(kind))


def _subject(kind: Kind, plugin: Any, options: dict[str, Scalar]) -> Subject[Any]:
    if kind == "tasks":
        if options:
            raise PluginError("a task has no options", field="options", remedy="change its card")
        named = isinstance(plugin, str)
        return TaskSubject(find_task_or_card(plugin), name=Path(plugin).stem) if named else TaskSubject(plugin)
    if kind == "attacks" and isinstance(plugin, str) and plugin not in names("attacks"):
        plugin = next((attack for attack in suite_attacks() if attack.name == plugin), plugin)
    if kind == "poisoning" and isinstance(plugin, str) and plugin not in names("poisoning"):
        plugin = next((attack for attack in poisoning_attacks() if attack.name == plugin), plugin)
    name = ""
    if isinstance(plugin, Attack | Poisoning):
        name, options, plugin = plugin.name, plugin.hyperparameters() | options, type(plugin)
    elif isinstance(plugin, str):
        finders = {
            "defenses": find_defense,
            "models": find_model,
            "attacks": find_attack,
            "poisoning": find_poisoning,
        }
        found = finders[kind](plugin)
        name, plugin = plugin, found.value
    if options and isinstance(plugin, type):
        merged_options(Plugin(name or plugin.__name__, plugin, "", ""), tuple(options.items()))
    subjects: dict[Kind, type[Subject[Any]]] = {
        "defenses": DefenseSubject,
        "models": ModelSubject,
        "attacks": AttackSubject,
        "poisoning": PoisoningSubject,
    }
    return subjects[kind](plugin, options, name)


def parametrize_with_checks(
    kind: Kind,
    plugin: Any,
    *,
    expected_failures: Mapping[str, str] | None = None,
    options: Mapping[str, Scalar] | None = None,
) -> Callable[[Callable[..., object]], Callable[..., object]]:
    """A pytest decorator that runs every check of a plugin as a test of its own.

    ::

        @parametrize_with_checks("defenses", "my-defense")
        def test_conforms(check: Check) -> None:
            check()

    Parameters
    ----------
    kind, plugin, options
        As for `checks_for`.
    expected_failures
        Reasons by name of check. Such a test is an expected failure (xfail, strict): it is an error where it passes.

    Raises
    ------
    PluginError
        Where there is no such plugin, or an expected failure names no check or gives no reason.
    """
    import pytest

    checks = checks_for(kind, plugin, options=options)
    expected = require_known(checks, expected_failures)
    cases = []
    for check in checks:
        reason = expected.get(check.name)
        marks = [] if reason is None else [pytest.mark.xfail(raises=ConformanceError, reason=reason, strict=True)]
        cases.append(pytest.param(check, id=check.name, marks=marks))
    decorate: Callable[[Callable[..., object]], Callable[..., object]] = pytest.mark.parametrize("check", cases)
    return decorate

"""The checks of a plugin, given by name or class."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from recgauntlet.attacks.base import Attack, find_attack
from recgauntlet.attacks.suite import suite_attacks
from recgauntlet.core.errors import PluginError
from recgauntlet.core.plugins import Plugin, names
from recgauntlet.core.recommender import find_model
from recgauntlet.core.types import Scalar
from recgauntlet.data.custom import find_task_or_card
from recgauntlet.testing.attack_subject import AttackSubject
from recgauntlet.testing.check import Check
from recgauntlet.testing.defense_subject import DefenseSubject
from recgauntlet.testing.model_subject import ModelSubject
from recgauntlet.testing.rules import ATTACKS, DEFENSES, MODELS, TASKS, Kind
from recgauntlet.testing.task_subject import TaskSubject
from recgauntlet.training.build import merged_options
from recgauntlet.training.defense import find_defense


def checks_for(kind: Kind, plugin: Any, *, options: Mapping[str, Scalar] | None = None) -> tuple[Check, ...]:
    """Every check of a plugin, ready to run in order.

    Parameters
    ----------
    kind
        "defenses", "models", "tasks" or "attacks".
    plugin
        A registered name, or the object itself: a class, for a task a `Task`.
    options
        Hyper-parameters other than the defaults, to check a large model in a small size.

    Raises
    ------
    PluginError
        Where there is no such plugin, or it has no such option.
    """
    chosen = dict(options or {})
    if chosen:
        _require_options(kind, plugin, chosen)
    if kind == "defenses":
        value = find_defense(plugin).value if isinstance(plugin, str) else plugin
        subject = DefenseSubject(value, chosen)
        return tuple(rule.of(subject) for rule in DEFENSES)
    if kind == "models":
        value = find_model(plugin).value if isinstance(plugin, str) else plugin
        model = ModelSubject(value, chosen)
        return tuple(rule.of(model) for rule in MODELS)
    if kind == "attacks":
        attack = _attack(plugin, chosen)
        return tuple(rule.of(attack) for rule in ATTACKS)
    task = (
        TaskSubject(find_task_or_card(plugin), Path(plugin).stem)
        if isinstance(plugin, str)
        else TaskSubject(plugin, "")
    )
    return tuple(rule.of(task) for rule in TASKS)


def _require_options(kind: Kind, plugin: Any, options: dict[str, Scalar]) -> None:
    """PluginError where a plugin has no such option, or another type of value."""
    if kind == "tasks":
        raise PluginError("a task has no options", field="options", remedy="change its card")
    find = {"defenses": find_defense, "models": find_model, "attacks": find_attack}[kind]
    if isinstance(plugin, str) and plugin in names(kind):
        merged_options(find(plugin), tuple(options.items()))
    elif isinstance(plugin, type):
        merged_options(Plugin(plugin.__name__, plugin, "", ""), tuple(options.items()))


def _attack(plugin: str | type[Attack] | Attack, options: dict[str, Scalar]) -> AttackSubject:
    """A registered attack, or one of the suite by its name."""
    if isinstance(plugin, Attack):
        given = plugin.hyperparameters() | options
        return AttackSubject(type(plugin), given, name=plugin.name)
    if not isinstance(plugin, str):
        return AttackSubject(plugin, options)
    if plugin not in names("attacks"):
        for attack in suite_attacks():
            if attack.name == plugin:
                return _attack(attack, options)
    value = find_attack(plugin).value
    return AttackSubject(value, options, name=plugin)

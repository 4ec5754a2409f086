"""The commands that run the cells of a table again."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from itertools import count

from recgauntlet.core.names import typed
from recgauntlet.leaderboard.schema import Row, TaskTable
from recgauntlet.records.references import PluginRef


def commands_of(task: str, table: TaskTable) -> list[str]:
    """Commands that together run the cells of all rows, each once, and no other: one for each model with its options
    and seeds. A defense with two sets of options is in two commands. `task` is the value of --task."""
    groups: dict[tuple[object, ...], dict[str, Row]] = {}
    for row in table.rows:
        same = row.model.name, tuple(sorted(row.model.hyperparameters.items())), row.seeds
        number = next(n for n in count() if row.defense.name not in groups.get((*same, n), {}))
        groups.setdefault((*same, number), {})[row.defense.name] = row
    return [command_of(task, table, list(rows.values())) for rows in groups.values()]


def command_of(task: str, table: TaskTable, rows: Sequence[Row]) -> str:
    """The command that runs the cells of `rows` again, which have one model with the same options and seeds, and
    defenses of different names."""
    model = under_present_name(rows[0].model)
    parts = ["recgauntlet", "run", "--task", task, "--track", table.track, "--model", model.name]
    for row in rows:
        parts += ["--defense", typed("defense", row.defense.name)]
    parts += _options("--model-option", model)
    for row in rows:
        parts += _options("--defense-option", row.defense, f"{row.defense.name}." if len(rows) > 1 else "")
    return shlex.join([*parts, "--seeds", ",".join(map(str, rows[0].seeds)), "--out", "results/again"])


def under_present_name(model: PluginRef) -> PluginRef:
    """An included model with the name and the options that it has today. Until release 2026.5 the small untrained model
    `gpt-small` had the name `gpt`, and `bert` had `freeze` in place of `tuned_layers`."""
    options = dict(model.hyperparameters)
    if model.name == "gpt" and "width" in options and options.pop("checkpoint", "") == "":
        return model.model_copy(update={"name": "gpt-small", "hyperparameters": options})
    if model.name == "bert" and options.pop("freeze", "") == "none":
        return model.model_copy(update={"hyperparameters": options | {"tuned_layers": 0}})
    return model


def _options(option: str, plugin: PluginRef, prefix: str = "") -> list[str]:
    values = sorted(plugin.hyperparameters.items())
    return [part for name, value in values for part in (option, f"{prefix}{name}={value}")]

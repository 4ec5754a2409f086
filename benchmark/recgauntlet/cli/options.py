"""Command-line options that several commands read: where data may come from, and typed NAME=VALUE pairs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import click

from recgauntlet.core.errors import DataError, PluginError
from recgauntlet.core.files import cache_root
from recgauntlet.core.spec import Options, task_id
from recgauntlet.core.task import SourceOptions
from recgauntlet.core.types import Scalar

EVERY = ""
"""Key of options that were given without a plugin's name."""


def words(ctx: click.Context, parameter: click.Parameter, value: tuple[str, ...]) -> tuple[str, ...]:
    """Repeated options and commas both make lists."""
    return tuple(dict.fromkeys(word.strip() for part in value for word in part.split(",") if word.strip()))


def seeds(ctx: click.Context, parameter: click.Parameter, value: str) -> tuple[int, ...]:
    """Whole numbers from 0, separated by commas."""
    try:
        numbers = tuple(dict.fromkeys(int(part) for part in value.split(",")))
    except ValueError as error:
        raise click.BadParameter("give whole numbers and commas, like 0,1,2") from error
    if min(numbers) < 0:
        raise click.BadParameter("seeds are not negative")
    return numbers


def named(ctx: click.Context, parameter: click.Parameter, value: tuple[str, ...]) -> dict[str, Options]:
    """`PLUGIN.NAME=VALUE` or `NAME=VALUE` (for every plugin); values are numbers or true/false where they read so."""
    chosen: dict[str, list[tuple[str, Scalar]]] = {}
    for item in value:
        key, equals, text = item.partition("=")
        if not equals or not key:
            raise click.BadParameter(f"{item!r}: give NAME=VALUE or PLUGIN.NAME=VALUE")
        plugin, dot, name = key.rpartition(".")
        chosen.setdefault(plugin if dot else EVERY, []).append((name, _scalar(text)))
    return {plugin: tuple(sorted(options)) for plugin, options in chosen.items()}


def options_of(chosen: dict[str, Options], plugin: str) -> Options:
    """What was chosen for `plugin`; its own options go before those for every plugin."""
    return tuple(sorted({**dict(chosen.get(EVERY, ())), **dict(chosen.get(plugin, ()))}.items()))


def check_owners(chosen: dict[str, Options], plugins: Sequence[str], option: str) -> None:
    """PluginError where options were given for a plugin that is not among `plugins`: they would do nothing."""
    strange = sorted(set(chosen) - {EVERY, *plugins})
    if strange:
        raise PluginError(
            f"{strange[0]!r} has no part in this run, its options would do nothing",
            field=option,
            remedy=f"give options of: {', '.join(plugins)}",
        )


def source_options(
    directories: tuple[str, ...], *, accept_licence: bool, offline: bool, tasks: Sequence[str] | None = None
) -> Callable[[str], SourceOptions]:
    """The source options of a task, from `TASK=DIRECTORY` pairs; a user's own task goes by its card's path or id.

    Raises
    ------
    DataError
        Where a pair is no pair, a directory is not there, or a task is none of `tasks` (where they are known).
    """
    given: dict[str, Path] = {}
    for item in directories:
        task, equals, directory = item.partition("=")
        path = Path(directory).expanduser()
        if not equals or not path.is_dir():
            raise DataError(
                f"{item!r} names no directory" if equals else f"{item!r} is no TASK=DIRECTORY",
                field="--dir",
                remedy="give for example --dir news-click=/where/your/MINDsmall_train/is",
            )
        given[task_id(task)] = path
    known = sorted({task_id(task) for task in tasks}) if tasks is not None else sorted(given)
    for task in given:
        if task not in known:
            raise DataError(
                f"{task!r} has no part in this run, its directory would not be read",
                field="--dir",
                remedy=f"give directories of: {', '.join(known)}",
            )
    cache = cache_root()
    return lambda task: SourceOptions(
        directory=given.get(task_id(task)), cache=cache, accept_licence=accept_licence, offline=offline
    )


def _scalar(text: str) -> Scalar:
    if text.lower() in {"true", "false"}:
        return text.lower() == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text

"""Command-line options that several commands read: where data may come from, and typed NAME=VALUE pairs."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import click

from recgauntlet.attacks.poisoning.suite import insertion_attacks, poisoning_attacks
from recgauntlet.core.card import TIERS, Track
from recgauntlet.core.errors import DataError, PluginError
from recgauntlet.core.files import cache_root
from recgauntlet.core.names import shown, stored
from recgauntlet.core.spec import ALL, Options, task_id
from recgauntlet.core.task import SourceOptions
from recgauntlet.core.types import Scalar
from recgauntlet.runner.sandbox.bubblewrap import Sandbox
from recgauntlet.runner.shard import Shard
from recgauntlet.training.tuned import read_tuned

PATH = click.Path(path_type=Path)
EVERY = ""
"""Key of options that were given without a plugin's name."""


def poison_attacks(context: click.Context, option: click.Parameter, value: str | None) -> tuple[str, ...] | None:
    """Attacks on training data: none, all, or names with commas between them; None where nothing is given."""
    if value is None or value == "none":
        return None if value is None else ()
    known = {attack.name for attack in (*poisoning_attacks(), *insertion_attacks())}
    names = tuple(dict.fromkeys(name.strip() for name in value.split(",")))
    unknown = [name for name in names if name not in known]
    if names != (ALL,) and unknown:
        raise PluginError(
            f"there is no poisoning attack {unknown[0]!r}",
            field="--poison-attacks",
            remedy=f"choose none, all, or among: {', '.join(sorted(known))}",
        )
    return names


def words(ctx: click.Context, parameter: click.Parameter, value: tuple[str, ...]) -> tuple[str, ...]:
    """Repeated options and commas both make lists."""
    return tuple(dict.fromkeys(word.strip() for part in value for word in part.split(",") if word.strip()))


def defense_names(ctx: click.Context, parameter: click.Parameter, value: tuple[str, ...]) -> tuple[str, ...]:
    """As `words`, by the stored names."""
    return words(ctx, parameter, tuple(stored("defense", word) for word in words(ctx, parameter, value)))


def less_attacked(command: Callable[..., object]) -> Callable[..., object]:
    """The options that leave out what no rank needs: `no_high_tier`, `no_curves` and `leave_out`."""
    command = click.option(
        "--leave-out",
        multiple=True,
        callback=words,
        metavar="THREAT",
        help="Do not run this unranked threat to inputs, such as embedding-linf, half the time of evaluating bert.",
    )(command)
    command = click.option(
        "--no-curves",
        is_flag=True,
        help="Draw no security curves: an eighth to a third of an evaluation. A row's curve is the mean over the seeds "
        "that have one.",
    )(command)
    return click.option(
        "--no-high-tier",
        is_flag=True,
        help="Do not attack inputs at the high tier: about half the time of an evaluation. Ranks need the medium tier.",
    )(command)


class TierName(click.Choice[str]):
    """A tier by any of its names; the command gets the stored one."""

    def __init__(self) -> None:
        super().__init__([shown("tier", tier) for tier in TIERS])

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        return stored("tier", super().convert(shown("tier", value), param, ctx))


def seeds(ctx: click.Context, parameter: click.Parameter, value: str) -> tuple[int, ...]:
    """Whole numbers from 0, separated by commas."""
    try:
        numbers = tuple(dict.fromkeys(int(part) for part in value.split(",")))
    except ValueError as error:
        raise click.BadParameter("give whole numbers and commas, like 0,1,2") from error
    if min(numbers) < 0:
        raise click.BadParameter("seeds are not negative")
    return numbers


def shard(ctx: click.Context, parameter: click.Parameter, value: str | None) -> Shard | None:
    """`I/N`: shard I of N, from 1."""
    if value is None:
        return None
    number, slash, count = value.partition("/")
    if not (slash and number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
        raise click.BadParameter(f"{value!r}: give I/N with I from 1 to N, like 3/8")
    return Shard(int(number), int(count))


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


def check_tuned(path: Path, untuned: bool, models: Sequence[str], defenses: Sequence[str]) -> None:
    """PluginError where the file of --tuned cannot be read, or would do nothing in this run."""
    there = [(entry.kind, entry.name) for entry in read_tuned(path)]
    problem, remedy = "", f"name a model or a defense of the file: {', '.join(sorted(name for _, name in there))}"
    if untuned:
        problem, remedy = "is left out by --untuned", "give one of the two options"
    elif not any(name in {"model": models, "defense": defenses}[kind] for kind, name in there):
        problem = "has values of no model and no defense of this run"
    if problem:
        raise PluginError(problem, where=path, field="--tuned", remedy=remedy)


@dataclass(frozen=True)
class DataOptions:
    """Where the data of tasks may come from."""

    directories: tuple[str, ...]
    accept_licence: bool
    offline: bool

    def sources(self, tasks: Sequence[str] | None = None) -> Callable[[str], SourceOptions]:
        """The source options of a task; a user's own task goes by its card's path or id.

        Raises
        ------
        DataError
            Where --dir is no pair, names no directory, or names a task that is none of `tasks`.
        """
        given: dict[str, Path] = {}
        for item in self.directories:
            task, equals, directory = item.partition("=")
            path = Path(directory).expanduser()
            if not equals or not path.is_dir():
                raise DataError(
                    f"{item!r} names no directory" if equals else f"{item!r} is no TASK=DIRECTORY",
                    field="--dir",
                    remedy="give for example --dir news-click=/where/your/MINDsmall_train/is",
                )
            given[task_id(task)] = path
        known = sorted(map(task_id, given if tasks is None else tasks))
        for task in given:
            if task not in known:
                raise DataError(
                    f"{task!r} has no part in this run, its directory would not be read",
                    field="--dir",
                    remedy=f"give directories of: {', '.join(known)}",
                )
        cache = cache_root()
        return lambda task: SourceOptions(given.get(task_id(task)), cache, self.accept_licence, self.offline)


def data_options(command: Callable[..., object]) -> Callable[..., object]:
    """Add --dir, --accept-licence and --offline, which the command gets together as `data: DataOptions`."""

    @click.option("--dir", "directories", multiple=True, help="Where you keep a task's own data files: TASK=DIRECTORY.")
    @click.option("--accept-licence", is_flag=True, help="You accept the licences of the data that ask for it (MIND).")
    @click.option("--offline", is_flag=True, help="Never open a connection.")
    @functools.wraps(command)
    def wrapped(directories: tuple[str, ...], accept_licence: bool, offline: bool, **others: object) -> object:
        return command(data=DataOptions(directories, accept_licence, offline), **others)

    return wrapped


device_option = click.option("--device", default="auto", help="auto, cpu, cuda, cuda:0 or mps.")
threads_option = click.option("--threads", type=click.IntRange(1), default=1, help="CPU threads.")
sandbox_option = click.option(
    "--sandbox",
    type=click.Choice(get_args(Sandbox)),
    default="auto",
    help="bwrap: bubblewrap around the fence of every process. fence: the fence alone. auto: bwrap where it works.",
)
track_option = click.option(
    "--track",
    type=click.Choice(get_args(Track)),
    default="standard",
    help="standard: real data, ranked. demo: small, never ranked.",
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

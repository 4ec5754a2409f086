"""The contract of a task plugin: a card and the loader of its data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from recgauntlet.core.card import TaskCard, Track
from recgauntlet.core.dataset import Tables, UserAttribute
from recgauntlet.core.plugins import find, not_a


@dataclass(frozen=True)
class SourceOptions:
    """What the user said about where data may come from.

    directory
        A directory with the source's own files, tried before anything else; None if the user named none.
    cache
        Where downloads are kept.
    accept_licence
        The user accepts a licence that asks for it (MIND's); without it such an archive is not downloaded.
    offline
        Never open a connection.
    """

    directory: Path | None
    cache: Path
    accept_licence: bool = False
    offline: bool = False


@dataclass(frozen=True)
class Task:
    """A task: what `recgauntlet.tasks` entry points name.

    card
        Its data, threats and budgets.
    load
        `load(card, track, options)` returns the normalized tables of a track; DataError names every mirror that was
        tried and why it failed.
    user_attributes
        `user_attributes(options)` returns what the source records of its users; nothing where the source at hand does
        not have it. None where no source of the task has it. It changes no fingerprint, and no record but for its
        `user_groups`.
    """

    card: TaskCard
    load: Callable[[TaskCard, Track, SourceOptions], Tables]
    user_attributes: Callable[[SourceOptions], tuple[UserAttribute, ...]] | None = None


def find_task(name: str) -> Task:
    """The registered task `name`; PluginError if it is not installed or no Task."""
    plugin = find("tasks", name)
    if not isinstance(plugin.value, Task):
        raise not_a(plugin, "a recgauntlet.Task")
    return plugin.value

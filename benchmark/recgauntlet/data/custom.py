"""A task of the user's own: a card and two tables, as docs/extend/task.md explains."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from recgauntlet.core.card import Split, TaskCard, Track, load_card
from recgauntlet.core.dataset import INTERACTIONS, ITEMS, Tables
from recgauntlet.core.errors import CardError, DataError
from recgauntlet.core.task import SourceOptions, Task, find_task
from recgauntlet.data.cleaning import first_takes, k_core, mentioned, table_of
from recgauntlet.data.table_files import FORMATS, SUFFIXES, as_text, read_columns
from recgauntlet.data.text import normalize
from recgauntlet.data.times import seconds
from recgauntlet.data.validate import LATEST

RULES = ("items", "interactions", "min_user_items", "min_item_users")
"""What the table `cleaning` of such a card may hold."""


def task_from_card(path: Path) -> Task:
    """The task that the card at `path` describes.

    Its tables are the files named by `cleaning.items` and `cleaning.interactions` (relative to the card, or to the
    directory given with --dir), else the files `items.*` and `interactions.*` beside the card.

    Raises
    ------
    CardError
        Where the card is wrong, or its cleaning table holds rules that are not known here.
    """
    card = load_card(path)
    for name, track in card.tracks.items():
        unknown = sorted(set(track.cleaning) - set(RULES))
        if unknown:
            raise CardError(
                f"the rules {', '.join(unknown)} are not known for data of your own",
                where=path,
                field=f"tracks.{name}.cleaning",
                remedy=f"use none but: {', '.join(RULES)}",
            )
    folder = path.absolute().parent

    def load(card: TaskCard, track: Track, options: SourceOptions) -> Tables:
        return _load(card, track, options.directory or folder)

    return Task(card, load)


def table_files(path: Path, directory: Path | None) -> list[Path]:
    """The files that may hold the tables of the card at `path`: all of a table's ending beside it, and those it names.

    Empty where the card cannot be read.
    """
    folder = path.absolute().parent
    beside = [file for file in folder.iterdir() if file.name.lower().endswith(SUFFIXES)] if folder.is_dir() else []
    try:
        tracks = load_card(path).tracks.values()
    except CardError:
        return beside
    named = {
        str(track.cleaning[role]) for track in tracks for role in ("items", "interactions") if role in track.cleaning
    }
    return [*beside, *((directory or folder) / name for name in sorted(named))]


def find_task_or_card(name: str) -> Task:
    """The registered task `name`, or the task of the card at that path where `name` ends in ".toml".

    Raises
    ------
    PluginError, CardError
        Where there is no such task, or the card is wrong.
    """
    return task_from_card(Path(name)) if name.endswith(".toml") else find_task(name)


def _load(card: TaskCard, track: Track, folder: Path) -> Tables:
    rules = card.track(track).cleaning
    items = _items(_file(rules.get("items"), folder, "items"))
    split = card.track(track).split
    interactions = _interactions(_file(rules.get("interactions"), folder, "interactions"), split)
    users, takers = (_least(rules, name) for name in ("min_user_items", "min_item_users"))
    if users or takers:
        interactions = k_core(first_takes(interactions), users, takers)
        items = mentioned(items, interactions["item"])
    return Tables(items, interactions=interactions)


def _least(rules: dict[str, Any], name: str) -> int:
    value = rules.get(name, 0)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise CardError(
            f"{value!r} is no whole number of at least 0", field=f"cleaning.{name}", remedy="write a number like 5"
        )
    return value


def _file(named: object, folder: Path, role: str) -> Path:
    if named is not None:
        path = folder / str(named)
        if not path.is_file():
            raise DataError(
                "does not exist",
                where=path,
                field=f"cleaning.{role}",
                remedy="name a file beside the card, or use --dir",
            )
        return path
    found = [folder / f"{role}{suffix}" for suffix in SUFFIXES if (folder / f"{role}{suffix}").is_file()]
    if len(found) != 1:
        raise DataError(
            f"{len(found) or 'no'} files {role}.* were found ({', '.join(FORMATS)}, each also with .gz)",
            where=folder,
            field=f"cleaning.{role}",
            remedy=f"put one such file there, or name it on the card: cleaning.{role}",
        )
    return found[0]


def _items(path: Path) -> pa.Table:
    columns = read_columns(path, ("id", "text"), ("category",))
    ids, texts = (as_text(columns[name], name, path) for name in ("id", "text"))
    categories = as_text(columns["category"], "category", path) if "category" in columns else [""] * len(ids)
    return table_of(list(zip(ids, map(normalize, texts), map(normalize, categories), strict=True)), ITEMS)


def _interactions(path: Path, split: Split) -> pa.Table:
    if split.rule == "time":
        columns = read_columns(path, ("user", "item", "time"))
    else:
        columns = read_columns(path, ("user", "item"), ("time", "position"))
    users, items = (as_text(columns[name], name, path) for name in ("user", "item"))
    if "time" in columns:
        times = seconds(columns["time"], path)
    elif "position" in columns:
        times = _positions(columns["position"], path)
    else:
        raise DataError(
            "has neither of the columns time and position",
            where=path,
            field="time",
            remedy="give one of them: position counts each user's interactions in their order",
        )
    return table_of(list(zip(users, items, times, strict=True)), INTERACTIONS)


def _positions(values: Sequence[object], path: Path) -> list[int]:
    """Whole numbers that rise in each user's order; they may begin anywhere and be equal for what came at once."""
    out = []
    for row, value in enumerate(values, start=1):
        text = str(value).strip()
        if isinstance(value, bool) or not re.fullmatch(r"[0-9]{1,10}", text) or int(text) > LATEST:
            raise DataError(
                f"{text[:40]!r} is no whole number from 0 to {LATEST:,}",
                where=path,
                field=f"position, row {row}",
                remedy="count each user's interactions in their order: 0, 1, 2",
            )
        out.append(int(text))
    return out

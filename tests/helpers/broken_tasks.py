"""Tasks that each break one rule of the contract, and keep to all the others; and the honest ones they are made of."""

from __future__ import annotations

import socket
import tomllib
from collections.abc import Callable
from contextlib import chdir, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
from tiny_task import CARD

from recgauntlet import SourceOptions, Tables, Task, TaskCard
from recgauntlet.core.card import Track
from recgauntlet.core.dataset import IMPRESSIONS, INTERACTIONS, ITEMS
from recgauntlet.core.rng import Randomness
from recgauntlet.data.fingerprint import fingerprint

Load = Callable[[TaskCard, Track, SourceOptions], Tables]
ITEM_COUNT, USERS, TAKES = 30, 40, 8
POPULAR = {"rule": "uniform-unseen", "train_per_click": 1, "eval_per_click": 3}
"""The candidates of a card that may ask for others drawn by popularity too."""
NOWHERE = SourceOptions(directory=None, cache=Path("nowhere"), offline=True)


def interactions() -> Tables:
    items = pa.table(
        [[f"i{n}" for n in range(ITEM_COUNT)], [f"title {n}" for n in range(ITEM_COUNT)], [""] * ITEM_COUNT],
        schema=ITEMS,
    )
    rows = []
    for user in range(USERS):
        draw = Randomness(0, "broken-tasks").numpy(user)
        chosen = draw.permutation(ITEM_COUNT)[:TAKES]
        times = draw.permutation(100_000)[:TAKES]
        rows += [(f"u{user}", f"i{item}", int(time)) for item, time in zip(chosen, times, strict=True)]
    return Tables(items, interactions=pa.table(list(map(list, zip(*rows, strict=True))), schema=INTERACTIONS))


def impressions(history: Callable[[list[str], int], list[str]]) -> Tables:
    """Every user is shown pairs, the first of which is clicked; `history` gives what the row says came before."""
    tables = interactions()
    assert tables.interactions is not None
    rows: list[tuple[Any, ...]] = []
    by_user: dict[str, list[tuple[int, str]]] = {}
    for row in tables.interactions.to_pylist():
        by_user.setdefault(row["user"], []).append((row["time"], row["item"]))
    for user, taken in by_user.items():
        order = [item for _, item in sorted(taken)]
        for place in range(1, len(order)):
            other = next(f"i{n}" for n in range(ITEM_COUNT) if f"i{n}" not in order)
            time = sorted(taken)[place][0]
            rows.append((f"{user}-{place}", user, time, history(order, place), [order[place], other], [True, False]))
    columns = list(map(list, zip(*rows, strict=True)))
    return Tables(tables.items, impressions=pa.table(columns, schema=IMPRESSIONS))


def past(order: list[str], place: int) -> list[str]:
    return order[:place]


def past_and_present(order: list[str], place: int) -> list[str]:
    return order[: place + 1]


def whole_life(order: list[str], place: int) -> list[str]:
    return [item for item in order if item != order[place]]


def task(load: Callable[[], Tables] = interactions, rule: str = "uniform-unseen", **changes: Any) -> Task:
    """A task over `load`, whose card is right but for `changes` (of the track where they name a field of it)."""
    content: dict[str, Any] = tomllib.loads(CARD)
    content["threats"] = [threat | {"ranked": True} for threat in content["threats"] if threat["id"] == "embedding"]
    negatives = {"rule": rule, "train_per_click": 1, "eval_per_click": 3}
    track: dict[str, Any] = content["tracks"]["standard"]
    track |= {"negatives": negatives, "split": {"valid_from": "0.6", "test_from": "0.8"}, "train_pairs": 60}
    track |= {"valid_pairs": 20, "test_impressions": 20}
    # What a broken loader gives has no fingerprint, and what it leaves behind it leaves elsewhere.
    with TemporaryDirectory() as elsewhere, chdir(elsewhere), suppress(Exception):
        track["fingerprint"] = fingerprint(load()).sha256
    for name, value in changes.items():
        (content if name in content else track["source"] if name in track["source"] else track)[name] = value
    content["tracks"] = {"standard": track, "demo": track}
    return Task(TaskCard.model_validate(content), lambda card, name, options: load())


def calls_home() -> Tables:
    with suppress(OSError):
        socket.create_connection(("example.org", 80), timeout=0.1)
    return interactions()


def crashes() -> Tables:
    raise KeyError("titles")


def empty_texts() -> Tables:
    tables = interactions()
    items = tables.items.set_column(1, "text", pa.array([" ", *tables.items["text"].to_pylist()[1:]]))
    return Tables(items, interactions=tables.interactions)


def other_every_time() -> Tables:
    tables = interactions()
    assert tables.interactions is not None
    times = pa.array(np.random.permutation(tables.interactions["time"].to_numpy()))
    return Tables(tables.items, interactions=tables.interactions.set_column(2, "time", times))


def copied_users() -> Tables:
    """Every user stands twice, the second time a day later."""
    tables = interactions()
    assert tables.interactions is not None
    rows = tables.interactions.to_pylist()
    rows += [{"user": f"{r['user']}b", "item": r["item"], "time": r["time"] + 100_000} for r in rows]
    columns = [[row[name] for row in rows] for name in INTERACTIONS.names]
    return Tables(tables.items, interactions=pa.table(columns, schema=INTERACTIONS))


def writes_a_log() -> Tables:
    Path("loading.log").write_text("loaded", encoding="utf-8")
    return interactions()

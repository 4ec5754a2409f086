"""A small, deterministic simulator of news readers, for the demo track: invented headlines, topical readers.

Nothing here is real. Every draw is a SHA-256 of what it is for, so no version of a library can change a byte.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from recgauntlet.core.rng import derive
from recgauntlet_tasks import mind

T = TypeVar("T")

FIRST_DAY = 1_573_257_600
"""2019-11-09 in seconds (UTC): the simulated week lies where MIND's lies."""
DAYS = 6


@dataclass(frozen=True)
class Size:
    """How much is simulated."""

    articles: int
    readers: int
    impressions: int
    shown: int
    seed: int


_WORDS = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
_TOPICS: dict[str, list[str]] = _WORDS["topics"]
"""Headlines of each topic, with places for a person, a town and a number."""


def simulate(size: Size) -> dict[str, bytes]:
    """MIND's two files by name, of an invented week.

    A reader has two favourite topics. Their history and most of their clicks come from these; most of what is shown
    and not clicked comes from the others. One shown candidate in eight is the other way round.
    """
    news = _articles(size)
    by_topic = {topic: [item for item, _, of in news if of == topic] for topic in _TOPICS}
    rows = [_impression(number, size, by_topic) for number in range(size.impressions)]
    return mind.write(rows, news)


def _articles(size: Size) -> list[tuple[str, str, str]]:
    topics = list(_TOPICS)
    out: dict[str, tuple[str, str, str]] = {}
    attempt = 0
    while len(out) < size.articles:
        topic = topics[len(out) % len(topics)]
        title = _pick(_TOPICS[topic], size.seed, "title", attempt).format(
            person=_pick(_WORDS["people"], size.seed, "person", attempt),
            town=_pick(_WORDS["towns"], size.seed, "town", attempt),
            n=2 + derive(size.seed, "number", attempt) % 48,
        )
        attempt += 1
        out.setdefault(title, (f"N{len(out) + 1}", title, topic))
    return list(out.values())


def _impression(number: int, size: Size, by_topic: dict[str, list[str]]) -> mind.Row:
    seed = size.seed
    reader = derive(seed, "reader", number) % size.readers
    favourites = _distinct(list(by_topic), 2, seed, "favourite", reader)
    others = [topic for topic in by_topic if topic not in favourites]
    history = _history(reader, favourites, others, by_topic, seed)
    clicks = 1 + derive(seed, "clicks", number) % 2
    shown: list[str] = []
    clicked: list[bool] = []
    attempt = 0
    while len(shown) < size.shown:
        click = len(shown) < clicks
        odd = derive(seed, "odd", number, attempt) % 8 == 0
        topic = _pick(favourites if click != odd else others, seed, "topic", number, attempt)
        item = _pick(by_topic[topic], seed, "shown", number, attempt)
        attempt += 1
        if item not in shown and item not in history:
            shown.append(item)
            clicked.append(click)
    order = sorted(range(size.shown), key=lambda place: derive(seed, "order", number, place))
    time = FIRST_DAY + derive(seed, "time", number) % (DAYS * 86_400)
    return (
        str(number + 1),
        f"U{reader + 1}",
        time,
        history,
        [shown[i] for i in order],
        [clicked[i] for i in order],
    )


def _history(
    reader: int, favourites: Sequence[str], others: Sequence[str], by_topic: dict[str, list[str]], seed: int
) -> list[str]:
    out: list[str] = []
    for place in range(4 + derive(seed, "length", reader) % 9):
        odd = derive(seed, "stray", reader, place) % 8 == 0
        topic = _pick(others if odd else favourites, seed, "read topic", reader, place)
        item = _pick(by_topic[topic], seed, "read", reader, place)
        if item not in out:
            out.append(item)
    return out


def _pick(choices: Sequence[T], seed: int, purpose: str, *ids: int) -> T:
    return choices[derive(seed, purpose, *ids) % len(choices)]


def _distinct(choices: Sequence[T], count: int, seed: int, purpose: str, *ids: int) -> list[T]:
    order = sorted(range(len(choices)), key=lambda place: derive(seed, purpose, *ids, place))
    return [choices[place] for place in order[:count]]

"""A small, deterministic simulator of music listeners, for the demo track: invented artists, listeners of two genres.

Nothing here is real. Every draw is a SHA-256 of what it is for, so no version of a library can change a number.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

from recgauntlet.core.dataset import INTERACTIONS, ITEMS, Tables
from recgauntlet.core.rng import derive
from recgauntlet.data.cleaning import table_of

_GENRES: dict[str, dict[str, list[str]]] = tomllib.loads(Path(__file__).with_suffix(".toml").read_text("utf-8"))
"""The first and second words of the artists' names of each genre."""
_DRAWS = 2**63


@dataclass(frozen=True)
class Size:
    """How much is simulated: `shortest` and `longest` are numbers of artists of a listener."""

    artists: int
    listeners: int
    shortest: int
    longest: int
    seed: int


def simulate(size: Size) -> Tables:
    """Artists and the order in which simulated listeners take them up; `time` is the place in that order.

    A listener has two favourite genres and moves from the first to the second. One artist in eight is of any genre.
    Within a genre the artists named first are popular: the k-th of n is drawn with a density like sqrt(n / k).
    """
    names = _names(size)
    by_genre: dict[str, list[str]] = {}
    for number, (genre, _) in enumerate(names):
        by_genre.setdefault(genre, []).append(f"a{number}")
    rows = [
        (f"u{listener}", artist, place)
        for listener in range(size.listeners)
        for place, artist in enumerate(_sequence(listener, by_genre, size))
    ]
    items = [(f"a{number}", name, "") for number, (_, name) in enumerate(names)]
    return Tables(table_of(items, ITEMS), interactions=table_of(rows, INTERACTIONS))


def _names(size: Size) -> list[tuple[str, str]]:
    """Genre and name of each artist, the genres in turn."""
    orders = {}
    for genre, words in _GENRES.items():
        pairs = [f"{first} {second}" for first in words["first"] for second in words["second"]]
        orders[genre] = sorted(pairs, key=lambda name: derive(size.seed, f"name/{name}"))
    genres = list(_GENRES)
    turns = [(genres[number % len(genres)], number // len(genres)) for number in range(size.artists)]
    return [(genre, orders[genre][turn]) for genre, turn in turns]


def _sequence(listener: int, by_genre: dict[str, list[str]], size: Size) -> list[str]:
    genres = sorted(by_genre, key=lambda genre: derive(size.seed, f"favourite/{genre}", listener))
    length = size.shortest + derive(size.seed, "length", listener) % (size.longest - size.shortest + 1)
    out: dict[str, None] = {}
    attempt = 0
    while len(out) < length:
        genre = genres[_share(size, "move", listener, attempt) < len(out) / length]
        if derive(size.seed, "stray", listener, attempt) % 8 == 0:
            genre = genres[derive(size.seed, "any", listener, attempt) % len(genres)]
        artists = by_genre[genre]
        out.setdefault(artists[int(len(artists) * _share(size, "artist", listener, attempt) ** 2)])
        attempt += 1
    return list(out)


def _share(size: Size, purpose: str, *ids: int) -> float:
    """A number from 0 to below 1."""
    return min(derive(size.seed, purpose, *ids) / _DRAWS, 1 - 2**-53)

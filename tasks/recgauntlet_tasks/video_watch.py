"""The task video-watch: MovieLens-100K, every rating a film that was watched."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from recgauntlet.core.card import TaskCard, Track, load_card
from recgauntlet.core.dataset import INTERACTIONS, ITEMS, Tables, UserAttribute
from recgauntlet.core.errors import DataError
from recgauntlet.core.files import downloads
from recgauntlet.core.task import SourceOptions, Task
from recgauntlet.data.cleaning import mentioned, sample_by_hash, table_of
from recgauntlet.data.download import Wheel, download, fetch_wheel, wheel_in
from recgauntlet.data.sources import (
    Mirror,
    MirrorError,
    RawFile,
    files_in,
    find_in,
    first_of,
    members,
    named_directory,
)
from recgauntlet.data.text import decode, normalize, separated

ARCHIVE = "https://files.grouplens.org/datasets/movielens/ml-100k.zip"
WHEEL = Wheel(
    "recbole",
    "1.2.1",
    "recbole-1.2.1-py3-none-any.whl",
    "9c9948202011f37eb0a7c6768129313f00d6403ad221ec940d5e2d5d5f33a407",
)
OFFICIAL = {"u.data": "u.data", "u.item": "u.item", "u.genre": "u.genre"}
ATOMIC = {"inter": "ml-100k.inter", "item": "ml-100k.item"}
OFFICIAL_USERS = {"official": "u.user"}
ATOMIC_USERS = {"atomic": "ml-100k.user"}
AGES = (
    (18, "under 18"),
    (25, "18–24"),
    (35, "25–34"),
    (45, "35–44"),
    (50, "45–49"),
    (56, "50–55"),
    (150, "56 and over"),
)
"""The age bands that MovieLens-1M comes with, which the literature uses: each below its first number."""
GENDERS = ("F", "M")
"""As MovieLens records it: one of two values, stated by the user."""
_YEAR = re.compile(r"\s*\((?:\d{4}|V)\)$")


def load(card: TaskCard, track: Track, options: SourceOptions) -> Tables:
    """MovieLens-100K as items and interactions; the demo track keeps the users with the smallest hashes.

    Raises
    ------
    DataError
        Where no mirror has the files, or a file is damaged or foreign.
    """
    kept = downloads(options.cache)
    raw = first_of(
        (
            Mirror("a directory of yours", lambda: _from_directory(options.directory)),
            Mirror(
                "the GroupLens archive",
                lambda: members(download(ARCHIVE, kept, offline=options.offline), OFFICIAL),
            ),
            Mirror(
                f"the wheel {WHEEL.requirement}",
                lambda: members(fetch_wheel(WHEEL, kept, offline=options.offline), ATOMIC),
            ),
        ),
        "MovieLens-100K",
    )
    items = _official_items(raw["u.item"], raw["u.genre"]) if "u.item" in raw else _atomic_items(raw["item"])
    watches = _watches(raw["u.data"], header=False) if "u.data" in raw else _watches(raw["inter"], header=True)
    users = card.track(track).cleaning.get("users")
    if users is not None:
        chosen = sample_by_hash((user for user, _, _ in watches), int(str(users)))
        watches = [row for row in watches if row[0] in chosen]
    interactions = table_of(watches, INTERACTIONS)
    catalog = table_of(items, ITEMS)
    return Tables(catalog if users is None else mentioned(catalog, interactions["item"]), interactions=interactions)


def user_attributes(options: SourceOptions) -> tuple[UserAttribute, ...]:
    """Age band and recorded gender of MovieLens-100K's users; nothing where no mirror has the file of users.

    Raises
    ------
    DataError
        Where that file is damaged or foreign.
    """
    kept = downloads(options.cache)
    mirrors: tuple[Callable[[], dict[str, RawFile]], ...] = (
        lambda: _users_in(options.directory),
        lambda: members(download(ARCHIVE, kept, offline=options.offline), OFFICIAL_USERS),
        lambda: members(fetch_wheel(WHEEL, kept, offline=options.offline), ATOMIC_USERS),
    )
    for read in mirrors:
        try:
            raw = read()
        except MirrorError:
            continue  # the files of films and ratings do without it
        rows = _user_rows(raw)
        ages = UserAttribute("age", tuple(label for _, label in AGES), {user: age for user, age, _ in rows})
        return ages, UserAttribute("gender", GENDERS, {user: gender for user, _, gender in rows})
    return ()


def _user_rows(raw: dict[str, RawFile]) -> list[tuple[str, int, int]]:
    """Each user, the place of the age band in AGES, and that of the gender in GENDERS."""
    (form, file), *_ = raw.items()
    rows = separated(decode(file.content, file.name), "|" if form == "official" else "\t", 5, file.name)
    first = 1
    if form == "atomic":
        header = ["user_id:token", "age:token", "gender:token", "occupation:token", "zip_code:token"]
        _check_header(rows[0], header, file)
        rows, first = rows[1:], 2
    out = []
    for number, (user, age, gender, *_) in enumerate(rows, start=first):
        if not (age.isdecimal() and len(age) < 4 and int(age) < AGES[-1][0] and gender in GENDERS):
            raise DataError(
                f"{age!r} and {gender!r} are no age in years and gender {' or '.join(GENDERS)}",
                where=file.name,
                field=f"line {number}",
                remedy="the file is damaged: download it again",
            )
        out.append((user, next(n for n, (end, _) in enumerate(AGES) if int(age) < end), GENDERS.index(gender)))
    return out


def _users_in(named: Path | None) -> dict[str, RawFile]:
    return _in_either_form(named_directory(named), OFFICIAL_USERS, ATOMIC_USERS)


def _from_directory(named: Path | None) -> dict[str, RawFile]:
    return _in_either_form(named_directory(named), OFFICIAL, ATOMIC)


def _in_either_form(directory: Path, official: dict[str, str], atomic: dict[str, str]) -> dict[str, RawFile]:
    """Files of a directory that has the official archive, or RecBole's wheel, packed or not."""
    for roles in (official, atomic):
        try:
            return files_in(directory, roles)
        except MirrorError:
            continue  # the other form may be there
    archive = find_in(directory, ["ml-100k.zip"])
    if archive is not None:
        return members(archive, official)
    try:
        return members(wheel_in(directory, WHEEL), atomic)
    except MirrorError as error:
        forms = "; ".join(" and ".join(roles.values()) for roles in (official, atomic))
        raise MirrorError(f"{directory} has none of: {forms}; ml-100k.zip; or the wheel") from error


def _official_items(item: RawFile, genre: RawFile) -> list[tuple[str, str, str]]:
    """GroupLens: latin-1, fields between bars, one mark a genre in the order of u.genre."""
    genres = [row[0] for row in separated(decode(genre.content, genre.name), "|", 2, genre.name)]
    rows = separated(decode(item.content, item.name, "latin-1"), "|", 5 + len(genres), item.name)
    return [_item(row[0], row[1], [g for g, mark in zip(genres, row[5:], strict=True) if mark == "1"]) for row in rows]


def _atomic_items(item: RawFile) -> list[tuple[str, str, str]]:
    """RecBole: UTF-8, tabs, a header; the title has lost its year, and one title is misspelt."""
    rows = separated(decode(item.content, item.name), "\t", 4, item.name)
    _check_header(rows[0], ["item_id:token", "movie_title:token_seq", "release_year:token", "class:token_seq"], item)
    return [_item(row[0], "unknown" if row[1] == "unkonwn" else row[1], row[3].split()) for row in rows[1:]]


def _item(item: str, title: str, genres: list[str]) -> tuple[str, str, str]:
    """id, "title genres" and the genres: the title without year and video mark, the genre "unknown" left out."""
    title = normalize(title)
    while (shorter := _YEAR.sub("", title)) != title:
        title = shorter
    known = " ".join(sorted(genre for genre in genres if genre != "unknown"))
    return item, f"{title} {known}".strip(), known


def _watches(file: RawFile, *, header: bool) -> list[tuple[str, str, int]]:
    rows = separated(decode(file.content, file.name), "\t", 4, file.name)
    if header:
        _check_header(rows[0], ["user_id:token", "item_id:token", "rating:float", "timestamp:float"], file)
    out = []
    for number, row in enumerate(rows[header:], start=1 + header):
        if not row[3].isdecimal():
            raise DataError(
                f"{row[3]!r} is no time in whole seconds",
                where=file.name,
                field=f"line {number}",
                remedy="the file is damaged: download it again",
            )
        out.append((row[0], row[1], int(row[3])))
    return out


def _check_header(found: list[str], expected: list[str], file: RawFile) -> None:
    if found != expected:
        raise DataError(
            f"begins with {' '.join(found)!r} where {' '.join(expected)!r} is expected",
            where=file.name,
            field="line 1",
            remedy=f"use the file of {WHEEL.requirement}, or the official archive",
        )


task = Task(load_card(Path(__file__).with_name("video_watch.toml")), load, user_attributes)

"""MIND's file format: behaviors.tsv and news.tsv into items and impressions."""

from __future__ import annotations

import csv
import hashlib
import io
from dataclasses import dataclass
from datetime import UTC, datetime

from recgauntlet.core.dataset import IMPRESSIONS, ITEMS, Tables
from recgauntlet.core.errors import DataError
from recgauntlet.data.cleaning import table_of
from recgauntlet.data.sources import RawFile
from recgauntlet.data.text import decode, separated, straighten

BEHAVIORS, NEWS = "behaviors.tsv", "news.tsv"
_INVISIBLE = str.maketrans("", "", "\u200b\u2060\ufeff")
_REMEDY = "the file is damaged or of another format: take MINDsmall_train as Microsoft publishes it"

Row = tuple[str, str, int, list[str], list[str], list[bool]]


@dataclass(frozen=True)
class Selection:
    """Which impressions a task is made of, by `key_of`.

    whole
        Those that are read as they are.
    cut
        Those of which only the articles of `articles` are read, in the history and among the candidates.
    articles
        Ids of articles.
    """

    whole: frozenset[str]
    cut: frozenset[str]
    articles: frozenset[str]

    def __len__(self) -> int:
        return len(self.whole) + len(self.cut)


def key_of(user: str, time: int) -> str:
    """The name of an impression that does not depend on a copy's own numbers: 12 digits of the SHA-256 of user/time."""
    return hashlib.sha256(f"{user}/{time}".encode()).hexdigest()[:12]


def read(raw: dict[str, RawFile], selection: Selection | None) -> Tables:
    """The tables of MIND's two files, cut to the impressions of `selection`, and the items that these mention.

    Impressions are named by `key_of` there, by the file's own numbers where `selection` is None (all impressions).
    Impressions without history are left out: a model has nothing to go by.

    Raises
    ------
    DataError
        Where a file is damaged or foreign, or does not hold each of the selected impressions once.
    """
    behaviors, news = raw["behaviors"], raw["news"]
    rows = impressions(behaviors)
    if selection is not None:
        rows = _selected(rows, selection, behaviors)
    rows = [row for row in rows if row[3]]
    used = {item for row in rows for item in (*row[3], *row[4])}
    return Tables(
        table_of([item for item in items(news) if item[0] in used], ITEMS),
        impressions=table_of(rows, IMPRESSIONS),
    )


def impressions(file: RawFile) -> list[Row]:
    """The rows of behaviors.tsv: impression, user, time, history, and the candidates as `N1-1` (clicked) and `N2-0`."""
    rows = []
    lines = separated(decode(file.content, file.name), "\t", 5, file.name)
    for number, (impression, user, time, history, shown) in enumerate(lines, start=1):
        candidates = [candidate.rpartition("-") for candidate in shown.split()]
        if not candidates or any(not item or mark not in ("0", "1") for item, _, mark in candidates):
            raise DataError(
                "the candidates are not all of the form N1-0 or N1-1 (the test set of MIND has no clicks)",
                where=file.name,
                field=f"line {number}",
                remedy=_REMEDY,
            )
        listed, clicked = [item for item, _, _ in candidates], [mark == "1" for _, _, mark in candidates]
        rows.append((impression, user, _seconds(time, file, number), history.split(), listed, clicked))
    return rows


def _selected(rows: list[Row], selection: Selection, file: RawFile) -> list[Row]:
    found = []
    for _, user, time, history, shown, clicked in rows:
        key = key_of(user, time)
        if key in selection.cut:
            history = [item for item in history if item in selection.articles]
            clicked = [mark for item, mark in zip(shown, clicked, strict=True) if item in selection.articles]
            shown = [item for item in shown if item in selection.articles]
        elif key not in selection.whole:
            continue
        found.append((key, user, time, history, shown, clicked))
    distinct = len({row[0] for row in found})
    if distinct < len(selection) or len(found) > distinct:
        repeated = f", {len(found) - distinct} of them twice" if len(found) > distinct else ""
        raise DataError(
            f"holds {distinct} of the {len(selection)} impressions that the task is made of{repeated}",
            where=file.name,
            field="user, time",
            remedy="take behaviors.tsv of MINDsmall_train: the other releases of MIND hold other impressions",
        )
    return found


def items(file: RawFile) -> list[tuple[str, str, str]]:
    """id, headline and category of news.tsv.

    Copies of MIND that went through a spreadsheet or a CSV writer have lost or doubled quotation marks, so double
    ones are left out altogether; single ones are made straight.
    """
    lines = separated(decode(file.content, file.name), "\t", 8, file.name)
    return [(row[0], headline(row[3]), row[1]) for row in lines]


def headline(title: str) -> str:
    """A headline in the one spelling that every copy agrees on."""
    return straighten(straighten(title.translate(_INVISIBLE)).replace('"', ""))


def write(rows: list[Row], news: list[tuple[str, str, str]]) -> dict[str, bytes]:
    """The two files, in MIND's format, of impressions and items: what the simulator writes."""
    behaviors = [
        [
            impression,
            user,
            _stamp(time),
            " ".join(history),
            " ".join(f"{item}-{int(mark)}" for item, mark in zip(shown, clicked, strict=True)),
        ]
        for impression, user, time, history, shown, clicked in rows
    ]
    articles = [[item, category, "", title, "", "", "[]", "[]"] for item, title, category in news]
    return {BEHAVIORS: _tsv(behaviors), NEWS: _tsv(articles)}


def _tsv(rows: list[list[str]]) -> bytes:
    out = io.StringIO()
    csv.writer(out, delimiter="\t", quoting=csv.QUOTE_NONE, quotechar=None, lineterminator="\n").writerows(rows)
    return out.getvalue().encode()


def _seconds(text: str, file: RawFile, number: int) -> int:
    try:
        return int(datetime.strptime(text, "%m/%d/%Y %I:%M:%S %p").replace(tzinfo=UTC).timestamp())
    except ValueError as error:
        raise DataError(
            f"{text!r} is no time of the form 11/12/2019 2:14:46 PM",
            where=file.name,
            field=f"line {number}",
            remedy=_REMEDY,
        ) from error


def _stamp(time: int) -> str:
    moment = datetime.fromtimestamp(time, UTC)
    clock = f"{moment.hour % 12 or 12}:{moment.minute:02}:{moment.second:02} {'AM' if moment.hour < 12 else 'PM'}"
    return f"{moment.month}/{moment.day}/{moment.year} {clock}"

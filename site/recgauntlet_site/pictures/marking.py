"""Markers, labels and keys that the figures of points share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from recgauntlet.leaderboard.schema import Row
from recgauntlet_site.format import times
from recgauntlet_site.pictures.drawing import SMALL, Pen, Point, reach
from recgauntlet_site.pictures.labels import Box, Request, place
from recgauntlet_site.pictures.legend import Key, Sample
from recgauntlet_site.pictures.lettering import fitted, width
from recgauntlet_site.pictures.looks import Look, Looks, Series

FEW = 12
"""Rows up to which a figure names all of them."""
_LONGEST, _DEAREST = 150.0, 60.0
"""The room for a name, and for the cost behind it."""
_ALWAYS = 12
"""Rows of a front up to which all are named, however tight."""
_MOST = 40
"""Names in a figure: more would cover each other, and finding places for hundreds takes seconds."""
_TIGHT, _ROOMY = 450.0, 60.0
"""What a name may cover: a good part of other lines and markers, or next to nothing."""
_UNIT = {True: 42.0, False: 22.0}
"""The area of the undefended twin's marker, with few rows and with many."""


@dataclass(frozen=True)
class Spot:
    """A row's marker: its place and its area."""

    look: Look
    at: Point
    area: float


@dataclass(frozen=True)
class Name:
    """A row to be named beside its marker, with what follows the name in faint letters, and the cost (`labels`) from
    which it is better left out."""

    look: Look
    after: str = ""
    most: float = float("inf")


def names_of(shown: Sequence[Look], front: Sequence[Look], extremes: Sequence[Look]) -> list[Name]:
    """The names that a figure shows: of few rows all, each with its cost; of many those on the front, the undefended
    ones if there is any place for them, and extremes if there is a good one, `_MOST` at most."""
    if len(shown) <= FEW:
        ordered = {id(look): look for look in (*front, *shown)}.values()
        return [Name(look, fitted(times(look.row.cost.flops_ratio), SMALL, _DEAREST)) for look in ordered]
    plain = [look for look in shown if look.plain]
    wanted = [
        *(Name(look, most=float("inf") if place < _ALWAYS else _TIGHT) for place, look in enumerate(front)),
        *(Name(look, most=_TIGHT) for look in plain),
        *(Name(look, most=_ROOMY) for look in extremes),
    ]
    return list({id(name.look): name for name in reversed(wanted)}.values())[::-1][:_MOST]


def cost_of(row: Row) -> float:
    """Training cost in floating point operations, relative to the undefended twin's: 1 for the twin itself."""
    ratio = row.cost.flops_ratio
    return ratio if ratio is not None and 0 < ratio < float("inf") else 1.0


def area_of(cost: float, few: bool) -> float:
    """The area of a marker grows with the training cost, between half and ten times the twin's."""
    return _UNIT[few] * min(max(cost, 0.5), 10.0)


def draw_front(pen: Pen, edge: Sequence[Point], corner: Point) -> list[Box]:
    """The edge of a front, and a shade on all that it beats, down to the `corner`; gives the boxes that labels keep
    off."""
    pen.areas([[*edge, corner]], "faint", 0.08)
    pen.line(edge, "faint", 1.1)
    return [(min(a, c) - 2, min(b, d) - 2, max(a, c) + 2, max(b, d) + 2) for (a, b), (c, d) in pairwise(edge)]


def draw_spots(pen: Pen, spots: Sequence[Spot]) -> None:
    """The markers, large ones first, so that none is hidden by a larger one."""
    for spot in sorted(spots, key=lambda spot: -spot.area):
        look = spot.look
        pen.marker(*spot.at, look.series.shape, spot.area, look.series.colour, hollow=look.hollow)


def name_spots(pen: Pen, spots: Sequence[Spot], wanted: Sequence[Name], obstacles: Sequence[Box], frame: Box) -> None:
    """Write the names of the `wanted` rows, the most important ones first."""
    at = {id(spot.look): spot for spot in spots}
    markers = [(x - r, y - r, x + r, y + r) for spot in spots for (x, y), r in [(spot.at, reach(spot.area))]]
    texts = [(fitted(name.look.label, SMALL, _LONGEST), name.after) for name in wanted]
    requests = [
        Request(
            at=at[id(name.look)].at,
            reach=reach(at[id(name.look)].area),
            width=width(text, SMALL) + (4 + width(after, SMALL) if after else 0),
            height=SMALL + 1.5,
            most=name.most,
        )
        for name, (text, after) in zip(wanted, texts, strict=True)
    ]
    places = place(requests, markers, obstacles, frame)
    for found in places:
        if found is not None and found.leader is not None:
            pen.line(found.leader, "faint", 0.6)
    for found, (text, after), request in zip(places, texts, requests, strict=True):
        if found is None:
            continue
        left = found.x - {"start": 0.0, "middle": request.width / 2, "end": request.width}[found.anchor]
        if not after:
            pen.text(found.x, found.y, text, size=SMALL, anchor=found.anchor, halo=True)
        elif found.anchor == "end":
            pen.text(found.x, found.y, after, size=SMALL, anchor="end", colour="faint", halo=True)
            pen.text(found.x - 4 - width(after, SMALL), found.y, text, size=SMALL, anchor="end", halo=True)
        else:
            pen.text(left, found.y, text, size=SMALL, halo=True)
            pen.text(left + 4 + width(text, SMALL), found.y, after, size=SMALL, colour="faint", halo=True)


def series_keys(looks: Looks, shown: Sequence[Look]) -> list[Key]:
    """One sample a family that is shown; none where every defense has a label of its own."""
    if not looks.by_family:
        return []
    found: dict[int, Series] = {look.series.number: look.series for look in shown}
    return [Key(_sample(found[number]), 10, found[number].label) for number in sorted(found)]


def hollow_keys(shown: Sequence[Look]) -> list[Key]:
    """What a hollow marker means, where there is one."""
    hollow = Key(lambda pen, x, y: pen.marker(x + 5, y, "circle", 48, "faint", hollow=True), 10, "not ranked")
    return [hollow] if any(look.hollow for look in shown) else []


def _sample(series: Series) -> Sample:
    return lambda pen, x, y: pen.marker(x + 5, y, series.shape, 48, series.colour)

"""Clean against robust accuracy under one threat, a marker's area being the training cost, with the Pareto front."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from recgauntlet.core.card import RANKING_TIER
from recgauntlet.core.escape import visible
from recgauntlet.leaderboard.schema import Cell, TaskTable, ThreatColumn
from recgauntlet_site.format import percent, times
from recgauntlet_site.pictures.axes import Frame, draw_axes, frame, spread, x_title, y_title
from recgauntlet_site.pictures.drawing import SMALL, WIDTH, Drawing, Pen, Point
from recgauntlet_site.pictures.fronts import front, staircase
from recgauntlet_site.pictures.labels import Box
from recgauntlet_site.pictures.legend import Key, draw_keys
from recgauntlet_site.pictures.lettering import width
from recgauntlet_site.pictures.looks import Look, Looks, looks_of, most_defended, picture_name, twin_in
from recgauntlet_site.pictures.marking import (
    FEW,
    Spot,
    area_of,
    cost_of,
    draw_front,
    draw_spots,
    hollow_keys,
    name_spots,
    names_of,
    series_keys,
)
from recgauntlet_site.pictures.picture import Picture, nothing
from recgauntlet_site.pictures.telling import HEADER, identity, interval, listed, value_range

KIND = "clean-robust"
_LEFT, _TOP, _BOTTOM = 28.0, 26.0, 300.0
_LOST, _CONSTANT = "nothing lost", "a constant answer"
_SHORT = 40.0
"""A shorter piece of the line of no loss says nothing."""


@dataclass(frozen=True, eq=False)
class _Entry:
    look: Look
    cell: Cell

    @property
    def point(self) -> tuple[float, float]:
        """Clean and robust accuracy in per cent."""
        return 100 * self.look.row.clean.value, 100 * self.cell.robust.value


@dataclass(frozen=True)
class _Fronts:
    """Who is on the front of clean and robust accuracy, and who is on that of these and of training cost."""

    drawn: tuple[_Entry, ...]
    with_cost: tuple[_Entry, ...]


def clean_robust(table: TaskTable, column: ThreatColumn, *, prefix: str = "") -> Picture:
    """The rows of a table under one threat at the standard tier.

    Rows that compete make the front (`Look.competes`). Budgets on embeddings are relative to a model's own, so under
    such a threat rows of several models make none. With many rows, only those on the front, the undefended ones and
    some extremes are named.
    """
    looks = looks_of(table)
    entries = [
        _Entry(look, cell)
        for look in looks.all
        if (cells := look.row.under(column.id)) is not None and (cell := cells.at(RANKING_TIER)) is not None
    ]
    comparable = column.surface != "embedding" or len({entry.look.row.model.name for entry in entries}) < 2
    fronts = _fronts(entries) if comparable else _Fronts((), ())
    threat = visible(column.id)
    why = f"Nothing to show: no row has a value under {threat}."
    return Picture(
        name=picture_name(table, prefix, KIND, column.id),
        kind=KIND,
        threat=column.id,
        title=f"Clean and robust accuracy under {threat}",
        description=_describe(entries, fronts, column, looks, comparable) if entries else why,
        header=(*HEADER, "clean, %", "95 % interval", "robust, %", "95 % interval", "training FLOPs", "front"),
        rows=tuple(_told(entry, fronts, comparable) for entry in entries),
        drawing=_draw(entries, fronts, column, looks) if entries else nothing(why),
    )


def _fronts(entries: Sequence[_Entry]) -> _Fronts:
    """A row by itself is on no front."""
    if len(entries) < 2:
        return _Fronts((), ())
    able = [entry for entry in entries if entry.look.competes]
    drawn = front([entry.point for entry in able])
    with_cost = front([(*entry.point, -cost_of(entry.look.row)) for entry in able])
    return _Fronts(
        tuple(sorted((e for e, on in zip(able, drawn, strict=True) if on), key=lambda entry: -entry.point[1])),
        tuple(entry for entry, on in zip(able, with_cost, strict=True) if on),
    )


def _told(entry: _Entry, fronts: _Fronts, comparable: bool) -> tuple[str, ...]:
    row, on = entry.look.row, "yes" if entry in fronts.drawn else "with cost" if entry in fronts.with_cost else "no"
    return (
        *identity(entry.look),
        percent(row.clean.value),
        interval(row.clean),
        percent(entry.cell.robust.value),
        interval(entry.cell.robust),
        times(row.cost.flops_ratio),
        on if comparable else "–",
    )


def _describe(entries: Sequence[_Entry], fronts: _Fronts, column: ThreatColumn, looks: Looks, comparable: bool) -> str:
    clean = value_range([entry.look.row.clean.value for entry in entries])
    robust = value_range([entry.cell.robust.value for entry in entries])
    count = "One row" if len(entries) == 1 else f"{len(entries)} rows"
    place = f"under {visible(column.id)} at the {RANKING_TIER} tier"
    told = [f"{count} {place}: clean accuracy {clean}, robust accuracy {robust}."]
    if fronts.drawn:
        told.append(f"On the front of both: {listed([_values(entry) for entry in fronts.drawn])}.")
        more = [entry.look.told for entry in fronts.with_cost if entry not in fronts.drawn]
        told.append(
            f"With training cost as the third quantity, {listed(more)} {'is' if len(more) == 1 else 'are'} on it too."
            if more
            else "Training cost as a third quantity adds no row to it."
        )
        told += [looks.caution] if looks.caution else []
    if not comparable:
        told.append("No front is drawn: budgets on embeddings may not be compared across models.")
    hollow = sum(entry.look.hollow for entry in entries)
    if hollow:
        told.append(f"{'All' if hollow == len(entries) else hollow} of them unranked, drawn hollow.")
    return " ".join(told)


def _values(entry: _Entry) -> str:
    row = entry.look.row
    return (
        f"{entry.look.told} ({percent(row.clean.value)} % clean, {percent(entry.cell.robust.value)} % robust, "
        f"{times(row.cost.flops_ratio)})"
    )


def _draw(entries: Sequence[_Entry], fronts: _Fronts, column: ThreatColumn, looks: Looks) -> Drawing:
    pen, few = Pen(), len(entries) <= FEW
    area = _area(entries, few)
    y_title(pen, f"Robust accuracy under {column.id}, %", 11, WIDTH)
    draw_axes(pen, area, x_ticks=area.x.ticks(7), y_ticks=area.y.ticks(7))
    spots = [
        Spot(entry.look, (area.x.at(entry.point[0]), area.y.at(entry.point[1])), area_of(cost_of(entry.look.row), few))
        for entry in entries
    ]
    obstacles = _draw_front(pen, area, fronts)
    obstacles += _references(pen, area, [spot.at for spot in spots])
    obstacles += _intervals(pen, area, entries) if few else []
    draw_spots(pen, spots)
    shown = [entry.look for entry in entries]
    main = twin_in(shown, most_defended(shown))
    important = [entry.look for entry in fronts.drawn] + ([main] if main else [])
    names = names_of(shown, important, _extremes(entries))
    name_spots(pen, spots, names, obstacles, (area.left + 1, area.top - 4, WIDTH, area.bottom - 1))
    y = x_title(pen, area, "Clean accuracy, %")
    keys = series_keys(looks, shown)
    if keys:
        y = draw_keys(pen, keys, y + 22)
    y = draw_keys(pen, _keys(entries, fronts, few), y + (17 if keys else 22))
    for note in (looks.note, looks.caution if fronts.drawn else ""):
        y = pen.paragraph(y + 2, note) if note else y
    return pen.finished(y + 6)


def _area(entries: Sequence[_Entry], few: bool) -> Frame:
    """With few rows the whole intervals are inside, with many the points are."""
    clean = [entry.look.row.clean for entry in entries]
    robust = [entry.cell.robust for entry in entries]
    ends = [[100 * e for c in cells for e in ((c.low, c.high) if few else (c.value,))] for cells in (clean, robust)]
    x, y = (
        spread(found, least=least, pad=1.0 + 0.06 * (max(found) - min(found)), floor=0, ceiling=100)
        for found, least in zip(ends, (12.0, 20.0), strict=True)
    )
    return frame(_LEFT, _TOP, WIDTH - 6, _BOTTOM, _padded(x), _padded(y))


def _padded(ends: tuple[float, float]) -> tuple[float, float]:
    """Room for whole markers at 0 and at 100 %."""
    margin = 0.035 * (ends[1] - ends[0])
    return (ends[0] - margin if ends[0] <= 0 else ends[0], ends[1] + margin if ends[1] >= 100 else ends[1])


def _references(pen: Pen, area: Frame, points: Sequence[Point]) -> list[Box]:
    """Where nothing is lost, and what a constant answer has. Each is named where the fewest points are."""
    boxes: list[Box] = []
    low, high = max(area.x.low, area.y.low), min(area.x.high, area.y.high)
    start, end = ((area.x.at(value), area.y.at(value)) for value in (low, high))
    if high > low and end[0] - start[0] > _SHORT:
        pen.line([start, end], "faint", 0.8, (4, 3))
        wide = width(_LOST, SMALL)
        places = [(end[0] + 5, end[1] + 12), (end[0] - wide - 14, end[1] + 9), (start[0] + 5, start[1] - 12)]
        inside = [(x, y) for x, y in places if area.left <= x <= area.right - wide and area.top + 9 <= y <= area.bottom]
        boxes += _remark(pen, _LOST, inside, points)
    if area.y.low + 1 < 50 < area.y.high - 2:
        y = area.y.at(50)
        pen.line([(area.left, y), (area.right, y)], "faint", 0.8, (1.5, 2.5))
        right = area.right - width(_CONSTANT, SMALL)
        boxes += _remark(pen, _CONSTANT, [(x, y + by) for x in (right, area.left + 2) for by in (-4, 12)], points)
    return boxes


def _remark(pen: Pen, text: str, places: Sequence[Point], points: Sequence[Point]) -> list[Box]:
    """Write `text` at that one of the `places` (the left ends of base lines) that covers the fewest points."""
    boxes = [(x, y - SMALL, x + width(text, SMALL), y + 2) for x, y in places]
    covered = [
        sum(left - 5 < x < right + 5 and top - 5 < y < bottom + 5 for x, y in points)
        for left, top, right, bottom in boxes
    ]
    if not boxes:
        return []
    best = covered.index(min(covered))
    pen.text(*places[best], text, colour="faint", size=SMALL, halo=True)
    return [boxes[best]]


def _draw_front(pen: Pen, area: Frame, fronts: _Fronts) -> list[Box]:
    if not fronts.drawn:
        return []
    edge = staircase([entry.point for entry in fronts.drawn], area.x.low, area.y.low)
    return draw_front(pen, [(area.x.at(x), area.y.at(y)) for x, y in edge], (area.left, area.bottom))


def _intervals(pen: Pen, area: Frame, entries: Sequence[_Entry]) -> list[Box]:
    boxes: list[Box] = []
    for entry in entries:
        clean, robust, colour = entry.look.row.clean, entry.cell.robust, entry.look.series.colour
        x, y = area.x.at(entry.point[0]), area.y.at(entry.point[1])
        left, right = area.x.at(100 * clean.low), area.x.at(100 * clean.high)
        top, bottom = area.y.at(100 * robust.high), area.y.at(100 * robust.low)
        pen.lines([[(left, y), (right, y)], [(x, top), (x, bottom)]], colour, 0.8)
        boxes += [(left, y - 2, right, y + 2), (x - 2, top, x + 2, bottom)]
    return boxes


def _extremes(entries: Sequence[_Entry]) -> list[Look]:
    """The lowest and the dearest rows."""
    found = (
        min(entries, key=lambda entry: entry.point[1]),
        min(entries, key=lambda entry: entry.point[0]),
        max(entries, key=lambda entry: cost_of(entry.look.row)),
    )
    return [entry.look for entry in found]


def _keys(entries: Sequence[_Entry], fronts: _Fronts, few: bool) -> list[Key]:
    def sizes(pen: Pen, x: float, y: float) -> None:
        for ratio, place in ((1, 5), (2, 19), (5, 38)):
            pen.marker(x + place, y, "circle", area_of(ratio, few), "faint")

    def corner(pen: Pen, x: float, y: float) -> None:
        draw_front(pen, [(x, y - 4), (x + 10, y - 4), (x + 10, y + 5)], (x, y + 5))

    keys = [Key(sizes, 48, "1×, 2×, 5× the training FLOPs")]
    keys += [Key(corner, 12, "front")] if fronts.drawn else []
    return keys + hollow_keys([entry.look for entry in entries])

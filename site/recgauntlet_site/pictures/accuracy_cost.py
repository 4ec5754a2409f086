"""Robust accuracy under the worst ranked threat against training cost, each row joined to its clean accuracy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from recgauntlet.core.escape import visible
from recgauntlet.leaderboard.schema import Cell, TaskTable
from recgauntlet_site.format import percent, times
from recgauntlet_site.pictures.axes import Frame, draw_axes, frame, spread, x_title, y_title
from recgauntlet_site.pictures.drawing import WIDTH, Drawing, Pen, reach
from recgauntlet_site.pictures.fronts import front, staircase
from recgauntlet_site.pictures.labels import Box
from recgauntlet_site.pictures.legend import Key, draw_keys
from recgauntlet_site.pictures.looks import Look, Looks, looks_of, picture_name
from recgauntlet_site.pictures.marking import (
    FEW,
    Spot,
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

KIND = "accuracy-cost"
MOST_JOINED = 60
"""Rows up to which each is joined to its clean accuracy: more lines than these hide each other."""
_LEFT, _TOP, _BOTTOM = 28.0, 40.0, 296.0
_CHEAPEST, _DEAREST = 1e-3, 1e5
"""The ends of the longest axis; what lies beyond is drawn at its edge."""
_AREA = {True: 46.0, False: 32.0}
_STEP, _FARTHEST = 3.5, 10.5
"""How far rows of one cost and like accuracy are moved apart, at once and in all."""


@dataclass(frozen=True, eq=False)
class _Entry:
    look: Look
    cell: Cell
    cost: float


def accuracy_cost(table: TaskTable, *, prefix: str = "") -> Picture:
    """What a defense costs to train and what it buys, in floating point operations relative to the undefended twin.

    Models without a defended row are left out: their cost is 1 by definition. So are rows without a value under a
    ranked threat.
    """
    looks = looks_of(table)
    defended = {look.row.model.name for look in looks.all if not look.plain}
    entries = [
        _Entry(look, cell, cost_of(look.row))
        for look in looks.all
        if look.row.model.name in defended and (cell := look.row.worst_cell) is not None
    ]
    entries = entries if any(not entry.look.plain for entry in entries) else []
    best = _best(entries) if len(entries) > 1 else []
    why = "Nothing to show: no defended row has a value under a ranked threat."
    return Picture(
        name=picture_name(table, prefix, KIND),
        kind=KIND,
        threat="",
        title="Accuracy and what it costs to train",
        description=_describe(entries, best, looks) if entries else why,
        header=(*HEADER, "training FLOPs", "worst threat", "robust, %", "95 % interval", "clean, %", "95 % interval"),
        rows=tuple(_told(entry) for entry in entries),
        drawing=_draw(entries, best, looks) if entries else nothing(why),
    )


def _best(entries: Sequence[_Entry]) -> list[_Entry]:
    """The rows that no cheaper row keeps up with, the cheapest first."""
    able = [entry for entry in entries if entry.look.competes]
    on = front([(-entry.cost, entry.cell.robust.value) for entry in able])
    return sorted((entry for entry, yes in zip(able, on, strict=True) if yes), key=lambda entry: entry.cost)


def _told(entry: _Entry) -> tuple[str, ...]:
    row, robust = entry.look.row, entry.cell.robust
    accuracies = (percent(robust.value), interval(robust), percent(row.clean.value), interval(row.clean))
    return (*identity(entry.look), times(row.cost.flops_ratio), visible(row.worst or "–"), *accuracies)


def _describe(entries: Sequence[_Entry], best: Sequence[_Entry], looks: Looks) -> str:
    dearest = max(entries, key=lambda entry: entry.cost).look
    count = "One row" if len(entries) == 1 else f"{len(entries)} rows"
    robust = value_range([entry.cell.robust.value for entry in entries])
    told = [
        f"{count} by training FLOPs relative to the undefended twin: robust accuracy {robust}; the dearest is "
        f"{dearest.told} at {times(dearest.row.cost.flops_ratio)}."
    ]
    if best:
        told.append(f"The most robust up to a cost: {listed([_values(entry) for entry in best])}.")
        told += [looks.caution] if looks.caution else []
    return " ".join(told)


def _values(entry: _Entry) -> str:
    return f"{entry.look.told} ({percent(entry.cell.robust.value)} % at {times(entry.look.row.cost.flops_ratio)})"


def _draw(entries: Sequence[_Entry], best: Sequence[_Entry], looks: Looks) -> Drawing:
    pen, few = Pen(), len(entries) <= FEW
    size = _AREA[few]
    area = _area(entries)
    y_title(pen, "Robust accuracy under the worst ranked threat (marker)", 11, WIDTH)
    y_title(pen, "and clean accuracy (bar), %", 11 + 14, WIDTH)
    draw_axes(pen, area, x_ticks=area.x.ticks(8), y_ticks=area.y.ticks(7), suffix="×")
    pen.line([(area.x.at(1.0), area.top), (area.x.at(1.0), area.bottom)], "faint", 0.7, (1, 2.5))
    obstacles: list[Box] = []
    if best:
        edge = staircase([(-entry.cost, 100 * entry.cell.robust.value) for entry in best], -area.x.high, area.y.low)
        obstacles += draw_front(pen, [(area.x.at(-x), area.y.at(y)) for x, y in edge], (area.right, area.bottom))
    spots = _spots(entries, area, size)
    always = [entry.look for entry in best] + [entry.look for entry in entries if entry.look.plain]
    names = names_of([entry.look for entry in entries], always, _extremes(entries))
    joined = {id(name.look) for name in names} if len(entries) > MOST_JOINED else None
    for entry, spot in zip(entries, spots, strict=True):
        if joined is not None and id(entry.look) not in joined:
            continue
        (x, y), top, colour = spot.at, area.y.at(100 * entry.look.row.clean.value), entry.look.series.colour
        pen.line([(x, y), (x, top)], colour, 0.7)
        pen.line([(x - 3.2, top), (x + 3.2, top)], colour, 2.0)
        obstacles += [(x - 1.5, top, x + 1.5, y), (x - 3.5, top - 1.5, x + 3.5, top + 1.5)]
    draw_spots(pen, spots)
    name_spots(pen, spots, names, obstacles, (area.left, area.top - 4, WIDTH, area.bottom - 1))
    y = x_title(pen, area, "Training FLOPs, relative to the undefended twin")
    keys = series_keys(looks, [entry.look for entry in entries]) + _keys(entries, best)
    y = draw_keys(pen, keys, y + 22)
    some = "Clean accuracy is drawn for the rows that may be named." if joined is not None else ""
    for note in (looks.note, looks.caution if best else "", some):
        y = pen.paragraph(y + 2, note) if note else y
    return pen.finished(y + 6)


def _area(entries: Sequence[_Entry]) -> Frame:
    costs = [entry.cost for entry in entries]
    shares = [100 * share for entry in entries for share in (entry.cell.robust.value, entry.look.row.clean.value)]
    low, high = spread(shares, least=20.0, pad=4.0, floor=-4.0, ceiling=103.0)
    x = (max(_CHEAPEST, min(0.85, min(costs) / 1.15)), min(_DEAREST, max(2.2, max(costs) * 1.3)))
    return frame(_LEFT, _TOP, WIDTH - 6, _BOTTOM, x, (low, high), log=True)


def _spots(entries: Sequence[_Entry], area: Frame, size: float) -> list[Spot]:
    """Each row's marker; one that would cover another is moved aside a little."""
    done: list[Spot] = []
    near = 2 * reach(size) * 0.8
    steps = [0.0]
    while steps[-1] > -_FARTHEST:
        steps += [abs(steps[-1]) + _STEP, -abs(steps[-1]) - _STEP]
    for entry in entries:
        x, y = area.x.at(entry.cost), area.y.at(100 * entry.cell.robust.value)
        crowd = [spot.at for spot in done if abs(spot.at[0] - x) < near + _FARTHEST and abs(spot.at[1] - y) < near]
        free = min(steps, key=lambda step: (sum(abs(x + step - other[0]) < near for other in crowd), abs(step)))
        done.append(Spot(entry.look, (x + free, y), size))
    return done


def _extremes(entries: Sequence[_Entry]) -> list[Look]:
    """The dearest rows, the least and the most robust one."""
    found = (
        *sorted(entries, key=lambda entry: -entry.cost)[:4],
        min(entries, key=lambda entry: entry.cell.robust.value),
        max(entries, key=lambda entry: entry.cell.robust.value),
    )
    return [entry.look for entry in found]


def _keys(entries: Sequence[_Entry], best: Sequence[_Entry]) -> list[Key]:
    def pair(pen: Pen, x: float, y: float) -> None:
        pen.line([(x + 5, y + 5), (x + 5, y - 6)], "faint", 0.7)
        pen.line([(x + 1.8, y - 6), (x + 8.2, y - 6)], "faint", 2.0)
        pen.marker(x + 5, y + 3, "circle", 30, "faint")

    def corner(pen: Pen, x: float, y: float) -> None:
        draw_front(pen, [(x + 10, y - 4), (x, y - 4), (x, y + 5)], (x + 10, y + 5))

    keys = [Key(pair, 10, "robust, joined to clean")]
    keys += [Key(corner, 12, "best up to a cost")] if best else []
    return keys + hollow_keys([entry.look for entry in entries])

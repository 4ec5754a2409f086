"""How far apart the trainings of a row are: every seed's accuracy, clean and under the worst ranked threat."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from recgauntlet.core.escape import visible
from recgauntlet.leaderboard.schema import TaskTable
from recgauntlet.metrics.bootstrap import Estimate
from recgauntlet_site.format import joined, percent
from recgauntlet_site.pictures.axes import Frame, draw_axes, frame, spread
from recgauntlet_site.pictures.drawing import SMALL, WIDTH, Drawing, Pen, Shape
from recgauntlet_site.pictures.legend import Key, draw_keys
from recgauntlet_site.pictures.lettering import fitted, width
from recgauntlet_site.pictures.looks import Look, Looks, looks_of, picture_name
from recgauntlet_site.pictures.picture import Picture, nothing
from recgauntlet_site.pictures.telling import HEADER, identity, interval, naming

KIND = "seed-spread"
MOST_ROWS = 60
_NAMES = 136.0
"""The most room for names."""
_MARKER = 17.0
_HIGH = 20.0
_TOP = 40.0


@dataclass(frozen=True)
class _Quantity:
    """What one line of marks shows: its colour, its marker, and how far it is from the middle of its row."""

    label: str
    colour: str
    shape: Shape
    offset: float


_CLEAN = _Quantity("clean", "s0", "circle", -4.2)
_ROBUST = _Quantity("robust under the worst ranked threat", "s1", "diamond", 4.2)


@dataclass(frozen=True)
class _Entry:
    look: Look
    clean: Estimate
    clean_seeds: tuple[float, ...]
    robust: Estimate | None
    robust_seeds: tuple[float, ...]


def seed_spread(table: TaskTable, *, prefix: str = "") -> Picture:
    """Rows in the table's order, at most MOST_ROWS of them; the others are named below."""
    looks = looks_of(table)
    entries = [_entry(look) for look in looks.all]
    why = "Nothing to show: no row has finished."
    return Picture(
        name=picture_name(table, prefix, KIND),
        kind=KIND,
        threat="",
        title="The seeds of every row",
        description=_describe(entries) if entries else why,
        header=(
            *(*HEADER, "seeds", "clean by seed, %", "clean, %", "95 % interval"),
            *("worst threat", "robust by seed, %", "robust, %", "95 % interval"),
        ),
        rows=tuple(_told(entry) for entry in entries),
        drawing=_draw(entries, looks) if entries else nothing(why),
    )


def _entry(look: Look) -> _Entry:
    cell = look.row.worst_cell
    robust, seeds = (None, ()) if cell is None else (cell.robust, cell.by_seed)
    return _Entry(look, look.row.clean, look.row.clean_by_seed, robust, seeds)


def _told(entry: _Entry) -> tuple[str, ...]:
    row = entry.look.row
    robust = ("no result", "") if entry.robust is None else (percent(entry.robust.value), interval(entry.robust))
    return (
        *identity(entry.look),
        ", ".join(map(str, row.seeds)),
        ", ".join(map(percent, entry.clean_seeds)),
        percent(entry.clean.value),
        interval(entry.clean),
        visible(row.worst or "–"),
        ", ".join(map(percent, entry.robust_seeds)),
        *robust,
    )


def _describe(entries: Sequence[_Entry]) -> str:
    widest = []
    for what, seeds in (
        ("clean", [(entry.look.told, entry.clean_seeds) for entry in entries]),
        ("robust", [(entry.look.told, entry.robust_seeds) for entry in entries]),
    ):
        spans = [(max(values) - min(values), name) for name, values in seeds if len(values) > 1]
        if spans:
            span, name = max(spans)
            widest.append(f"{100 * span:.1f} points in {what} accuracy ({name})")
    count = "One row" if len(entries) == 1 else f"{len(entries)} rows"
    told = f"{count} with every seed’s clean accuracy and its accuracy under the worst ranked threat."
    single = sum(len(entry.look.row.seeds) < 2 for entry in entries)
    if widest:
        told += f" Trainings of one row differ by up to {joined(widest)}."
    if single:
        told += (
            f" {'One row has' if single == 1 else f'{single} rows have'} one seed only, which says nothing about this."
        )
    return told


def _draw(entries: Sequence[_Entry], looks: Looks) -> Drawing:
    pen, shown = Pen(), entries[:MOST_ROWS]
    bottom = _TOP + _HIGH * len(shown)
    draw_keys(pen, _keys(shown), 11)
    pen.paragraph(11, "A marker is a seed, the stroke their mean, the line its 95 % interval.")
    values = [
        100 * end
        for entry in shown
        for estimate in (entry.clean, entry.robust)
        if estimate is not None
        for end in (estimate.low, estimate.high)
    ]
    low, high = spread(values, least=10.0, pad=2.0, floor=-2.0, ceiling=102.0)
    names = min(_NAMES, max(width(entry.look.label, SMALL) for entry in shown))
    area = frame(names + 12, _TOP, WIDTH - 8, bottom, (low, high), (0.0, 1.0))
    _stripes(pen, area, len(shown))
    draw_axes(pen, area, x_ticks=area.x.ticks(8), y_ticks=())
    for number, entry in enumerate(shown):
        middle = _TOP + _HIGH * (number + 0.5)
        faint = entry.look.hollow
        pen.text(
            0, middle + 3.8, fitted(entry.look.label, SMALL, names), size=SMALL, colour="faint" if faint else "ink"
        )
        _marks(pen, area, middle, _CLEAN, entry.clean, entry.clean_seeds)
        if entry.robust is not None:
            _marks(pen, area, middle, _ROBUST, entry.robust, entry.robust_seeds)
    pen.text(area.right, bottom + 29, "Accuracy, %", size=SMALL + 0.5, bold=True, anchor="end")
    y = bottom + 30
    y = pen.paragraph(y + 2, looks.note) if looks.note else y
    rest = [entry.look for entry in entries[MOST_ROWS:]]
    y = pen.pieces(y + 2, naming("Rows not drawn:", rest)) if rest else y
    return pen.finished(y + 6)


def _stripes(pen: Pen, area: Frame, rows: int) -> None:
    pen.lines([[(x, area.top), (x, area.bottom)] for x in map(area.x.at, area.x.ticks(8))], "rule", 0.7)
    pen.lines([[(0, area.top + _HIGH * n), (area.right, area.top + _HIGH * n)] for n in range(rows)], "rule", 0.5)


def _marks(
    pen: Pen, area: Frame, middle: float, quantity: _Quantity, estimate: Estimate, seeds: Sequence[float]
) -> None:
    y = middle + quantity.offset
    left, value, right = (area.x.at(100 * share) for share in (estimate.low, estimate.value, estimate.high))
    pen.line([(left, y), (right, y)], quantity.colour, 1.0)
    for share in seeds:
        pen.marker(area.x.at(100 * share), y, quantity.shape, _MARKER, quantity.colour)
    pen.line([(value, y - 4), (value, y + 4)], quantity.colour, 1.4)


def _keys(entries: Sequence[_Entry]) -> list[Key]:
    def sample(quantity: _Quantity) -> Key:
        def draw(pen: Pen, x: float, y: float) -> None:
            pen.line([(x, y), (x + 26, y)], quantity.colour, 1.0)
            for place in (6, 16, 21):
                pen.marker(x + place, y, quantity.shape, _MARKER, quantity.colour)
            pen.line([(x + 12, y - 4), (x + 12, y + 4)], quantity.colour, 1.4)

        return Key(draw, 26, quantity.label)

    return [sample(_CLEAN)] + ([sample(_ROBUST)] if any(entry.robust is not None for entry in entries) else [])

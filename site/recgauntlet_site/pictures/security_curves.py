"""Accuracy as the budget of a threat grows from nothing to twice its high tier.

Few rows share one plot. Of many, each family has panels of its own with the same axes, and the undefended twin in grey
in each. The numbers are in the table beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from recgauntlet.core.escape import visible
from recgauntlet.leaderboard.schema import CurvePoint, Row, TaskTable, ThreatColumn
from recgauntlet_site.families import MODEL_FAMILIES, model_family
from recgauntlet_site.format import percent
from recgauntlet_site.pictures.axes import Frame, draw_axes, frame, x_title, y_title
from recgauntlet_site.pictures.drawing import LINE, SHAPES, SMALL, WIDTH, Drawing, Pen, Shape
from recgauntlet_site.pictures.legend import Key, draw_keys
from recgauntlet_site.pictures.lettering import fitted
from recgauntlet_site.pictures.looks import DASHES, Look, Looks, looks_of, most_defended, picture_name, twin_in
from recgauntlet_site.pictures.palette import PLAIN
from recgauntlet_site.pictures.picture import Picture, nothing
from recgauntlet_site.pictures.telling import HEADER, identity, interval, listed, naming, value_range

KIND = "security-curves"
MOST_LINES = 6
"""Lines of a plot or a panel, the twin in a panel not counted."""
MOST_PANELS = 12
MOST_BANDS = 3
"""Lines up to which a plot shows their intervals: more bands than these hide each other."""
_LEFT, _GUTTER = 28.0, 14.0
_PLOT_HEIGHT, _PANEL_HEIGHT = 230.0, 104.0


@dataclass(frozen=True)
class Budget:
    """One budget of a table's curves."""

    amount: float
    characters: int


@dataclass(frozen=True, eq=False)
class _Curve:
    look: Look
    points: tuple[CurvePoint, ...]


@dataclass(frozen=True)
class _Pencil:
    """How a line is drawn."""

    colour: str
    shape: Shape
    dash: tuple[float, ...]


@dataclass(frozen=True)
class _Panel:
    title: str
    twin: _Curve | None
    curves: tuple[_Curve, ...]


def budgets(table: TaskTable, column: ThreatColumn) -> tuple[Budget, ...]:
    """The budgets of the curves under a threat, rising; empty where no row has a curve."""
    found = {(point.amount, point.characters) for _, points in curves(table, column) for point in points}
    return tuple(Budget(*pair) for pair in sorted(found))


def curves(table: TaskTable, column: ThreatColumn) -> list[tuple[Row, tuple[CurvePoint, ...]]]:
    """The rows that have a curve under a threat, with it."""
    return [(row, cells.curve) for row in table.rows if (cells := row.under(column.id)) is not None and cells.curve]


def point_at(points: Sequence[CurvePoint], budget: Budget) -> CurvePoint | None:
    """The point of a curve at a budget, None where the curve has none there."""
    return next((p for p in points if (p.amount, p.characters) == (budget.amount, budget.characters)), None)


def axis(column: ThreatColumn, by_characters: bool = False) -> str:
    """What a threat's budget counts."""
    if column.surface == "embedding":
        return "radius, relative to the model’s own embeddings"
    if column.surface == "history":
        return "items of the history changed"
    return "characters changed" if by_characters else "words changed"


def security_curves(table: TaskTable, column: ThreatColumn, *, prefix: str = "") -> Picture:
    """The curves of a table's rows under one threat."""
    looks = looks_of(table)
    found = [
        _Curve(look, cells.curve)
        for look in looks.all
        if (cells := look.row.under(column.id)) is not None and cells.curve
    ]
    threat = visible(column.id)
    why = f"Nothing to show: no row has a security curve under {threat}."
    steps = budgets(table, column)
    return Picture(
        name=picture_name(table, prefix, KIND, column.id),
        kind=KIND,
        threat=column.id,
        title=f"Security curves under {threat}",
        description=_describe(found, column) if found else why,
        header=(*HEADER, *(_budget_name(step, column) for step in steps)) if found else HEADER,
        rows=tuple((*identity(curve.look), *_cells(curve, steps)) for curve in found),
        drawing=_draw(found, looks, column) if found else nothing(why),
    )


def _budget_name(step: Budget, column: ThreatColumn) -> str:
    if column.surface == "candidate-text" and step.characters:
        return (
            f"{step.amount:g} words or {step.characters} characters, %"
            if step.amount
            else f"{step.characters} characters, %"
        )
    unit = {"embedding": "", "history": " items", "candidate-text": " words"}[column.surface]
    return f"{step.amount:g}{unit}, %"


def _cells(curve: _Curve, steps: Sequence[Budget]) -> list[str]:
    points = [point_at(curve.points, step) for step in steps]
    return ["–" if p is None else f"{percent(p.accuracy.value)} ({interval(p.accuracy)})" for p in points]


def _describe(found: Sequence[_Curve], column: ThreatColumn) -> str:
    by_characters = _by_characters(found)
    unit = axis(column, by_characters)
    starts = value_range([curve.points[0].accuracy.value for curve in found])
    count = "one row" if len(found) == 1 else f"{len(found)} rows"
    first, ends = found[0].points[0], value_range([curve.points[-1].accuracy.value for curve in found])
    told = [
        f"Accuracy against the budget ({unit}), {count} under {visible(column.id)}: from {starts} at "
        f"{_amount(first, by_characters):g} to {ends} at the largest budget."
    ]
    tier = next((budget for budget in column.budgets if budget.tier == "standard"), None)
    at = [
        (point.accuracy.value, curve.look.told)
        for curve in found
        for point in curve.points
        if tier is not None and (point.amount, point.characters) == (tier.amount, tier.characters)
    ]
    if len(at) > 1:
        (low, lowest), (high, highest) = min(at), max(at)
        told.append(
            f"At the standard tier {highest} keeps most, {percent(high)} %, and {lowest} least, {percent(low)} %."
        )
    flat = [curve.look.told for curve in found if len(curve.points) > 1 and not _falls(curve)]
    if flat:
        told.append(
            f"{listed(flat)} {'does' if len(flat) == 1 else 'do'} not come down: ask whether the attack failed."
        )
    return " ".join(told)


def _falls(curve: _Curve) -> bool:
    first, last = curve.points[0].accuracy.value, curve.points[-1].accuracy.value
    return last < first or first == 0


def _by_characters(found: Sequence[_Curve]) -> bool:
    return not any(point.amount for curve in found for point in curve.points)


def _amount(point: CurvePoint, by_characters: bool) -> float:
    return point.characters if by_characters else point.amount


def _draw(found: Sequence[_Curve], looks: Looks, column: ThreatColumn) -> Drawing:
    by_characters = _by_characters(found)
    ends = (0.0, max((_amount(p, by_characters) for curve in found for p in curve.points), default=0.0) or 1.0)
    pen = Pen()
    y_title(pen, f"Accuracy under {column.id}, %", 11, WIDTH)
    if len(found) <= MOST_LINES:
        return _one_plot(pen, found, looks, column, ends, by_characters)
    return _panels(pen, found, looks, column, ends, by_characters)


def _one_plot(
    pen: Pen,
    found: Sequence[_Curve],
    looks: Looks,
    column: ThreatColumn,
    ends: tuple[float, float],
    by_characters: bool,
) -> Drawing:
    top = 44.0
    area = frame(_LEFT, top, WIDTH - 8, top + _PLOT_HEIGHT, ends, (0.0, 100.0))
    draw_axes(pen, area, x_ticks=area.x.ticks(9, whole=column.surface != "embedding"), y_ticks=(0, 25, 50, 75, 100))
    _tiers(pen, area, column, by_characters, named=True)
    pencils = _pencils(found)
    amount = _amounts(by_characters)
    for curve, pencil in zip(found, pencils, strict=True):
        if len(found) <= MOST_BANDS:
            _band(pen, area, curve, pencil, amount)
    for curve, pencil in zip(found, pencils, strict=True):
        _line(pen, area, curve, pencil, amount, 26.0)
    y = x_title(pen, area, _sentence(axis(column, by_characters)))
    y = draw_keys(pen, [_key(curve, pencil) for curve, pencil in zip(found, pencils, strict=True)], y + 20)
    y = pen.paragraph(y + 2, looks.note) if looks.note else y
    return pen.finished(y + 6)


def _panels(
    pen: Pen,
    found: Sequence[_Curve],
    looks: Looks,
    column: ThreatColumn,
    ends: tuple[float, float],
    by_characters: bool,
) -> Drawing:
    panels = _grouped(found, looks)
    shown, left_out = panels[:MOST_PANELS], panels[MOST_PANELS:]
    wide = (WIDTH - _LEFT - _GUTTER - 8) / 2
    amount = _amounts(by_characters)
    y, place = 16.0, 0
    while place < len(shown):
        pair = shown[place : place + 2]
        lowest = y
        for number, panel in enumerate(pair):
            left = _LEFT + number * (wide + _GUTTER)
            area = frame(left, y + 32, left + wide, y + 32 + _PANEL_HEIGHT, ends, (0.0, 100.0))
            pen.text(left, y + 20, fitted(panel.title, SMALL, wide, bold=True), size=SMALL, bold=True)
            draw_axes(
                pen,
                area,
                x_ticks=area.x.ticks(5, whole=column.surface != "embedding"),
                y_ticks=(0, 50, 100),
                y_labels=number == 0,
            )
            _tiers(pen, area, column, by_characters, named=False)
            if panel.twin is not None:
                _line(pen, area, panel.twin, _GREY, amount, 0.0)
            pencils = [_numbered(1 + k) for k in range(len(panel.curves))]
            for curve, pencil in zip(panel.curves, pencils, strict=True):
                _line(pen, area, curve, pencil, amount, 17.0)
            below = area.bottom + 17
            for curve, pencil in zip(panel.curves, pencils, strict=True):
                below = draw_keys(pen, [_key(curve, pencil)], below + LINE - 1, left=left, right=left + wide)
            lowest = max(lowest, below)
        y, place = lowest + 8, place + 2
    y += 12
    pen.text(WIDTH - 8, y, f"Across: {axis(column, by_characters)}", size=SMALL, bold=True, anchor="end")
    for note in (_grey_note(shown), looks.note):
        y = pen.paragraph(y + 2, note) if note else y
    rest = [curve.look for panel in left_out for curve in panel.curves]
    y = pen.pieces(y + 2, naming("Rows not drawn:", rest)) if rest else y
    return pen.finished(y + 6)


def _grouped(found: Sequence[_Curve], looks: Looks) -> list[_Panel]:
    """Panels of at most MOST_LINES: undefended models by their families, then defenses by theirs. Each shows the twin
    of its rows; among undefended models that is the most defended one."""
    by_look = {id(curve.look): curve for curve in found}
    main = most_defended(looks.all)
    groups: dict[str, list[_Curve]] = {}
    undefended = [curve for curve in found if curve.look.plain]
    for curve in sorted(undefended, key=lambda curve: MODEL_FAMILIES.index(model_family(curve.look.row.model))):
        groups.setdefault(f"{model_family(curve.look.row.model)} models", []).append(curve)
    defended = [curve for curve in found if not curve.look.plain]
    for curve in sorted(defended, key=lambda curve: curve.look.series.number):
        group = curve.look.series.label if looks.by_family else f"defenses on {visible(curve.look.row.model.name)}"
        groups.setdefault(group, []).append(curve)
    panels = []
    for title, members in groups.items():
        model = most_defended([curve.look for curve in members]) or main
        look = twin_in(looks.all, model)
        twin = by_look.get(id(look)) if look is not None else None
        others = [curve for curve in members if curve is not twin]
        parts = -(-len(others) // MOST_LINES)
        size = -(-len(others) // max(parts, 1))
        for part in range(parts):
            name = f"{title} ({part + 1} of {parts})" if parts > 1 else title
            panels.append(_Panel(name, twin, tuple(others[part * size : (part + 1) * size])))
    return panels


def _grey_note(panels: Sequence[_Panel]) -> str:
    twins = list({id(panel.twin): panel.twin.look.label for panel in panels if panel.twin is not None}.values())
    return f"Grey: {listed(twins)}, undefended. Dotted: the low, standard and high budget." if twins else ""


def _amounts(by_characters: bool) -> Callable[[CurvePoint], float]:
    return lambda point: _amount(point, by_characters)


def _numbered(number: int) -> _Pencil:
    return _Pencil(f"s{number}", SHAPES[number], DASHES[number])


_GREY = _numbered(PLAIN)


def _pencils(found: Sequence[_Curve]) -> list[_Pencil]:
    """The series of each row where these are as many as the rows, else one after the other."""
    numbers = [curve.look.series.number for curve in found]
    return [_numbered(n) for n in (numbers if len(set(numbers)) == len(numbers) else range(len(found)))]


def _line(
    pen: Pen, area: Frame, curve: _Curve, pencil: _Pencil, amount: Callable[[CurvePoint], float], marker: float
) -> None:
    points = [(area.x.at(amount(p)), area.y.at(100 * p.accuracy.value)) for p in curve.points]
    pen.line(points, pencil.colour, 1.5, pencil.dash)
    for x, y in points if marker else ():
        pen.marker(x, y, pencil.shape, marker, pencil.colour)


def _band(pen: Pen, area: Frame, curve: _Curve, pencil: _Pencil, amount: Callable[[CurvePoint], float]) -> None:
    upper = [(area.x.at(amount(p)), area.y.at(100 * p.accuracy.high)) for p in curve.points]
    lower = [(area.x.at(amount(p)), area.y.at(100 * p.accuracy.low)) for p in curve.points]
    pen.areas([[*upper, *reversed(lower)]], pencil.colour, 0.12)


def _key(curve: _Curve, pencil: _Pencil) -> Key:
    def draw(pen: Pen, x: float, y: float) -> None:
        pen.line([(x, y), (x + 24, y)], pencil.colour, 1.5, pencil.dash)
        pen.marker(x + 12, y, pencil.shape, 26, pencil.colour)

    return Key(draw, 24, curve.look.label)


def _tiers(pen: Pen, area: Frame, column: ThreatColumn, by_characters: bool, *, named: bool) -> None:
    for tier in column.budgets:
        value = tier.characters if by_characters else tier.amount
        if not area.x.low <= value <= area.x.high:
            continue
        x = area.x.at(value)
        pen.line([(x, area.top), (x, area.bottom)], "faint", 0.7, (1, 2.5))
        if named and tier.tier == "standard":
            pen.text(x, area.top - 5, "standard", colour="faint", size=SMALL, anchor="middle")


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]

"""What a figure is made of before anybody renders it: lines, circles and letters whose colours are names.

Lengths are in units of which WIDTH make a figure's width, y runs downwards. A page shows a figure about as wide as a
column of text on a large screen (a unit is then a little more than a pixel) and as wide as the screen of a phone (then
a little less), so letters are never smaller than SMALL.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from recgauntlet_site.pictures.lettering import wrapped

WIDTH = 400.0
BODY = 11.5
SMALL = 10.5
LINE = 15.0
"""From one line of letters to the next."""

Point: TypeAlias = tuple[float, float]
Anchor: TypeAlias = Literal["start", "middle", "end"]
Shape: TypeAlias = Literal["circle", "triangle", "square", "diamond", "wedge", "cross", "star"]
SHAPES: tuple[Shape, ...] = ("circle", "triangle", "square", "diamond", "wedge", "cross", "star")


@dataclass(frozen=True, slots=True)
class Style:
    """Classes of colour ("" is none), the width of the line, how opaque the fill is, and lengths of dashes and gaps."""

    fill: str = ""
    stroke: str = ""
    width: float = 1.0
    opacity: float = 1.0
    dash: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Path:
    """Straight lines through the points of each part."""

    parts: tuple[tuple[Point, ...], ...]
    closed: bool
    style: Style


@dataclass(frozen=True, slots=True)
class Circle:
    """A circle around a point."""

    x: float
    y: float
    radius: float
    style: Style


@dataclass(frozen=True, slots=True)
class Text:
    """One line of letters; `y` is that of the base line. With a `halo`, what lies beneath is kept off the letters."""

    x: float
    y: float
    text: str
    colour: str = "ink"
    size: float = BODY
    anchor: Anchor = "start"
    bold: bool = False
    halo: bool = False


Mark: TypeAlias = Path | Circle | Text


@dataclass(frozen=True)
class Drawing:
    """Marks in the order in which they are drawn, and the size of the sheet."""

    height: float
    marks: tuple[Mark, ...]
    width: float = WIDTH


class Pen:
    """Collects the marks of a drawing."""

    def __init__(self) -> None:
        self._marks: list[Mark] = []

    def finished(self, height: float, width: float = WIDTH) -> Drawing:
        """The drawing."""
        return Drawing(height, tuple(self._marks), width)

    def line(self, points: Sequence[Point], colour: str, thickness: float = 1.0, dash: tuple[float, ...] = ()) -> None:
        """A line through `points`."""
        self._marks.append(Path((tuple(points),), False, Style(stroke=colour, width=thickness, dash=dash)))

    def lines(self, parts: Sequence[Sequence[Point]], colour: str, thickness: float = 1.0) -> None:
        """Several lines of one look."""
        if parts:
            self._marks.append(Path(tuple(map(tuple, parts)), False, Style(stroke=colour, width=thickness)))

    def areas(self, parts: Sequence[Sequence[Point]], colour: str, opacity: float = 1.0) -> None:
        """Several closed areas of one look."""
        if parts:
            self._marks.append(Path(tuple(map(tuple, parts)), True, Style(fill=colour, opacity=opacity)))

    def text(
        self,
        x: float,
        y: float,
        text: str,
        *,
        colour: str = "ink",
        size: float = BODY,
        anchor: Anchor = "start",
        bold: bool = False,
        halo: bool = False,
    ) -> None:
        """One line of letters."""
        self._marks.append(Text(x, y, text, colour, size, anchor, bold, halo))

    def paragraph(self, y: float, text: str) -> float:
        """A sentence in small faint letters, from below `y`; gives the y of its last line."""
        return self.pieces(y, text.split(" "), 5)

    def pieces(self, y: float, pieces: Sequence[str], most: int = 10) -> float:
        """Like a paragraph, of pieces that stay whole, in at most so many lines."""
        for line in wrapped(pieces, SMALL, WIDTH, most):
            y += LINE - 1
            self.text(0, y, line, colour="faint", size=SMALL)
        return y

    def marker(self, x: float, y: float, shape: Shape, area: float, colour: str, *, hollow: bool = False) -> None:
        """A marker of the `area` around a point; a hollow one has the same outline."""
        style = Style("paper", colour, 1.5) if hollow else Style(colour, "paper", 0.9)
        if shape == "circle":
            self._marks.append(Circle(x, y, math.sqrt(area / math.pi), style))
        else:
            scale = math.sqrt(area)
            self._marks.append(Path((tuple((x + scale * a, y + scale * b) for a, b in _OUTLINES[shape]),), True, style))


def reach(area: float) -> float:
    """How far a marker of the `area` goes from its middle, at most."""
    return 0.9 * math.sqrt(area)


def box(left: float, top: float, right: float, bottom: float) -> tuple[Point, ...]:
    """The corners of a rectangle."""
    return ((left, top), (right, top), (right, bottom), (left, bottom))


def _of_area_one(points: Sequence[Point]) -> tuple[Point, ...]:
    turns = zip(points, [*points[1:], points[0]], strict=True)
    area = abs(sum(a * d - c * b for (a, b), (c, d) in turns)) / 2
    return tuple((a / math.sqrt(area), b / math.sqrt(area)) for a, b in points)


def _star(points: int, inner: float) -> list[Point]:
    radii = (1.0, inner) * points
    return [(r * math.sin(math.pi * k / points), -r * math.cos(math.pi * k / points)) for k, r in enumerate(radii)]


_BAR = 0.36
_OUTLINES: dict[Shape, tuple[Point, ...]] = {
    "triangle": _of_area_one([(0.0, -1.1), (1.0, 0.65), (-1.0, 0.65)]),
    "wedge": _of_area_one([(0.0, 1.1), (1.0, -0.65), (-1.0, -0.65)]),
    "square": _of_area_one([(-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0)]),
    "diamond": _of_area_one([(0.0, -1.2), (1.0, 0.0), (0.0, 1.2), (-1.0, 0.0)]),
    "cross": _of_area_one(
        [
            (-_BAR, -1.0), (_BAR, -1.0), (_BAR, -_BAR), (1.0, -_BAR), (1.0, _BAR), (_BAR, _BAR),
            (_BAR, 1.0), (-_BAR, 1.0), (-_BAR, _BAR), (-1.0, _BAR), (-1.0, -_BAR), (-_BAR, -_BAR),
        ]
    ),
    "star": _of_area_one(_star(5, 0.5)),
}  # fmt: skip

"""A drawing as PDF, for papers: the same marks by ReportLab, which embeds the letters that are used as TrueType.

ReportLab takes a tenth of a second to import, so it is imported only here and only when a PDF is asked for.
"""

from __future__ import annotations

import io
import unicodedata
from collections.abc import Sequence
from functools import cache
from importlib.resources import as_file, files
from typing import TYPE_CHECKING, Literal

from recgauntlet_site.pictures.drawing import Circle, Drawing, Path, Point, Text
from recgauntlet_site.pictures.lettering import left_to_right
from recgauntlet_site.pictures.palette import ON_PAPER

if TYPE_CHECKING:
    from reportlab.lib.colors import Color
    from reportlab.pdfbase.ttfonts import TTFont
    from reportlab.pdfgen.canvas import Canvas

_MARGIN = 6.0
_HALO = 2.5
_ROUND = 1
"""How lines are joined."""
_OUTLINED: Literal[1] = 1
"""How letters are drawn: their edges alone."""
_ROUNDED = 0.5523
"""How far the handles of a curve are, by its radius, where it is to be a quarter of a circle."""
_PAINTED = {(True, True): "B*", (True, False): "f*", (False, True): "S", (False, False): "n"}
"""The operators that fill a path and draw its line."""
_BOX = "\u25a1"
"""Stands for a character that the font lacks."""


def pdf(drawing: Drawing, title: str) -> bytes:
    """A page of the drawing's size, a unit being a point (1/72 inch), with a small margin. The same drawing gives the
    same bytes."""
    from reportlab import rl_config
    from reportlab.pdfgen.canvas import Canvas

    rl_config.useA85 = 0  # bytes as they are squeezed, not spelled out as ASCII
    out = io.BytesIO()
    size = drawing.width + 2 * _MARGIN, drawing.height + 2 * _MARGIN
    page = Canvas(out, size, invariant=1, pageCompression=1, lang="en")
    page.setTitle(title)
    page.setAuthor("RecGauntlet")
    page.setCreator("RecGauntlet")
    page.setSubject("")
    page.setLineJoin(_ROUND)
    page.transform(1, 0, 0, -1, _MARGIN, drawing.height + _MARGIN)  # y runs downwards
    for mark in drawing.marks:
        if isinstance(mark, Text):
            _letters(page, mark)
        else:
            _shape(page, mark)
    page.showPage()
    page.save()
    return out.getvalue()


def _shape(page: Canvas, mark: Path | Circle) -> None:
    style = mark.style
    if style.fill:
        page.setFillColor(_ink(style.fill))
        page.setFillAlpha(style.opacity)
    if style.stroke:
        page.setStrokeColor(_ink(style.stroke))
        page.setLineWidth(style.width)
        page.setDash([style.width * length for length in style.dash])
    page.addLiteral(f"{_outline(mark)} {_PAINTED[bool(style.fill), bool(style.stroke)]}")


def _outline(mark: Path | Circle) -> str:
    """A path in PDF's operators: ReportLab takes as long to write its numbers as for all the rest of a figure."""
    if isinstance(mark, Path):
        return " ".join(_through(points, closed=mark.closed) for points in mark.parts)
    x, y, r, c = mark.x, mark.y, mark.radius, _ROUNDED * mark.radius
    return (
        f"{x + r:.2f} {y:.2f} m "
        f"{x + r:.2f} {y + c:.2f} {x + c:.2f} {y + r:.2f} {x:.2f} {y + r:.2f} c "
        f"{x - c:.2f} {y + r:.2f} {x - r:.2f} {y + c:.2f} {x - r:.2f} {y:.2f} c "
        f"{x - r:.2f} {y - c:.2f} {x - c:.2f} {y - r:.2f} {x:.2f} {y - r:.2f} c "
        f"{x + c:.2f} {y - r:.2f} {x + r:.2f} {y - c:.2f} {x + r:.2f} {y:.2f} c h"
    )


def _through(points: Sequence[Point], *, closed: bool) -> str:
    first, *others = (f"{x:.2f} {y:.2f}" for x, y in points)
    return " ".join([f"{first} m", *(f"{one} l" for one in others), *(["h"] if closed else [])])


def _letters(page: Canvas, mark: Text) -> None:
    font = font_of(bold=mark.bold)
    text = mark.text if mark.text.isascii() else _known(left_to_right(mark.text), font)
    shift = {"start": 0.0, "middle": 0.5, "end": 1.0}[mark.anchor]
    left = mark.x - (shift * font.stringWidth(text, mark.size) if shift else 0.0)
    if mark.halo:
        page.addLiteral("/Artifact BMC")  # whoever copies the text finds it once
        page.saveState()
        page.setStrokeColor(_ink("paper"))
        page.setLineWidth(_HALO)
        page.setDash([])
        _line(page, mark, font, left, text, outlined=True)
        page.restoreState()
        page.addLiteral("EMC")
    page.setFillColor(_ink(mark.colour))
    page.setFillAlpha(1.0)
    _line(page, mark, font, left, text)


def _line(page: Canvas, mark: Text, font: TTFont, left: float, text: str, *, outlined: bool = False) -> None:
    letters = page.beginText()
    letters.setFont(font.fontName, mark.size)
    letters.setTextTransform(1, 0, 0, -1, left, mark.y)
    if outlined:
        letters.setTextRenderMode(_OUTLINED)
    letters.textOut(text)
    page.drawText(letters)


def _known(text: str, font: TTFont) -> str:
    """`text` as the font can show it: a box for each character that it lacks, and no marks of direction."""
    known = font.face.charToGlyph
    return "".join(c if ord(c) in known else _BOX for c in text if unicodedata.category(c) != "Cf")


@cache
def _ink(name: str) -> Color:
    from reportlab.lib.colors import HexColor

    return HexColor(ON_PAPER[name])


@cache
def font_of(*, bold: bool) -> TTFont:
    """DejaVu Sans, which has the letters of more languages than any other free font of its size."""
    from reportlab.pdfbase.pdfmetrics import registerFont
    from reportlab.pdfbase.ttfonts import TTFont

    name = f"DejaVuSans{'-Bold' if bold else ''}"
    with as_file(files("recgauntlet_site") / "vendor" / f"{name}.ttf") as file:
        font = TTFont(name, str(file))
    registerFont(font)
    return font

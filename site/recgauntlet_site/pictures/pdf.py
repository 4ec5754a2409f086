"""A drawing as PDF, for papers: the same marks through matplotlib, which embeds the letters as TrueType.

matplotlib takes a tenth of a second and more, so it is imported only here and only when a PDF is asked for.
"""

from __future__ import annotations

import io
import unicodedata
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from recgauntlet_site.pictures.drawing import Circle, Drawing, Path, Text
from recgauntlet_site.pictures.lettering import runs_left
from recgauntlet_site.pictures.palette import ON_PAPER

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from matplotlib.font_manager import FontProperties
    from matplotlib.transforms import Transform

_SETTINGS: Any = {"pdf.fonttype": 42, "text.parse_math": False, "path.simplify": False}
_MARGIN = 6.0
_NOTHING: dict[str, None] = {"CreationDate": None, "Producer": None, "Creator": None}
"""What would make two builds of one figure differ."""


def pdf(drawing: Drawing) -> bytes:
    """A page of the drawing's size, a unit being a point (1/72 inch), with a small margin."""
    import matplotlib
    from matplotlib.figure import Figure
    from matplotlib.transforms import Affine2D

    width, height = drawing.width + 2 * _MARGIN, drawing.height + 2 * _MARGIN
    with matplotlib.rc_context(_SETTINGS):
        figure = Figure(figsize=(width / 72, height / 72))
        place = Affine2D().scale(1, -1).translate(_MARGIN, height - _MARGIN).scale(1 / width, 1 / height)
        for order, mark in enumerate(drawing.marks):
            if isinstance(mark, Text):
                _letters(figure, mark, place + figure.transFigure, order)
            else:
                _shape(figure, mark, place + figure.transFigure, order)
        out = io.BytesIO()
        figure.savefig(out, format="pdf", metadata=_NOTHING)
    return out.getvalue()


def _shape(figure: Figure, mark: Path | Circle, place: Transform, order: int) -> None:
    from matplotlib.colors import to_rgba
    from matplotlib.patches import Circle as CirclePatch
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path as Outline

    style = mark.style
    look: dict[str, Any] = {
        "facecolor": to_rgba(ON_PAPER[style.fill], style.opacity) if style.fill else "none",
        "edgecolor": ON_PAPER[style.stroke] if style.stroke else "none",
        "linewidth": style.width if style.stroke else 0,
        "linestyle": (0, style.dash) if style.dash else "-",
        "capstyle": "butt",
        "joinstyle": "round",
        "transform": place,
        "zorder": order,
    }
    if isinstance(mark, Circle):
        figure.add_artist(CirclePatch((mark.x, mark.y), mark.radius, **look))
        return
    points: list[tuple[float, float]] = []
    codes: list[Any] = []
    for part in mark.parts:
        points += [*part, part[0]] if mark.closed else part
        codes += [Outline.MOVETO, *[Outline.LINETO] * (len(part) - 1), *([Outline.CLOSEPOLY] if mark.closed else [])]
    figure.add_artist(PathPatch(Outline(points, codes), **look))


def _letters(figure: Figure, mark: Text, place: Transform, order: int) -> None:
    from matplotlib.patheffects import Stroke

    font, known = _font(mark.bold)
    text = mark.text if mark.text.isascii() else _known(mark.text, known)
    look: dict[str, Any] = {
        "fontproperties": font,
        "fontsize": mark.size,
        "ha": {"start": "left", "middle": "center", "end": "right"}[mark.anchor],
        "va": "baseline",
        "transform": place,
        "zorder": order,
    }
    if mark.halo:  # beneath the letters, so that these stay text
        effects = [Stroke(linewidth=2.5, foreground=ON_PAPER["paper"])]
        figure.text(mark.x, mark.y, text, path_effects=effects, **look)
    figure.text(mark.x, mark.y, text, color=ON_PAPER[mark.colour], **look)


def _known(text: str, known: frozenset[int]) -> str:
    """`text` for a font that has these characters: a box for each that it lacks. It begins on the left also where
    letters run to the left (which matplotlib sets from version 3.11 on)."""
    shown = (c if ord(c) in known else "" if unicodedata.category(c) == "Cf" else "\u25a1" for c in text)
    return ("\u200e" if runs_left(text) else "") + "".join(shown)


@lru_cache(maxsize=2)
def _font(bold: bool) -> tuple[FontProperties, frozenset[int]]:
    """matplotlib's own copy of DejaVu Sans, which is the same on every machine, and the characters it has."""
    from pathlib import Path as File

    import matplotlib
    from matplotlib.font_manager import FontProperties, get_font

    file = File(matplotlib.get_data_path()) / "fonts" / "ttf" / f"DejaVuSans{'-Bold' if bold else ''}.ttf"
    return FontProperties(fname=str(file)), frozenset(get_font(str(file)).get_charmap())

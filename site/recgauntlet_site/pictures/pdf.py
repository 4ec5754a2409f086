"""A drawing as PDF, for papers: the same marks through matplotlib, which embeds the letters as TrueType.

matplotlib takes a tenth of a second and more, so it is imported only here and only when a PDF is asked for.
"""

from __future__ import annotations

import atexit
import io
import shutil
import tempfile
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path as File
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
_COMMON = frozenset([*range(0x20, 0x7F), *range(0xA0, 0x180), *range(0x370, 0x400), *map(ord, "–—‘’“”…−≤≥≈□")])
"""The characters of the small copies of the font: Latin, Greek, and signs."""
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
        letters = _letters_of(all(_COMMON.issuperset(map(ord, m.text)) for m in drawing.marks if isinstance(m, Text)))
        for order, mark in enumerate(drawing.marks):
            if isinstance(mark, Text):
                _letters(figure, mark, letters, place + figure.transFigure, order)
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


def _letters(figure: Figure, mark: Text, letters: _Letters, place: Transform, order: int) -> None:
    from matplotlib.patheffects import Stroke

    text = mark.text if mark.text.isascii() else _known(mark.text, letters.known)
    look: dict[str, Any] = {
        "fontproperties": letters.bold if mark.bold else letters.plain,
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


@dataclass(frozen=True)
class _Letters:
    """DejaVu Sans as matplotlib ships it, the same on every machine, and the characters it has."""

    plain: FontProperties
    bold: FontProperties
    known: frozenset[int]


@lru_cache(maxsize=2)
def _letters_of(common: bool) -> _Letters:
    """The whole font, or a small copy with the characters that figures use: matplotlib reads all of a font for the few
    letters of each figure, which takes half a second of a font with six thousand."""
    import matplotlib
    from matplotlib.font_manager import FontProperties, get_font

    whole = [File(matplotlib.get_data_path()) / "fonts" / "ttf" / f"DejaVuSans{end}.ttf" for end in ("", "-Bold")]
    files = _small_copies(whole) if common else whole
    plain, bold = (FontProperties(fname=str(file)) for file in files)
    return _Letters(plain, bold, frozenset(get_font(str(files[0])).get_charmap()))


def _small_copies(fonts: Sequence[File]) -> list[File]:
    """The fonts cut to `_COMMON`, in a directory that is gone when the program ends."""
    from fontTools import subset

    place = File(tempfile.mkdtemp(prefix="recgauntlet-fonts-"))
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    options = subset.Options(recalc_timestamp=False, notdef_outline=True, glyph_names=True)
    options.drop_tables += ["FFTM"]  # a time stamp, of which fontTools would complain
    for file in fonts:
        font = subset.load_font(str(file), options)
        cut = subset.Subsetter(options=options)
        cut.populate(unicodes=_COMMON)
        cut.subset(font)
        subset.save_font(font, str(place / file.name), options)
        font.close()
    return [place / file.name for file in fonts]

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
    from matplotlib.artist import Artist
    from matplotlib.backend_bases import RendererBase
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

    with matplotlib.rc_context(_SETTINGS):
        figure = Figure(figsize=((drawing.width + 2 * _MARGIN) / 72, (drawing.height + 2 * _MARGIN) / 72))
        figure.add_artist(_artist(drawing))
        out = io.BytesIO()
        figure.savefig(out, format="pdf", metadata=_NOTHING)
    return out.getvalue()


def _artist(drawing: Drawing) -> Artist:
    """All marks as one artist. An artist for each would take half as long again, for layouts that are known here."""
    from matplotlib.artist import Artist
    from matplotlib.transforms import Affine2D

    letters = _letters_of(all(_COMMON.issuperset(map(ord, m.text)) for m in drawing.marks if isinstance(m, Text)))
    place = Affine2D().scale(1, -1).translate(_MARGIN, drawing.height + _MARGIN)

    class Marks(Artist):
        def draw(self, renderer: RendererBase) -> None:
            for mark in drawing.marks:
                if isinstance(mark, Text):
                    _letters(renderer, mark, letters, place)
                else:
                    _shape(renderer, mark, place)

    return Marks()


def _shape(renderer: RendererBase, mark: Path | Circle, place: Transform) -> None:
    from matplotlib.colors import to_rgba
    from matplotlib.path import Path as Outline

    style = mark.style
    pen = renderer.new_gc()
    pen.set_linewidth(style.width if style.stroke else 0)
    pen.set_foreground(ON_PAPER[style.stroke] if style.stroke else "none")
    if style.dash:
        pen.set_dashes(0, [style.width * length for length in style.dash])
    pen.set_capstyle("butt")
    pen.set_joinstyle("round")
    if isinstance(mark, Circle):
        outline = Outline.circle((mark.x, mark.y), mark.radius)
    else:
        points: list[tuple[float, float]] = []
        codes: list[Any] = []
        for part in mark.parts:
            points += [*part, part[0]] if mark.closed else part
            closing = [Outline.CLOSEPOLY] if mark.closed else []
            codes += [Outline.MOVETO, *[Outline.LINETO] * (len(part) - 1), *closing]
        outline = Outline(points, codes)
    renderer.draw_path(pen, outline, place, to_rgba(ON_PAPER[style.fill], style.opacity) if style.fill else None)
    pen.restore()


def _letters(renderer: RendererBase, mark: Text, letters: _Letters, place: Transform) -> None:
    from matplotlib.patheffects import PathEffectRenderer, Stroke

    text = mark.text if mark.text.isascii() else _known(mark.text, letters.known)
    font = letters.of(mark)
    x, y = place.transform((mark.x, mark.y))
    if mark.anchor != "start":
        width, _, _ = renderer.get_text_width_height_descent(text, font, ismath=False)
        x -= width / (2 if mark.anchor == "middle" else 1)
    pen = renderer.new_gc()
    if mark.halo:  # beneath the letters, so that these stay text
        effects = [Stroke(linewidth=2.5, foreground=ON_PAPER["paper"])]
        PathEffectRenderer(effects, renderer).draw_text(pen, x, y, text, font, 0)
    pen.set_foreground(ON_PAPER[mark.colour])
    renderer.draw_text(pen, x, y, text, font, 0)
    pen.restore()


def _known(text: str, known: frozenset[int]) -> str:
    """`text` for a font that has these characters: a box for each that it lacks. It begins on the left also where
    letters run to the left (which matplotlib sets from version 3.11 on)."""
    shown = (c if ord(c) in known else "" if unicodedata.category(c) == "Cf" else "\u25a1" for c in text)
    return ("\u200e" if runs_left(text) else "") + "".join(shown)


@dataclass(frozen=True)
class _Letters:
    """DejaVu Sans as matplotlib ships it, the same on every machine, and the characters it has."""

    plain: File
    bold: File
    known: frozenset[int]

    def of(self, mark: Text) -> FontProperties:
        """The font of the mark, in its size."""
        return _sized(self.bold if mark.bold else self.plain, mark.size)


@lru_cache(maxsize=32)
def _sized(file: File, size: float) -> FontProperties:
    from matplotlib.font_manager import FontProperties

    return FontProperties(fname=str(file), size=size)


@lru_cache(maxsize=2)
def _letters_of(common: bool) -> _Letters:
    """The whole font, or a small copy with the characters that figures use: matplotlib reads all of a font for the few
    letters of each figure, which takes half a second of a font with six thousand."""
    import matplotlib
    from matplotlib.font_manager import get_font

    whole = [File(matplotlib.get_data_path()) / "fonts" / "ttf" / f"DejaVuSans{end}.ttf" for end in ("", "-Bold")]
    files = _small_copies(whole) if common else whole
    return _Letters(files[0], files[1], frozenset(get_font(str(files[0])).get_charmap()))


def _small_copies(fonts: Sequence[File]) -> list[File]:
    """The fonts cut to `_COMMON`, in a directory that is gone when the program ends."""
    from fontTools import subset

    place = File(tempfile.mkdtemp(prefix="recgauntlet-fonts-"))
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    options = subset.Options(recalc_timestamp=False, notdef_outline=True, glyph_names=True)
    # What moves letters by a hair, joins them, or sharpens them on a screen is cut again for every figure, which takes
    # a third of a figure's time; FFTM is a time stamp, of which fontTools would complain.
    options.drop_tables += ["FFTM", "GDEF", "GPOS", "GSUB", "kern"]
    options.hinting = False
    options.name_IDs, options.name_languages, options.name_legacy = [1, 2, 4, 6], [0x409], False
    for file in fonts:
        font = subset.load_font(str(file), options)
        cut = subset.Subsetter(options=options)
        cut.populate(unicodes=_COMMON)
        cut.subset(font)
        subset.save_font(font, str(place / file.name), options)
        font.close()
    return [place / file.name for file in fonts]

"""What all figures share: the style sheet, colours for light and dark, markers, labels and legends.

Colours of series differ by at least SEPARATION for readers with and without colour blindness and have a contrast of at
least 3 to the background (WCAG 1.4.11). Each series also has a marker and a dash pattern of its own.
"""

from __future__ import annotations

import unicodedata
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

import matplotlib.figure
import matplotlib.style
import numpy as np
from adjustText import adjust_text
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.font_manager import findfont, get_font
from matplotlib.ft2font import LoadFlags
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.transforms import Bbox

from recgauntlet.core.escape import shortened
from recgauntlet_site.figures.pareto import Point

SEPARATION = 24.0
"""The least distance of two colours of series in CIELAB (1976), for trichromats, protanopes and deuteranopes."""
LIGHT = ("#555f6c", "#2c75c4", "#9a3100", "#3b946b", "#70247d", "#ab8902", "#2d1f33")
DARK = ("#a5b4c1", "#6ab4fc", "#e37d3f", "#47ac7c", "#b260b1", "#f5d859", "#f6ece0")
SHAPES = ("o", "^", "s", "D", "v", "X", "*")
DASHES: tuple[tuple[float, ...], ...] = ((), (5, 2), (1.5, 1.5), (7, 2, 1.5, 2), (3, 3), (9, 3), (4, 1.5, 1.5, 1.5))
SERIES = len(LIGHT)
UNDEFENDED, TINT = 0, 1
"""The series of undefended training, and the one whose colour fills the cells of a heat map."""
INK, FAINT, RULE, PAPER = "#1d2126", "#59626c", "#d5d1c6", "#ffffff"
IN_DARK = {INK: "#e8e6e0", FAINT: "#a3abb4", RULE: "#32383f", PAPER: "#14171b"} | dict(zip(LIGHT, DARK, strict=True))
"""The colour in dark mode for each colour that a drawing may have."""

WIDTH = 400.0
"""Points that a figure is wide. A phone shows them on 360 pixels: letters are legible from LETTERS on."""
LETTERS = 11.5
LINE = 16.5
"""Points from one line of text to the next."""
_LONGEST_LABEL = 154.0
_STEPS = 120
"""Iterations of `adjust_text`. Limited by number and not by time, so that every build gives the same figure."""

_STYLE = Path(__file__).with_name("board.mplstyle")


@contextmanager
def in_style() -> Iterator[None]:
    """Draw and save with the style sheet alone: the reader's `matplotlibrc` changes nothing. Also a decorator."""
    with warnings.catch_warnings(), matplotlib.style.context(_STYLE, after_reset=True):
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")  # a box is drawn in its place
        yield


def style_sheet() -> str:
    """The CSS of the series' colours, for the plot that can be zoomed."""
    light, dark = (";".join(f"--s{n}:{colour}" for n, colour in enumerate(mode)) for mode in (LIGHT, DARK))
    return f":root{{{light}}}\n@media screen and (prefers-color-scheme:dark){{:root{{{dark}}}}}\n"


def new_figure(height: float) -> matplotlib.figure.Figure:
    """An empty figure, WIDTH points wide and `height` points high."""
    return matplotlib.figure.Figure(figsize=(WIDTH / 72, height / 72))


def limits(values: Sequence[float], least: float, pad: float) -> tuple[float, float]:
    """Limits of an axis in per cent: `pad` around the values, at least `least` apart, with room for whole markers at 0
    and at 100."""
    low, high = min(values) - pad, max(values) + pad
    wider = max(0.0, least - (high - low)) / 2
    low, high = max(0.0, low - wider), min(100.0, high + wider)
    margin = 0.035 * (high - low)
    return (low if low > 0 else -margin, high if high < 100 else 100 + margin)


@lru_cache(maxsize=4096)
def width_of(text: str) -> float:
    """The width of a line of text in points. Wide characters, which the font lacks, count as an em."""
    font = get_font(findfont("DejaVu Sans"))
    font.set_size(LETTERS, 72)
    with warnings.catch_warnings(action="ignore"):
        measured = "".join("—" if unicodedata.east_asian_width(character) in "WF" else character for character in text)
        font.set_text(measured, 0.0, flags=LoadFlags.NO_HINTING)
    return float(font.get_width_height()[0]) / 64


def fitted(text: str, room: float = _LONGEST_LABEL) -> str:
    """`text`, shortened in the middle until it is at most `room` points wide."""
    length = len(text)
    while width_of(text) > room and length > 1:
        length = min(length - 1, max(1, int(length * room / width_of(text)) + 1))
        text = shortened(text, length)
    return text


def wrapped(text: str, room: float = WIDTH - 8, most: int = 5) -> str:
    """`text` in lines of at most `room` points, at most `most` of them."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if width_of(longer) <= room:
            lines[-1] = longer
        else:
            lines.append(fitted(word, room))
    return "\n".join(lines if len(lines) <= most else [*lines[: most - 1], fitted(" ".join(lines[most - 1 :]), room)])


def title(ax: Axes, text: str) -> None:
    """Name the vertical quantity above the axes, where it is read without turning the head."""
    ax.set_title(fitted(text, WIDTH - 40))


def markers(
    xs: Sequence[float], ys: Sequence[float], colour: str, shape: str, *, area: float = 36.0, hollow: bool = False
) -> Line2D:
    """Markers without a line, for `Axes.add_line` or, without points, for a legend; `area` is in square points."""
    face, edge, width = (PAPER, colour, 1.3) if hollow else (colour, PAPER, 0.6)
    return Line2D(xs, ys, ls="none", marker=shape, ms=area**0.5, mfc=face, mec=edge, mew=width, zorder=3)


def legend(figure: matplotlib.figure.Figure, entries: Sequence[tuple[Artist, str]], notes: Sequence[str]) -> None:
    """Complete a figure by the legend below it (it grows by that much) and compute its layout: `notes`, then handles
    with labels in as many columns as fit."""
    labels = [fitted(label, WIDTH - 40) for _, label in entries]
    widest = max(map(width_of, labels), default=0.0) + 28
    columns = max(1, min(len(entries), int(WIDTH / widest)))
    notes = [wrapped(note) for note in notes if note]
    lines = -(-len(entries) // columns) + sum(note.count("\n") + 1 for note in notes)
    figure.set_figheight(figure.get_figheight() + lines * LINE / 72)
    figure.legend(
        [handle for handle, _ in entries],
        labels,
        loc="outside lower left",
        ncols=columns,
        title="\n".join(notes),
        title_fontproperties={"size": LETTERS},
        alignment="left",
    ).get_title().set_color(FAINT)
    ConstrainedLayoutEngine().execute(figure)  # once; as the figure's own engine it would run for every file


def hollow_entry(*, any_hollow: bool) -> list[tuple[Artist, str]]:
    """The legend's entry for hollow markers, where there are any."""
    return [(markers([], [], FAINT, "o", hollow=True), "not ranked")] if any_hollow else []


_MARKER_EDGES = np.array([(-5.0, 0.0), (5.0, 0.0), (0.0, -5.0), (0.0, 5.0)])
"""Points at which a marker ends."""
_OVERLAP = 2.5
"""Points by which two labels may overlap vertically: less than the room above and below their letters."""
_FAR = 9.0
"""Points from a marker from which on a line joins it to its label."""


def label_points(ax: Axes, labels: Sequence[tuple[str, float, float]], points: Sequence[Point]) -> None:
    """Write `labels` (text, x, y; the most important ones first) beside their points and off all `points`. A label that
    would cover a more important one is left out. The axes' limits are final before this is called."""
    texts = [
        ax.text(x, y, text, bbox={"fc": PAPER, "ec": "none", "alpha": 0.75, "pad": 0.4}, zorder=2.5)
        for text, x, y in labels
    ]
    around = ax.transData.transform(points)[:, None] + _MARKER_EDGES  # adjust_text knows points without an extent
    xs, ys = ax.transData.inverted().transform(around.reshape(-1, 2)).T
    # Swapping crossed labels would put long ones beyond the axes.
    forces = {"force_static": (0.1, 0.4), "force_text": (0.1, 0.4), "prevent_crossings": False}
    adjust_text(texts, xs, ys, ax=ax, iter_lim=_STEPS, **forces)
    taken: list[Bbox] = []
    for text, (_, *point) in zip(texts, labels, strict=True):
        box = text.get_window_extent()
        common = (Bbox.intersection(box, other) for other in taken)
        if any(part is not None and part.width > 2 and part.height > _OVERLAP for part in common):
            text.remove()
            continue
        taken.append(box)
        marker = ax.transData.transform(point)
        nearest = np.clip(marker, box.min, box.max)
        if np.hypot(*(nearest - marker)) > _FAR:
            ends = ax.transData.inverted().transform([marker, nearest])
            ax.plot(*ends.T, color=FAINT, lw=0.6, zorder=1.5)


def draw_front(
    ax: Axes, edge: Sequence[tuple[float, float]], corner: tuple[float, float], label: str
) -> list[tuple[Artist, str]]:
    """Shade what a front beats, from its `edge` to the `corner` of the axes; gives the legend's entry."""
    if not edge:
        return []
    ax.fill(*zip(*edge, corner, strict=True), color=FAINT, alpha=0.08, lw=0)
    ax.plot(*zip(*edge, strict=True), color=FAINT, lw=1.0)
    return [(Patch(fc=(FAINT, 0.12), ec=FAINT), label)]


def name_rows(ax: Axes, names: Sequence[tuple[str, bool]]) -> None:
    """Name the rows of a figure, the first at the top, at the left edge: labels with whether each is faint."""
    labels = [fitted(name, _LONGEST_LABEL - 14) for name, _ in names]
    ax.set(ylim=(len(names) - 0.5, -0.5), yticks=range(len(names)), yticklabels=labels)
    ax.tick_params(axis="y", pad=max(map(width_of, labels)) + 6)
    for text, (_, faint) in zip(ax.get_yticklabels(), names, strict=True):
        text.set(ha="left", color=FAINT if faint else INK)

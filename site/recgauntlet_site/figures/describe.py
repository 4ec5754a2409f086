"""A figure with its text alternative, the data table behind it, and its files."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property

import matplotlib.figure
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.backends.backend_svg import FigureCanvasSVG

from recgauntlet.leaderboard.address import slug
from recgauntlet.leaderboard.schema import TaskTable
from recgauntlet.metrics.bootstrap import Estimate
from recgauntlet_site.figures.rows import PlottedRow
from recgauntlet_site.figures.style import IN_DARK, PAPER, in_style
from recgauntlet_site.format import distinct, joined, percent

_MOST_NAMES = 8
_TAG = re.compile(r"<[^>]*>")
_COLOUR = re.compile("|".join(IN_DARK))


@dataclass(frozen=True)
class Described:
    """The description of a figure and the numbers behind it. Texts are not yet escaped for HTML."""

    name: str
    """Fits a file name and the id of an element; the same on every build."""
    kind: str
    """The function that made the figure, with hyphens."""
    threat: str
    """The id of the one threat that the figure shows, "" where it shows several."""
    title: str
    description: str
    """The text alternative: what is to be seen, in one to four sentences."""
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    """The data table, numbers as the leaderboard prints them."""
    size: tuple[int, int]
    """Width and height in points."""


@dataclass(frozen=True)
class SavedFigure(Described):
    """A figure as the site shows it."""

    files: Mapping[str, bytes] = field(repr=False)
    """The content of each file by its name."""


@dataclass(frozen=True)
class Figure(Described):
    """A drawing with its description."""

    drawing: matplotlib.figure.Figure = field(repr=False)

    @cached_property
    def svg(self) -> str:
        """The figure in light mode, with text as text."""
        file = io.BytesIO()
        metadata = {"Date": None, "Title": self.title, "Description": self.description}
        with in_style():
            # savefig would draw everything twice
            FigureCanvasSVG(self.drawing).print_svg(file, metadata=metadata)  # type: ignore[no-untyped-call]
        return file.getvalue().decode()

    @property
    def dark_svg(self) -> str:
        """The figure in dark mode: the same drawing, every colour replaced. Only tags hold colours, names stay."""
        return _TAG.sub(lambda tag: _COLOUR.sub(lambda colour: IN_DARK[colour[0]], tag[0]), self.svg)

    @property
    def pdf(self) -> bytes:
        """The figure for a paper, with embedded TrueType fonts."""
        file = io.BytesIO()
        metadata = {"CreationDate": None, "Title": self.title}
        with in_style():
            FigureCanvasPdf(self.drawing).print_pdf(file, metadata=metadata)  # type: ignore[no-untyped-call]
        return file.getvalue()

    @property
    def png(self) -> bytes:
        """The figure in light mode as pixels, two a point, on white: for programs that show no SVG."""
        file = io.BytesIO()
        with in_style():
            self.drawing.savefig(file, format="png", dpi=144, facecolor=PAPER)
        return file.getvalue()

    def files(self) -> dict[str, bytes]:
        """All files of the figure by their name."""
        return {
            f"{self.name}.svg": self.svg.encode(),
            f"{self.name}-dark.svg": self.dark_svg.encode(),
            f"{self.name}.pdf": self.pdf,
        }

    def saved(self) -> SavedFigure:
        """The figure with its files in place of the drawing, which no other process needs."""
        described = {own.name: getattr(self, own.name) for own in fields(Described)}
        return SavedFigure(**described, files=self.files())


def figure_of(
    table: TaskTable,
    kind: str,
    *,
    title: str,
    description: str,
    header: Sequence[str],
    rows: Sequence[tuple[PlottedRow, Sequence[str]]],
    drawing: matplotlib.figure.Figure,
    prefix: str = "",
    threat: str = "",
) -> Figure:
    """A figure of a table. Its name begins with `prefix`, or with the task and the track where this is "". The data
    table has each row's rank and name in front of its values, which `header` names."""
    parts = [prefix or f"{slug(table.task)}-v{table.version}-{table.track}", kind]
    if threat:
        threats = [column.id for column in table.threats]
        parts.append(distinct(list(map(slug, threats)))[threats.index(threat)])
    lines = [("–" if row.row.rank is None else str(row.row.rank), row.name, *values) for row, values in rows]
    width, height = (72 * drawing.get_size_inches()).round().astype(int).tolist()
    heads = ("rank", "row", *header)
    return Figure("-".join(parts), kind, threat, title, description, heads, tuple(lines), (width, height), drawing)


def value_and_interval(estimate: Estimate) -> tuple[str, str]:
    """An estimate as the leaderboard prints it: "61.2" and "58.1–64.0", both in per cent."""
    return percent(estimate.value), f"{percent(estimate.low)}–{percent(estimate.high)}"


def value_range(shares: Sequence[float]) -> str:
    """ "58.1 to 64.0 %", or "58.1 %" where all are alike."""
    low, high = percent(min(shares)), percent(max(shares))
    return f"{low} %" if low == high else f"{low} to {high} %"


def counted_rows(rows: Sequence[object]) -> str:
    """ "One row" or "12 rows"."""
    return "One row" if len(rows) == 1 else f"{len(rows)} rows"


def listed(names: Sequence[str]) -> str:
    """ "a, b and c"; of many names the first ones and how many more there are."""
    if len(names) <= _MOST_NAMES:
        return joined(names)
    return joined([*names[: _MOST_NAMES - 1], f"{len(names) - _MOST_NAMES + 1} more"])


def not_drawn(rows: Sequence[PlottedRow]) -> str:
    """Names the rows that a figure has no room for, "" where there are none."""
    return f"Rows not drawn: {', '.join(row.label for row in rows)}." if rows else ""

"""A drawing as SVG: inline for a page, whose style sheet colours it, or as a file that stands alone."""

from __future__ import annotations

from collections.abc import Callable
from itertools import groupby

from markupsafe import Markup, escape

from recgauntlet_site.pictures.drawing import BODY, Circle, Drawing, Mark, Path, Style, Text
from recgauntlet_site.pictures.palette import ON_PAPER

_FONTS = "system-ui, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, 'DejaVu Sans', sans-serif"
_SCALE = 1.5
"""Pixels a unit of a file that stands alone."""
_MARGIN = 12
_HALO = 2.5
_Attributes = Callable[[Mark], str]


def inline(drawing: Drawing) -> Markup:
    """An `<svg>` element without ids, inline styles and colours of its own. It is hidden from screen readers: the page
    gives them the picture's description."""
    return Markup(
        f'<svg class="plot" viewBox="0 0 {_n(drawing.width)} {_n(drawing.height)}" font-size="{BODY}" '
        f'aria-hidden="true" focusable="false">{_body(drawing, _by_class)}</svg>'
    )


def standalone(drawing: Drawing, title: str, description: str) -> bytes:
    """A file: light colours on white, letters as text, title and description for screen readers."""
    width, height = drawing.width + 2 * _MARGIN, drawing.height + 2 * _MARGIN
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_n(width * _SCALE)}" height="{_n(height * _SCALE)}" '
        f'viewBox="{-_MARGIN} {-_MARGIN} {_n(width)} {_n(height)}" role="img" font-family="{_FONTS}" '
        f'font-size="{BODY}">'
        f"<title>{escape(title)}</title><desc>{escape(description)}</desc>"
        f'<rect x="{-_MARGIN}" y="{-_MARGIN}" width="100%" height="100%" fill="{ON_PAPER["paper"]}"/>'
        f"{_body(drawing, _by_value)}</svg>\n"
    ).encode()


def _body(drawing: Drawing, attributes: _Attributes) -> str:
    """Neighbours of one look share a group."""
    done = []
    for look, marks in groupby(drawing.marks, attributes):
        inside = "".join(map(_element, marks))
        done.append(f"<g{look}>{inside}</g>\n")
    return "".join(done)


def _element(mark: Mark) -> str:
    if isinstance(mark, Text):
        return f'<text x="{_n(mark.x)}" y="{_n(mark.y)}">{escape(mark.text)}</text>'
    if isinstance(mark, Circle):
        return f'<circle cx="{_n(mark.x)}" cy="{_n(mark.y)}" r="{mark.radius:.2f}"/>'
    return f'<path d="{"".join(map(_part, mark.parts))}"/>' if not mark.closed else f'<path d="{_closed(mark)}"/>'


def _part(points: tuple[tuple[float, float], ...]) -> str:
    return "M" + "L".join(f"{_n(x)} {_n(y)}" for x, y in points)


def _closed(path: Path) -> str:
    return "".join(f"{_part(points)}Z" for points in path.parts)


def _by_class(mark: Mark) -> str:
    if isinstance(mark, Text):
        return f' class="fill-{mark.colour}{"" if mark.halo else " bare"}"{_letters(mark)}'
    style = mark.style
    classes = [f"{kind}-{name}" for kind, name in (("fill", style.fill), ("stroke", style.stroke)) if name]
    return f' class="{" ".join(classes)}"{"" if style.fill else _NO_FILL}{_line(style)}'


def _by_value(mark: Mark) -> str:
    if isinstance(mark, Text):
        halo = f' paint-order="stroke" stroke="{ON_PAPER["paper"]}" stroke-width="{_HALO}" stroke-linejoin="round"'
        return f' fill="{ON_PAPER[mark.colour]}"{halo if mark.halo else ""}{_letters(mark)}'
    style = mark.style
    fill = f' fill="{ON_PAPER[style.fill]}"' if style.fill else _NO_FILL
    stroke = f' stroke="{ON_PAPER[style.stroke]}"' if style.stroke else ""
    return f"{fill}{stroke}{_line(style)}"


_NO_FILL = ' fill="none"'


def _letters(text: Text) -> str:
    size = f' font-size="{_n(text.size)}"' if text.size != BODY else ""
    anchor = f' text-anchor="{text.anchor}"' if text.anchor != "start" else ""
    bold = ' font-weight="600"' if text.bold else ""
    return f"{size}{anchor}{bold}"


def _line(style: Style) -> str:
    opacity = f' fill-opacity="{style.opacity:.2f}"' if style.fill and style.opacity < 1 else ""
    if not style.stroke:
        return opacity
    dash = f' stroke-dasharray="{" ".join(map(_n, style.dash))}"' if style.dash else ""
    return f'{opacity} stroke-width="{_n(style.width)}" stroke-linejoin="round"{dash}'


def _n(value: float) -> str:
    """A coordinate to a tenth of a unit."""
    text = f"{value:.1f}"
    return text[:-2] if text.endswith(".0") else text

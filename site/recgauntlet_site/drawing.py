"""How a matplotlib drawing becomes an `<svg>` element that takes its colours from the page's style sheet.

Colours are classes, not values, so that one drawing serves light, dark and print, and so that the page can
forbid inline styles.
"""

from __future__ import annotations

import io
import re
from typing import Any
from xml.etree import ElementTree

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from recgauntlet.rows import TaskTable
from recgauntlet_site.words import visible

SHAPES = "osD^vPXph"
SERIES = 6
INK = {"ink": "#010101", "faint": "#020202", "paper": "#030303"} | {
    f"s{number}": f"#0400{number:02x}" for number in range(SERIES)
}
_CLASS_OF = {colour: name for name, colour in INK.items()}
_SVG = "http://www.w3.org/2000/svg"
_XLINK = "{http://www.w3.org/1999/xlink}href"
SETTINGS: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "recgauntlet",
    "font.family": "DejaVu Sans",
    "font.size": 10.0,
    "axes.unicode_minus": False,
    "path.simplify": False,
    "text.parse_math": False,
}


def defense_series(table: TaskTable) -> dict[str, int]:
    """The number of each defense's colour and shape: 0 is plain training, the same on every plot of a
    table."""
    names = sorted({row.defense.name for row in table.rows} - {"standard"})
    return {"standard": 0} | {name: number for number, name in enumerate(names, start=1)}


def plain_axes(axes: Axes) -> None:
    """Axes of two thin lines on no ground of their own."""
    axes.tick_params(colors=INK["faint"], labelcolor=INK["ink"], length=3)
    axes.patch.set_visible(False)
    axes.figure.patch.set_visible(False)
    for edge, spine in axes.spines.items():
        spine.set_visible(edge in {"left", "bottom"})
        spine.set_color(INK["faint"])


def short(text: str) -> str:
    """`text` made visible and cut to what a label has room for."""
    text = visible(text)
    return text if len(text) <= 28 else f"{text[:27]}…"


def for_page(figure: Figure, name: str) -> str:
    """The figure as an `<svg>` element without ids that nobody needs, inline styles and colours of its own.

    `name` prefixes the ids inside, so that several drawings can stand on one page.
    """
    out = io.BytesIO()
    figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    drawing = out.getvalue()
    root = ElementTree.fromstring(drawing)
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag.endswith(("metadata", "style")):
                parent.remove(child)
    used = set(re.findall(r"(?:url\(#|href=\"#)([^)\"]+)", drawing.decode()))
    for element in root.iter():
        _restyle(element)
        for key, value in list(element.attrib.items()):
            if key == "id":
                del element.attrib[key]
                if value in used:
                    element.set("id", f"{name}-{value}")
            elif key == _XLINK:
                del element.attrib[key]
                element.set("href", value.replace("#", f"#{name}-"))
            elif "url(#" in value:
                element.set(key, value.replace("url(#", f"url(#{name}-"))
    for key in ("width", "height", "version"):
        root.attrib.pop(key, None)
    root.set("class", "plot")
    root.set("aria-hidden", "true")
    root.set("focusable", "false")
    ElementTree.register_namespace("", _SVG)
    return ElementTree.tostring(root, encoding="unicode")


def _restyle(element: ElementTree.Element) -> None:
    """Turn a style attribute into presentation attributes, and our stand-in colours into classes."""
    classes = []
    declared = dict(part.split(":", 1) for part in element.attrib.pop("style", "").split(";") if ":" in part) | {
        key: element.attrib.pop(key) for key in ("fill", "stroke") if key in element.attrib
    }
    for key, value in ((key.strip(), value.strip()) for key, value in declared.items()):
        if value in _CLASS_OF and key in {"fill", "stroke"}:
            classes.append(f"{key}-{_CLASS_OF[value]}")
        elif key == "font":
            found = re.match(r"([\d.]+)px", value)
            element.set("font-size", found.group(1) if found else "10")
        else:
            element.set(key, value)
    if classes:
        element.set("class", " ".join(classes))

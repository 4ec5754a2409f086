"""The colours of the figures, light and dark, in this one place.

A mark names a colour by its class (`s1`, `ink`); the page's style sheet, or a file that stands alone, says what that
is. Colours of series keep SEPARATION apart for every reader, and have a contrast of at least 3 to their ground
(WCAG 1.4.11); still none is told by colour alone: each has its own marker and dash.
"""

from __future__ import annotations

SEPARATION = 24.0
"""The least distance of two colours of series in CIELAB (1976), for trichromats, protanopes and deuteranopes alike."""

LIGHT = ("#555f6c", "#2c75c4", "#9a3100", "#3b946b", "#70247d", "#ab8902", "#2d1f33")
DARK = ("#a5b4c1", "#6ab4fc", "#e37d3f", "#47ac7c", "#b260b1", "#f5d859", "#f6ece0")
SERIES = len(LIGHT)
PLAIN = 0
"""The series of what is trained plainly: a grey."""
TINT = 1
"""The series whose colour, more or less opaque, fills the cells of a heat map."""
MOST_OPAQUE = 0.5
"""The strongest tint: ink on it still has the contrast of text (4.5) in light and dark."""

ON_PAPER = {"ink": "#1d2126", "faint": "#59626c", "rule": "#d5d1c6", "paper": "#ffffff"} | {
    f"s{number}": colour for number, colour in enumerate(LIGHT)
}
"""What a file that stands alone has for each class: the light colours on white."""


def style_sheet() -> str:
    """What the page's style sheet needs for the figures besides `ink`, `faint` and `paper`, which are its own."""
    classes = "".join(f".fill-s{n}{{fill:var(--s{n})}}.stroke-s{n}{{stroke:var(--s{n})}}" for n in range(SERIES))
    return (
        f":root{{{variables(LIGHT)}}}\n"
        f"@media screen and (prefers-color-scheme:dark){{:root{{{variables(DARK)}}}}}\n"
        f"{classes}.stroke-rule{{stroke:var(--rule)}}.fill-rule{{fill:var(--rule)}}\n"
        ".plot .bare,.plot .bare text{stroke:none}\n"
    )


def variables(colours: tuple[str, ...]) -> str:
    """The declarations of the series' colours, `LIGHT` or `DARK`."""
    return ";".join(f"--s{number}:{colour}" for number, colour in enumerate(colours))

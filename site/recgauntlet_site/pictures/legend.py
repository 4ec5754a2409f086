"""The key of a figure: samples with what they stand for, set like words of a paragraph."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from recgauntlet_site.pictures.drawing import LINE, SMALL, WIDTH, Pen
from recgauntlet_site.pictures.lettering import fitted, width

Sample = Callable[[Pen, float, float], None]
"""Draws a sample whose left end is at x, around the height y."""
_GAP = 14.0


@dataclass(frozen=True)
class Key:
    """A sample, how wide it is, and its label."""

    draw: Sample
    room: float
    label: str
    colour: str = "ink"


def draw_keys(pen: Pen, keys: Sequence[Key], y: float, *, left: float = 0.0, right: float = WIDTH) -> float:
    """Draw `keys` from left to right in lines, the first base line being at `y`; gives the y of the last base line."""
    x = left
    for key in keys:
        label = fitted(key.label, SMALL, right - left - key.room - 5)
        needed = key.room + 5 + width(label, SMALL)
        if x > left and x + needed > right:
            x, y = left, y + LINE
        key.draw(pen, x, y - 3.6)
        pen.text(x + key.room + 5, y, label, size=SMALL, colour=key.colour)
        x += needed + _GAP
    return y

"""How much room letters take, and how foreign names are fitted into it.

The reader's font is not known here. The widths are those of DejaVu Sans, the widest of the usual sans serifs, so that
what fits here fits everywhere.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from functools import lru_cache

from recgauntlet.core.escape import shortened

# fmt: off
_ASCII = (
    32, 40, 46, 84, 64, 95, 78, 27, 39, 39, 50, 84, 32, 36, 32, 34, 64, 64, 64, 64, 64, 64, 64, 64,
    64, 64, 34, 34, 84, 84, 84, 53, 100, 68, 69, 70, 77, 63, 58, 77, 75, 29, 29, 66, 56, 86, 75, 79,
    60, 79, 69, 63, 61, 73, 68, 99, 69, 61, 69, 39, 34, 39, 84, 50, 50, 61, 63, 55, 63, 62, 35, 63,
    63, 28, 28, 58, 28, 97, 63, 61, 63, 63, 41, 52, 39, 63, 59, 82, 59, 59, 52, 64, 34, 64, 84,
)
# fmt: on
"""Hundredths of the size, from the space to the tilde."""
_OTHER = 84
"""Those of any other character that is seen and not wide."""
_BYTES = bytes(_ASCII[code - 32] if 32 <= code < 127 else _OTHER for code in range(256))
_BOLD = 1.12
_LEFTWARDS = re.compile(r"<(?:[<.]*<)?")
_ISOLATE, _END = "\u2068", "\u2069"


@lru_cache(maxsize=4096)
def width(text: str, size: float, bold: bool = False) -> float:
    """How wide `text` is at most."""
    hundredths = sum(text.encode().translate(_BYTES)) if text.isascii() else sum(map(_hundredths, text))
    return hundredths / 100 * size * (_BOLD if bold else 1.0)


def _hundredths(character: str) -> int:
    code = ord(character)
    if 32 <= code < 127:
        return _ASCII[code - 32]
    if unicodedata.category(character) in {"Mn", "Me", "Cf"}:
        return 0
    return 100 if unicodedata.east_asian_width(character) in "WF" or character in "…—" else _OTHER


@lru_cache(maxsize=4096)
def fitted(text: str, size: float, room: float, bold: bool = False) -> str:
    """`text`, of which the middle is left out where there is no room for it."""
    if width(text, size, bold) <= room:
        return text
    low, high = 1, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if width(shortened(text, middle), size, bold) <= room else (low, middle - 1)
    return shortened(text, low)


def wrapped(pieces: Iterable[str], size: float, room: float, most: int) -> list[str]:
    """Lines of pieces that stay whole (one that is wider than a line is cut), at most `most` of them: of more, the last
    says how many pieces are left."""
    waiting = [fitted(piece, size, room) for piece in pieces]
    lines: list[str] = []
    while waiting:
        if len(lines) == most - 1 and width(" ".join(waiting), size) > room:
            return [*lines, _last_line(waiting, size, room)]
        line, waiting = waiting[0], waiting[1:]
        while waiting and width(f"{line} {waiting[0]}", size) <= room:
            line, waiting = f"{line} {waiting[0]}", waiting[1:]
        lines.append(line)
    return lines


def _last_line(pieces: Sequence[str], size: float, room: float) -> str:
    for count in range(len(pieces) - 1, 0, -1):
        line = f"{' '.join(pieces[:count])} and {len(pieces) - count} more"
        if width(line, size) <= room:
            return line
    return f"and {len(pieces)} more"


def isolated(text: str) -> str:
    """`text`, set off from its neighbours where letters of it run from right to left, so that it moves none of them."""
    return f"{_ISOLATE}{text}{_END}" if runs_left(text) else text


def runs_left(text: str) -> bool:
    """Whether letters of `text` run from right to left."""
    return not text.isascii() and any(unicodedata.bidirectional(character) in {"R", "AL"} for character in text)


def left_to_right(text: str) -> str:
    """`text` in the order in which its letters stand on a line: each run of letters that run to the left, with the
    blanks and signs between them, is turned around. For whoever sets one letter after the other."""
    if not runs_left(text):
        return text
    for run in _LEFTWARDS.finditer("".join(map(_direction, text))):
        start, end = run.span()
        text = text[:start] + text[start:end][::-1] + text[end:]
    return text


def _direction(character: str) -> str:
    kind = unicodedata.bidirectional(character)
    return "<" if kind in {"R", "AL"} else "." if kind in {"WS", "ON", "CS", "ES", "ET", "NSM"} else ">"

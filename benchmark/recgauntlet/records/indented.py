"""JSON on many lines, as the json module lays it out with `indent=1`, in half the time.

The module's quick encoder writes one line alone. So the text is made on one line, and then all line breaks and blanks
are put in at once.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np

_OPEN, _CLOSE, _COMMA, _COLON, _QUOTE = range(1, 6)
_KINDS = bytearray(256)
for _characters, _kind in ((b"{[", _OPEN), (b"}]", _CLOSE), (b",", _COMMA), (b":", _COLON), (b'"', _QUOTE)):
    for _character in _characters:
        _KINDS[_character] = _kind
_BLANK, _LINE_BREAK = b" \n"


def indented(content: Any) -> bytes:
    """`json.dumps(content, indent=1, sort_keys=True)`, to the last byte."""
    return laid_out(json.dumps(content, sort_keys=True, separators=(",", ":")).encode())


def laid_out(line: bytes) -> bytes:
    """JSON that is on one `line`, without blanks between its parts, on many lines."""
    # Of the same length, without the quotes that are within texts: backslashes are in nothing but texts.
    bare = line.replace(b"\\\\", b"__").replace(b'\\"', b"__") if b"\\" in line else line
    seen = np.frombuffer(bare.translate(_KINDS), dtype=np.uint8)
    marks = np.flatnonzero(seen != 0)
    kinds = seen[marks]
    quotes = kinds == _QUOTE
    outside = ~quotes & (np.cumsum(quotes) % 2 == 0)
    marks, kinds = marks[outside], kinds[outside]
    opens, closes = kinds == _OPEN, kinds == _CLOSE
    depth = np.cumsum(opens.astype(np.int64) - closes)
    hollow = opens[:-1] & closes[1:] & (marks[1:] == marks[:-1] + 1)
    opens[:-1] &= ~hollow
    closes[1:] &= ~hollow
    after = np.where(opens | (kinds == _COMMA), depth + 1, kinds == _COLON)
    before = np.where(closes, depth + 1, 0)
    # Before a mark or after it: where something is added, how much, and how much of the line stands before that.
    at = np.stack([marks, marks + 1], axis=1).ravel()
    sizes = np.stack([before, after], axis=1).ravel()
    starts = at + np.cumsum(sizes) - sizes
    kept = np.diff(at, prepend=0)
    old = np.repeat(np.tile([True, False], len(at)), np.stack([kept, sizes], axis=1).ravel())
    rest = len(line) - int(kept.sum())
    text = np.full(len(old) + rest, _BLANK, dtype=np.uint8)
    text[: len(old)][old] = np.frombuffer(line, dtype=np.uint8)[: len(line) - rest]
    text[len(old) :] = np.frombuffer(line, dtype=np.uint8)[len(line) - rest :]
    breaks = np.stack([closes, opens | (kinds == _COMMA)], axis=1).ravel()
    text[starts[breaks]] = _LINE_BREAK
    return text.tobytes()

"""Where the labels of a plot stand: beside their points, on top of as little as possible.

Every label has some dozens of places around its point. The first ones choose first; then each is placed anew, knowing
where all others stand. All costs are areas covered, in square units, or are made comparable with them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from recgauntlet_site.pictures.drawing import Anchor, Point

Box = tuple[float, float, float, float]
"""Left, top, right, bottom."""
_Floats = npt.NDArray[np.float64]

_MISLEADING, _JOINED = 900.0, 0.3
"""What it costs a label to stand nearer to another point than to its own (more than covering some of a line), and the
part of it where a line joins it to its own."""
_BEYOND = 2000.0
"""What it costs a label to stand out of the frame, by the unit."""
_ON_LABELS, _ON_MARKERS = 8.0, 3.0
"""How much worse it is to cover another label, or a marker, than to cover a line."""
_SWEEPS = 2
_FAR = (0.0, 8.0, 18.0, 30.0, 45.0, 65.0)
"""How far away a label may stand; from the second on, a line joins it to its point."""
_DIRECTIONS = ((1, 0), (-1, 0), (1, -1), (-1, -1), (1, 1), (-1, 1), (0, -1), (0, 1))
_STOPS = 6
"""Small boxes that stand for a joining line."""


@dataclass(frozen=True)
class Request:
    """A label wanted at a point: the reach of the point's marker, the size of the label, and the cost from which it is
    better left out."""

    at: Point
    reach: float
    width: float
    height: float
    most: float = float("inf")


@dataclass(frozen=True)
class Place:
    """Where a label stands: its base line, and the line that joins it to its point (None close by)."""

    x: float
    y: float
    anchor: Anchor
    leader: tuple[Point, Point] | None


@dataclass(frozen=True)
class _Options:
    """`[K, 4]` boxes where a label may stand, `[K, STOPS, 4]` what its joining line then covers (nothing close by), and
    `[K]` what each costs whatever other labels do."""

    boxes: _Floats
    lines: _Floats
    costs: _Floats


def place(requests: Sequence[Request], markers: Sequence[Box], lines: Sequence[Box], frame: Box) -> list[Place | None]:
    """A place for each label, None where it is left out. `markers` are those of all points of the plot, each box around
    its point; `lines` is whatever else labels had better not cover."""
    around = np.array(markers, dtype=np.float64).reshape(-1, 4)
    beneath = np.array(lines, dtype=np.float64).reshape(-1, 4)
    options = [_options(request, around, beneath, frame) for request in requests]
    chosen: dict[int, int] = {}
    for _ in range(1 + _SWEEPS):
        for number, (request, own) in enumerate(zip(requests, options, strict=True)):
            taken = [_taken(options[other], option) for other, option in chosen.items() if other != number]
            costs = own.costs + _ON_LABELS * _covered_with_line(own, np.vstack(taken)) if taken else own.costs
            best = int(costs.argmin())
            chosen.pop(number, None)
            if costs[best] <= request.most:
                chosen[number] = best
    return [_placed(options[n], chosen[n]) if n in chosen else None for n in range(len(requests))]


def _options(request: Request, markers: _Floats, lines: _Floats, frame: Box) -> _Options:
    (x, y), w, h = request.at, request.width, request.height
    far = np.repeat(_FAR, len(_DIRECTIONS))
    across, down = np.tile(_DIRECTIONS, (len(_FAR), 1)).T
    reach = (request.reach + 2.5 + far) * np.where((across == 0) | (down == 0), 1.0, 0.75)
    middles = np.stack([x + across * (reach + w / 2), y + down * (reach + h / 2)], axis=1)
    half = np.array([w / 2, h / 2])
    boxes = np.hstack([middles - half, middles + half])
    own = _Options(boxes, _joining(request, boxes, far), np.zeros(len(boxes)))
    middles_of_markers = (markers[:, :2] + markers[:, 2:]) / 2
    others = middles_of_markers[np.abs(middles_of_markers - request.at).max(axis=1) > 0.01]
    nearer = _distances(boxes, others) < _distances(boxes, np.array([request.at])) + 2.5
    costs = 1.6 * far + 0.5 * np.tile(np.arange(len(_DIRECTIONS)), len(_FAR))
    costs += _MISLEADING * np.where(far > 0, _JOINED, 1.0) * nearer.sum(axis=1)
    costs += _ON_MARKERS * _covered_with_line(own, markers) + _covered(boxes, lines) + _BEYOND * _outside(boxes, frame)
    return _Options(own.boxes, own.lines, costs)


def _joining(request: Request, boxes: _Floats, far: _Floats) -> _Floats:
    """`[K, STOPS, 4]`: small boxes from the edge of the marker to the nearest point of each box; of no size for boxes
    close by, and the ends of the line are the middles of the first and the last."""
    start = np.array(request.at)
    end = np.clip(start, boxes[:, :2] + (-1, 2), boxes[:, 2:] + (1, -1))
    length = np.hypot(*(end - start).T)
    share = np.minimum(1.0, (request.reach + 1.0) / np.maximum(length, 1e-9))
    begin = start + share[:, None] * (end - start)
    steps = np.linspace(0.0, 1.0, _STOPS)[None, :, None]
    stops = begin[:, None] + steps * (end - begin)[:, None]
    half = np.where((far > 0) & (length > request.reach + 3), 1.5, 0.0)[:, None, None]
    found: _Floats = np.concatenate([stops - half, stops + half], axis=2)
    return found


def _taken(options: _Options, option: int) -> _Floats:
    """`[N, 4]`: what other labels keep off."""
    return np.vstack([options.boxes[option], options.lines[option]])


def _covered_with_line(options: _Options, taken: _Floats) -> _Floats:
    """`[K]`: the area that a label and its line share with the boxes of `taken [N, 4]`."""
    lines = _covered(options.lines.reshape(-1, 4), taken).reshape(-1, _STOPS)
    whole: _Floats = _covered(options.boxes, taken) + lines.sum(axis=1)
    return whole


def _covered(boxes: _Floats, taken: _Floats) -> _Floats:
    """`[K]`: the area that each of `boxes [K, 4]` shares with those of `taken [N, 4]`."""
    wide = np.minimum(boxes[:, 2, None], taken[:, 2]) - np.maximum(boxes[:, 0, None], taken[:, 0])
    high = np.minimum(boxes[:, 3, None], taken[:, 3]) - np.maximum(boxes[:, 1, None], taken[:, 1])
    shared: _Floats = (np.maximum(wide, 0) * np.maximum(high, 0)).sum(axis=1)
    return shared


def _outside(boxes: _Floats, frame: Box) -> _Floats:
    low, high = np.array(frame[:2]), np.array(frame[2:])
    beyond: _Floats = (np.maximum(low - boxes[:, :2], 0) + np.maximum(boxes[:, 2:] - high, 0)).sum(axis=1)
    return beyond


def _distances(boxes: _Floats, points: _Floats) -> _Floats:
    """`[K, N]`: from `points [N, 2]` to the nearest edge of `boxes [K, 4]`, 0 inside."""
    across = np.maximum(boxes[:, 0, None] - points[:, 0], points[:, 0] - boxes[:, 2, None])
    along = np.maximum(boxes[:, 1, None] - points[:, 1], points[:, 1] - boxes[:, 3, None])
    far: _Floats = np.hypot(np.maximum(across, 0), np.maximum(along, 0))
    return far


def _placed(options: _Options, option: int) -> Place:
    left, top, right, bottom = options.boxes[option].tolist()
    first, last = options.lines[option][0], options.lines[option][-1]
    leader: tuple[Point, Point] | None = None
    if first[0] < first[2]:
        (x0, y0), (x1, y1) = ((float(s[0] + s[2]) / 2, float(s[1] + s[3]) / 2) for s in (first, last))
        leader = ((x0, y0), (x1, y1))
    base = bottom - 0.24 * (bottom - top)
    across = _DIRECTIONS[option % len(_DIRECTIONS)][0]
    if across == 0:
        return Place((left + right) / 2, base, "middle", leader)
    return Place(left, base, "start", leader) if across > 0 else Place(right, base, "end", leader)

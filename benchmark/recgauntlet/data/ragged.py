"""Lists of different lengths, kept flat and cut by offsets."""

from __future__ import annotations

import numpy as np

from recgauntlet.core.types import IntArray


def places(offsets: IntArray, index: IntArray) -> IntArray:
    """Where the elements of the lists at `index` lie in the flat array that `offsets [I + 1]` cuts, list after list."""
    sizes = offsets[index + 1] - offsets[index]
    ends = np.cumsum(sizes)
    out: IntArray = np.repeat(offsets[index] - (ends - sizes), sizes) + np.arange(int(sizes.sum()))
    return out

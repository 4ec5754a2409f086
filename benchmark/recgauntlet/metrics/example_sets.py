"""Sets of examples as integers: many columns of a record are compared by `&`, `|` and `~` faster than as arrays.

The first of `n` examples is the highest of `n` bits, as in a packed column. How many are in a set is its `bit_count()`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from recgauntlet.core.types import BoolArray


def to_set(bits: BoolArray) -> int:
    """The examples of `bits [n]` that are true."""
    return from_packed(np.packbits(bits).tobytes(), len(bits))


def from_packed(packed: bytes, n: int) -> int:
    """The set in the bits of a packed column; bits behind the `n`-th do not count."""
    return int.from_bytes(packed, "big") >> (-n % 8)


def to_bits(sets: Sequence[int], n: int) -> BoolArray:
    """`[len(sets), n]`: whether each of `n` examples is in each set."""
    size = (n + 7) // 8
    packed = b"".join((one << (-n % 8)).to_bytes(size, "big") for one in sets)
    bits = np.unpackbits(np.frombuffer(packed, dtype=np.uint8).reshape(len(sets), size), axis=1, count=n)
    return bits.view(np.bool_)

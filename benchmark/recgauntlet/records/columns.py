"""Columns of a record: bits and half floats, small enough to keep for every example."""

from __future__ import annotations

import base64
import binascii
import struct
import zlib
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from recgauntlet.core.errors import RecordError
from recgauntlet.core.types import BoolArray
from recgauntlet.metrics.example_sets import from_packed

MAX_PACKED = 64_000_000
"""Bytes that one packed column may unfold to: a record cannot blow up its reader."""
_ZLIB = b"\x78\x01"
"""How a zlib stream begins (RFC 1950)."""
_STORED = 0xFFFF
"""Bytes that a stored block holds at most (RFC 1951)."""


class Packed(BaseModel):
    """A column of `n` values: zlib over packed bits ("bits") or little-endian half floats ("f2"), in base64."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["bits", "f2"]
    n: int = Field(ge=0, le=MAX_PACKED // 2)
    data: str

    @classmethod
    def bits(cls, values: BoolArray) -> Self:
        """Pack booleans `[n]`."""
        return cls(kind="bits", n=len(values), data=_squeeze(np.packbits(values).tobytes()))

    @classmethod
    def floats(cls, values: npt.NDArray[np.floating[Any]]) -> Self:
        """Pack floats `[n]` as half precision."""
        limit = np.finfo(np.float16).max
        return cls(
            kind="f2",
            n=len(values),
            data=_squeeze(np.clip(values, -limit, limit).astype("<f2").tobytes()),
        )

    def to_bool(self) -> BoolArray:
        """The booleans `[n]`; RecordError where the column is broken."""
        raw = self._unfold("bits", (self.n + 7) // 8)
        return np.unpackbits(np.frombuffer(raw, dtype=np.uint8), count=self.n).view(np.bool_)

    def to_set(self) -> int:
        """The booleans as a set of examples (`recgauntlet.metrics.example_sets`); RecordError where the column is
        broken."""
        return from_packed(self._unfold("bits", (self.n + 7) // 8), self.n)

    def to_float(self) -> npt.NDArray[np.float32]:
        """The floats `[n]`; RecordError where the column is broken."""
        return np.frombuffer(self._unfold("f2", 2 * self.n), dtype="<f2").astype(np.float32)

    def to_halves(self) -> npt.NDArray[np.uint16]:
        """The bits of the half floats `[n]`; RecordError where the column is broken."""
        return np.frombuffer(self._unfold("f2", 2 * self.n), dtype="<u2")

    @property
    def size(self) -> int:
        """Bytes that the column unfolds to."""
        return (self.n + 7) // 8 if self.kind == "bits" else 2 * self.n

    def raw(self) -> bytes:
        """The bytes of the column as it unfolds; RecordError where it is broken."""
        return self._unfold(self.kind, self.size)

    @staticmethod
    def stored(raw: bytes) -> bytes:
        """`raw` as the `data` of a column (ASCII), not squeezed: the same characters whichever zlib is installed, and
        quickly made."""
        end = zlib.adler32(raw).to_bytes(4, "big")
        if len(raw) <= _STORED:
            return binascii.b2a_base64(b"".join((_ZLIB, _block(raw, last=True), raw, end)), newline=False)
        parts = [_ZLIB]
        for start in range(0, len(raw), _STORED):
            chunk = raw[start : start + _STORED]
            parts += [_block(chunk, last=start + _STORED >= len(raw)), chunk]
        return binascii.b2a_base64(b"".join([*parts, end]), newline=False)

    def _unfold(self, kind: str, size: int) -> bytes:
        remedy = "restore the record from its release or run the cell again"
        if self.kind != kind:
            raise RecordError(f"a column of kind {self.kind} stands where {kind} belongs", remedy=remedy)
        try:
            squeezed = binascii.a2b_base64(self.data, strict_mode=True)
            raw = zlib.decompressobj().decompress(squeezed, size + 1)
        except (ValueError, zlib.error) as error:  # a letter that is not ASCII is no binascii.Error
            raise RecordError(f"a packed column cannot be unfolded ({error})", remedy=remedy) from error
        if len(raw) != size:
            raise RecordError(f"a packed column does not hold {self.n} values", remedy=remedy)
        return raw


class Columns:
    """The columns of a few records, each unfolded once: more than half are like another one (nothing broken, all
    attacked). Made for one piece of work and dropped with it."""

    def __init__(self) -> None:
        self._sets: dict[tuple[str, int], int] = {}
        self._halves: dict[tuple[str, int], npt.NDArray[np.uint16]] = {}

    def examples(self, column: Packed) -> int:
        """The set of examples in a column of bits, as `Packed.to_set`."""
        key = column.data, column.n
        found = self._sets.get(key)
        if found is None or column.kind != "bits":
            found = self._sets[key] = column.to_set()
        return found

    def halves(self, column: Packed) -> npt.NDArray[np.uint16]:
        """The bits of a column of half floats, as `Packed.to_halves`."""
        key = column.data, column.n
        found = self._halves.get(key)
        if found is None or column.kind != "f2":
            found = self._halves[key] = column.to_halves()
        return found


def _squeeze(raw: bytes) -> str:
    return base64.b64encode(zlib.compress(raw, 9)).decode("ascii")


def _block(chunk: bytes, *, last: bool) -> bytes:
    return struct.pack("<BHH", last, len(chunk), len(chunk) ^ _STORED)

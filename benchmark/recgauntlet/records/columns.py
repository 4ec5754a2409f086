"""Columns of a record: bits, whole numbers and half floats, small enough to keep for every example."""

from __future__ import annotations

import base64
import binascii
import zlib
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from recgauntlet.core.errors import RecordError
from recgauntlet.core.types import BoolArray, IntArray

MAX_BYTES = 64_000_000
"""Bytes of one column after decompression: a record cannot use up the memory of its reader."""
REMEDY = "restore the record from its release or run the cell again"


class _Column(BaseModel):
    """`n` values, as base64 of a zlib stream."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    n: int = Field(ge=0, le=MAX_BYTES // 2)
    data: str

    def _decoded(self, size: int) -> bytes:
        """The `size` bytes of the column.

        Raises RecordError where the text is no base64 of a zlib stream of that size.
        """
        try:
            compressed = binascii.a2b_base64(self.data, strict_mode=True)
            raw = zlib.decompressobj().decompress(compressed, size + 1)
        except (ValueError, zlib.error) as error:  # a letter that is not ASCII is no binascii.Error
            raise RecordError(f"a column cannot be decoded ({error})", remedy=REMEDY) from error
        if len(raw) != size:
            raise RecordError(f"a column does not hold {self.n} values", remedy=REMEDY)
        return raw


class BitColumn(_Column):
    """Booleans, packed eight to a byte, the first in the highest bit."""

    kind: Literal["bits"]

    @classmethod
    def of(cls, values: BoolArray) -> Self:
        """The column of `values [n]`."""
        return cls(kind="bits", n=len(values), data=_encoded(np.packbits(values).tobytes()))

    def to_bool(self) -> BoolArray:
        """The booleans `[n]`; RecordError where the column is broken."""
        raw = self._decoded((self.n + 7) // 8)
        return np.unpackbits(np.frombuffer(raw, dtype=np.uint8), count=self.n).view(np.bool_)


class IntColumn(_Column):
    """Whole numbers from 0 to 2^32 - 1, four bytes each, little-endian."""

    kind: Literal["u4"]

    @classmethod
    def of(cls, values: IntArray) -> Self:
        """The column of `values [n]`; ValueError where one does not fit."""
        if len(values) and not 0 <= values.min() <= values.max() <= np.iinfo(np.uint32).max:
            raise ValueError("a column of whole numbers holds those from 0 to 2^32 - 1")
        return cls(kind="u4", n=len(values), data=_encoded(values.astype("<u4").tobytes()))

    def to_int(self) -> IntArray:
        """The numbers `[n]`; RecordError where the column is broken."""
        return np.frombuffer(self._decoded(4 * self.n), dtype="<u4").astype(np.int64)


class FloatColumn(_Column):
    """Floats in half precision, little-endian."""

    kind: Literal["f2"]

    @classmethod
    def of(cls, values: npt.NDArray[np.floating[Any]]) -> Self:
        """The column of `values [n]`, clipped to the range of half precision."""
        limit = np.finfo(np.float16).max
        return cls(kind="f2", n=len(values), data=_encoded(np.clip(values, -limit, limit).astype("<f2").tobytes()))

    def to_float(self) -> npt.NDArray[np.float32]:
        """The floats `[n]`; RecordError where the column is broken."""
        return np.frombuffer(self._decoded(2 * self.n), dtype="<f2").astype(np.float32)


def _encoded(raw: bytes) -> str:
    return base64.b64encode(zlib.compress(raw, 9)).decode("ascii")

"""A connection that carries a header of JSON and raw arrays: nothing in it is ever executed or unpickled."""

from __future__ import annotations

import itertools
import json
import socket
import struct
import weakref
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

LONGEST_HEADER = 2**20
"""Bytes of a header that a server may send."""
LARGEST = 4 * 2**30
"""Bytes of the arrays of one message that a server may send."""
_LENGTH = struct.Struct("<Q")
_STEP = 64
"""Arrays begin at multiples of so many bytes, as torch lays them out: sums are then the same to the last bit."""
DTYPES = {
    str(dtype).removeprefix("torch."): dtype
    for dtype in (
        *(torch.bool, torch.uint8, torch.int32, torch.int64),
        *(torch.float16, torch.bfloat16, torch.float32, torch.float64),
    )
}


class BrokenLine(ConnectionError):  # noqa: N818  an end more than an error
    """The other end is gone, or sent what is no message."""


class Line:
    """One end of the connection.

    A message is the length of its header (8 bytes, little endian), the header, and the bytes of the arrays that it
    lists under "arrays" as pairs of type and shape, each filled up to a multiple of 64. It is sent at once: every part
    by itself would wake the other process once more.
    """

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        weakref.finalize(self, end.close)
        end.setblocking(True)
        for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):  # fewer changes between the two processes
            end.setsockopt(socket.SOL_SOCKET, option, 2**20)

    def send(self, header: dict[str, Any], tensors: Sequence[Tensor] = ()) -> None:
        """Send a header, and tensors from whatever device they are on.

        Raises
        ------
        BrokenLine
            Where the other end is gone.
        """
        arrays = [_laid_out(tensor.detach().cpu()) for tensor in tensors]
        described = [[str(array.dtype).removeprefix("torch."), list(array.shape)] for array in arrays]
        content = json.dumps({**header, "arrays": described}).encode()
        parts: list[bytes | memoryview] = [_LENGTH.pack(len(content)), content]
        for array in arrays:
            if array.numel():
                filled = _bytes_of(array)
                parts += [filled, bytes(-len(filled) % _STEP)]
        try:
            self._end.sendall(b"".join(parts))
        except OSError as error:
            raise BrokenLine(str(error)) from error

    def header(self, longest: int | None = None) -> dict[str, Any]:
        """The header of the next message, of at most `longest` bytes (None: of any length); `tensors` must follow.

        Raises
        ------
        BrokenLine
            At the end, and where what comes is no header.
        """
        (length,) = _LENGTH.unpack(self._read(_LENGTH.size))
        if longest is not None and length > longest:
            raise BrokenLine(f"a header of {length} bytes")
        try:
            header = json.loads(self._read(length))
        except (ValueError, RecursionError) as error:
            raise BrokenLine("a header that is no JSON") from error
        if not isinstance(header, dict):
            raise BrokenLine("a header that is no object")
        return header

    def tensors(self, header: dict[str, Any]) -> list[Tensor]:
        """The arrays that `header` lists, on the CPU.

        Raises
        ------
        BrokenLine
            Where the list is none, or is of more than LARGEST bytes.
        """
        try:
            kinds = [(DTYPES[kind], tuple(map(_size, shape))) for kind, shape in header["arrays"]]
        except (KeyError, TypeError, ValueError) as error:
            raise BrokenLine("a list of arrays that is none") from error
        sizes = [_bytes(dtype, shape) for dtype, shape in kinds]
        places = [0, *itertools.accumulate(size + -size % _STEP for size in sizes)]
        if places[-1] > LARGEST:
            raise BrokenLine(f"arrays of {places[-1]} bytes")
        whole = torch.empty(places[-1], dtype=torch.uint8)
        if places[-1]:
            self._read_into(_bytes_of(whole))
        tensors = []
        for (dtype, shape), place, size in zip(kinds, places, sizes, strict=False):
            try:
                tensors.append(whole[place : place + size].view(dtype).view(shape))
            except RuntimeError as error:  # sizes whose product does not fit, one of them 0
                raise BrokenLine("arrays of impossible shapes") from error
        return tensors

    def close(self) -> None:
        """End the connection."""
        self._end.close()

    def _read(self, length: int) -> bytes:
        content = bytearray(length)
        self._read_into(memoryview(content))
        return bytes(content)

    def _read_into(self, place: memoryview) -> None:
        while place:
            try:
                count = self._end.recv_into(place)
            except OSError as error:
                raise BrokenLine(str(error)) from error
            if count == 0:
                raise BrokenLine("the connection ended")
            place = place[count:]


def _laid_out(tensor: Tensor) -> Tensor:
    """The same tensor, its elements one after the other in memory; one that is expanded from a single element counts as
    contiguous, but has no step."""
    whole = tensor.contiguous()
    return (
        whole
        if not whole.ndim or whole.stride(-1) == 1
        else torch.empty_like(tensor, memory_format=torch.contiguous_format).copy_(tensor)
    )


def _bytes_of(tensor: Tensor) -> memoryview:
    """The memory of a contiguous tensor that has elements."""
    array: Any = tensor.reshape(-1).view(torch.uint8).numpy()
    return memoryview(array)


def _size(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 2**31:
        raise ValueError(value)
    return value


def _bytes(dtype: torch.dtype, shape: tuple[int, ...]) -> int:
    total = dtype.itemsize
    for size in shape:
        total *= size
    return total

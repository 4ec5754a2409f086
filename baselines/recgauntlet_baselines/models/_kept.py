"""What a model makes of the catalog's items, kept between passes and made again where weights have changed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

MOST_ROWS = 100_000
"""Of a table; larger ones would take gigabytes."""


@dataclass
class _Table:
    state: tuple[tuple[int, int], ...]
    """Of the parameters that it was made with."""
    is_made: Tensor
    rows: Tensor | None = None


class KeptRows:
    """A table for each precision that a model computes in. A row is made when it is first asked for, and is valid as
    long as the parameters are neither replaced nor changed in place."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._tables: dict[torch.dtype, _Table] = {}

    def __deepcopy__(self, memo: dict[int, object]) -> KeptRows:
        return KeptRows(self._count)  # a copy of the model has parameters of its own

    def of(
        self,
        wanted: Tensor,
        parameters: Iterable[nn.Parameter],
        make: Callable[[Tensor], Tensor],
        *,
        training: bool,
    ) -> Tensor:
        """`[..., *row]`: the rows `wanted [...]`, of which `make` computes those `[K, *row]` of `[K]` numbers that are
        not there, with the `parameters` as they are now. Nothing is kept in `training`, which draws dropout, where
        gradients pass, where a graph is exported, and of tables that are too large."""
        passing = training or torch.is_grad_enabled() or torch.compiler.is_compiling()
        if passing or self._count > MOST_ROWS or not wanted.numel():
            own, place = torch.unique(wanted, return_inverse=True)
            return make(own)[place]
        table = self._now(list(parameters))
        missing = torch.unique(wanted[~table.is_made[wanted]])
        if len(missing):
            made = make(missing)
            table.rows = made.new_empty(self._count, *made.shape[1:]) if table.rows is None else table.rows
            table.rows[missing] = made
            table.is_made[missing] = True
        assert table.rows is not None  # something is wanted, so something was made
        return table.rows[wanted]

    def _now(self, parameters: list[nn.Parameter]) -> _Table:
        device = parameters[0].device
        is_cast = torch.is_autocast_enabled(device.type)
        precision = torch.get_autocast_dtype(device.type) if is_cast else parameters[0].dtype
        state = tuple((parameter.data_ptr(), parameter._version) for parameter in parameters)
        known = self._tables.get(precision)
        if known is None or known.state != state:
            is_made = torch.zeros(self._count, dtype=torch.bool, device=device)
            known = self._tables[precision] = _Table(state, is_made)
        return known

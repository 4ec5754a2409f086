"""A table over the catalog's items that is kept between passes, and made again where weights have changed."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

MOST_ITEMS = 20_000
"""Of a catalog; tables of larger ones would take gigabytes."""


class KeptTable:
    """One table for each precision that a model computes in, valid as long as the parameters that it was made with are
    neither replaced nor changed in place."""

    def __init__(self) -> None:
        self._tables: dict[torch.dtype, tuple[tuple[object, ...], Tensor]] = {}

    def of(self, parameters: Iterable[nn.Parameter], make: Callable[[], Tensor]) -> Tensor:
        """What `make` gives with the `parameters` as they are now."""
        own = list(parameters)
        kind = own[0].device.type
        precision = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else own[0].dtype
        state = tuple((parameter.data_ptr(), parameter._version) for parameter in own)
        known = self._tables.get(precision)
        if known is None or known[0] != state:
            known = self._tables[precision] = (state, make())
        return known[1]

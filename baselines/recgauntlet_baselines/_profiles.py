"""What training users took, as a matrix: what looks at users as profiles works on it."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from recgauntlet.core.dataset import Pairs
from recgauntlet.core.types import PAD


def profiles(pairs: Pairs) -> tuple[npt.NDArray[np.int64], sparse.csr_array]:
    """The users of `pairs` in rising order, `[U]`, and what each took, `[U, N]`: 1 for an item that was clicked or
    stands in a history; `N` is one more than the last item that was taken."""
    users, row = np.unique(pairs.users, return_inverse=True)
    items = np.concatenate([pairs.clicked[:, None], pairs.histories], axis=1)
    rows = np.broadcast_to(row[:, None], items.shape)[items != PAD]
    columns = items[items != PAD]
    shape = (len(users), int(columns.max(initial=-1)) + 1)
    taken = sparse.csr_array((np.ones(len(rows)), (rows, columns)), shape=shape)
    taken.data[:] = 1.0  # duplicates were summed: an item counts once
    return users, taken


def size(matrix: sparse.csr_array) -> tuple[int, int]:
    """The rows and columns, which the type checkers' stubs have as optional."""
    shape: Any = matrix.shape
    return int(shape[0]), int(shape[1])


def without_users(pairs: Pairs, dropped: npt.NDArray[np.int64]) -> Pairs:
    """The pairs of all other users."""
    return pairs.select(np.flatnonzero(~np.isin(pairs.users, dropped)))

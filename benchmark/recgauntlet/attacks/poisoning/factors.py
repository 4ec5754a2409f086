"""The matrix factorization that learned poisoning attacks train in place of the victim, as a function of the accounts.

It is the weighted one for implicit data (Hu, Koren and Volinsky 2008), with `r` 1 where a user took an item, else 0:

    sum over users u and items i of (1 + alpha * r_ui) * (r_ui - x_u . y_i)^2 + ridge * (|X|^2 + |Y|^2)

The attacker's rows of `r` may hold any number from 0 to 1, and everything is differentiable in them. (The library
`implicit` trains the same model but gives no derivative; a sweep over 3,700 users and 3,100 items takes a tenth of a
second here.) Numbers are doubles: where an item is chosen must not depend on the number of threads.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from scipy.sparse import csr_array
from torch import Tensor

from recgauntlet.core.rng import Randomness
from recgauntlet.core.types import IntArray
from recgauntlet.data.takes import Takes


@dataclass(frozen=True)
class Factorization:
    """The training of `Y [N, rank]`, the items' vectors, on genuine and fake users.

    taken, taken_by
        `[U, N]` and `[N, U]` sparse: 1 where a genuine user (in the order of their numbers) took an item.
    rank, alpha, ridge
        Coordinates of a vector, and the weights in what is minimized.
    """

    taken: Tensor
    taken_by: Tensor
    rank: int
    alpha: float
    ridge: float

    @classmethod
    def of(cls, training: Takes, item_count: int, *, rank: int, alpha: float, ridge: float) -> Factorization:
        """On the interactions `training`."""
        users = np.unique(training.users, return_inverse=True)[1]
        taken = _sparse(users, training.items, (int(users.max(initial=-1)) + 1, item_count))
        taken_by = _sparse(training.items, users, (item_count, int(users.max(initial=-1)) + 1))
        return cls(taken, taken_by, rank, alpha, ridge)

    def start(self, rng: Randomness) -> Tensor:
        """Items' vectors to begin with, `[N, rank]`: drawn, small."""
        size = (self.taken.shape[1], self.rank)
        return 0.1 * torch.randn(size, generator=rng.torch(), dtype=torch.float64)

    def users(self, items: Tensor) -> Tensor:
        """The best `X [U, rank]` of the genuine users for `items`."""
        return self._solved(items, self._by_users(_squares(items)), (1 + self.alpha) * self._by_users(items))

    def fakes(self, items: Tensor, profiles: Tensor) -> Tensor:
        """The best `[A, rank]` of accounts with the rows `profiles [A, N]`."""
        return self._solved(items, profiles @ _squares(items), (profiles + self.alpha * profiles**2) @ items)

    def sweep(self, items: Tensor, profiles: Tensor) -> Tensor:
        """One sweep of alternating least squares: the best users for `items`, and then the best items for these."""
        users, fakes = self.users(items), self.fakes(items, profiles)
        squares = self._by_items(_squares(users)) + profiles.T @ _squares(fakes)
        wanted = (1 + self.alpha) * self._by_items(users) + (profiles + self.alpha * profiles**2).T @ fakes
        return self._solved(torch.cat([users, fakes]), squares, wanted)

    def trained(self, items: Tensor, profiles: Tensor, sweeps: int) -> Tensor:
        """`items` after so many sweeps, without a derivative."""
        with torch.no_grad():
            for _ in range(sweeps):
                items = self.sweep(items, profiles)
        return items

    def _by_users(self, items: Tensor) -> Tensor:
        return cast("Tensor", _Product.apply(self.taken, self.taken_by, items))  # type: ignore[no-untyped-call]

    def _by_items(self, users: Tensor) -> Tensor:
        return cast("Tensor", _Product.apply(self.taken_by, self.taken, users))  # type: ignore[no-untyped-call]

    def _solved(self, others: Tensor, squares: Tensor, wanted: Tensor) -> Tensor:
        ridge = self.ridge * torch.eye(self.rank, dtype=torch.float64)
        weights = (others.T @ others + ridge) + self.alpha * squares.view(-1, self.rank, self.rank)
        return torch.cholesky_solve(wanted.unsqueeze(-1), torch.linalg.cholesky(weights)).squeeze(-1)


def _squares(vectors: Tensor) -> Tensor:
    """`[M, rank * rank]`: the outer product of each vector with itself."""
    return (vectors.unsqueeze(2) * vectors.unsqueeze(1)).flatten(1)


class _Product(torch.autograd.Function):
    """`sparse @ dense`, where `transposed` is `sparse.T`: torch's own derivative would transpose it anew each time."""

    @staticmethod
    def forward(ctx: Any, sparse: Tensor, transposed: Tensor, dense: Tensor) -> Tensor:
        ctx.transposed = transposed
        return sparse @ dense

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, None, Tensor]:
        return None, None, ctx.transposed @ gradients[0]


def _sparse(rows: IntArray, columns: IntArray, shape: tuple[int, int]) -> Tensor:
    found = csr_array((np.ones(len(rows)), (rows, columns)), shape=shape)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # torch calls its sparse CSR tensors a beta
        return torch.sparse_csr_tensor(
            torch.from_numpy(found.indptr), torch.from_numpy(found.indices), torch.from_numpy(found.data), shape
        )

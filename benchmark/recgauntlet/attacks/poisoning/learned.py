"""Poisoning by gradients: accounts on which a matrix factorization learns high scores of the targets.

Both attacks move the fillers of all accounts, numbers from 0 to 1, up a gradient and then take each account's highest.
They differ as their papers do: in the derivative of the training, in what is to rise, and in when numbers become items.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from recgauntlet.attacks.poisoning.base import (
    Knowledge,
    Poisoning,
    PoisoningKnowledge,
    dated,
    recent_users,
    targets_of,
)
from recgauntlet.attacks.poisoning.factors import Factorization
from recgauntlet.core.poison import FakeAccounts, Targets
from recgauntlet.core.references import bibtex
from recgauntlet.core.rng import Randomness
from recgauntlet.core.types import IntArray
from recgauntlet.data.takes import Takes
from recgauntlet.threats.training_data import PoisonBudget

_TINY = 1e-30


@dataclass(frozen=True)
class Problem:
    """What a learned attack optimizes: the fillers `[A, N]` of `A` accounts.

    surrogate
        The model that is trained on them.
    audience
        `[V]` its users whose scores count: those of the recent interactions, because the users of tomorrow are more
        like these; all where there is no clock.
    targets
        `[T]` catalog indices.
    before
        `[B, N]` 1 at the items of the accounts that were added already.
    own
        `[A, N]` 1 at the targets that each account holds.
    allowed
        `[N]` 1 at items that may be fillers: those that were taken, but for the targets.
    fillers
        `[A]` how many each account holds.
    """

    surrogate: Factorization
    audience: Tensor
    targets: Tensor
    before: Tensor
    own: Tensor
    allowed: Tensor
    fillers: Tensor

    def rows(self, fillers: Tensor) -> Tensor:
        """`[B + A, N]`: all accounts, those of before first."""
        return torch.cat([self.before, self.own + fillers])

    def highest(self, values: Tensor) -> Tensor:
        """`[A, N]`: 1 at the allowed items with the highest values, as many as each account holds."""
        order = torch.where(self.allowed > 0, values, -torch.inf).argsort(dim=1, descending=True, stable=True)
        kept = torch.arange(values.shape[1])[None, :] < self.fillers[:, None]
        return torch.zeros_like(values).scatter_(1, order, kept.to(values.dtype))

    def nearest(self, values: Tensor) -> Tensor:
        """`[A, N]`: the nearest point to `values` among the numbers from 0 to 1 that add up to each account's fillers,
        0 where an item is not allowed. (The values less a threshold, cut off; the threshold is searched.)"""
        values = torch.where(self.allowed > 0, values, -torch.inf)
        high = values.amax(dim=1)
        low = torch.where(self.allowed > 0, values, torch.inf).amin(dim=1) - 1
        for _ in range(60):
            middle = (low + high) / 2
            is_low = (values - middle[:, None]).clamp(0, 1).sum(dim=1) > self.fillers
            low, high = torch.where(is_low, middle, low), torch.where(is_low, high, middle)
        return (values - high[:, None]).clamp(0, 1)


@dataclass(kw_only=True, eq=False)
class _Learned(Poisoning):
    """Fillers that start as a draw by recent popularity and move `steps` times.

    An account takes its fillers in random order and then its targets, so that a model of histories sees each target
    follow the whole profile.

    Parameters
    ----------
    rank, alpha, ridge
        Of the surrogate (`Factorization`).
    steps
        Of the ascent.
    """

    knowledge: ClassVar[Knowledge] = "training-data"

    rank: int = 16
    alpha: float = 10.0
    ridge: float = 10.0
    steps: int = 15

    def accounts(
        self, knowledge: PoisoningKnowledge, targets: Targets, budget: PoisonBudget, rng: Randomness
    ) -> FakeAccounts:
        if knowledge.training is None:
            raise ValueError("the surrogate needs the genuine training interactions")
        owns = [targets_of(account, targets, budget.length) for account in range(budget.accounts)]
        problem = self._problem(knowledge, knowledge.training, targets, owns, budget.length)
        chances = torch.from_numpy(np.maximum(0.1, knowledge.recent))
        # the highest of logarithms with such noise are a draw without replacement
        draws = torch.rand(problem.own.shape, generator=rng.child("first").torch(), dtype=torch.float64)
        first = problem.highest(chances.log() - (-draws.log()).log())
        found = self.optimized(problem, first, rng).numpy()
        profiles = []
        for account, own in enumerate(owns):
            draw = rng.child("profile").numpy(account)
            profiles.append(np.concatenate([draw.permutation(np.flatnonzero(found[account])), draw.permutation(own)]))
        return dated(profiles, knowledge, rng.child("times"))

    @abstractmethod
    def optimized(self, problem: Problem, fillers: Tensor, rng: Randomness) -> Tensor:
        """Fillers (0 and 1), starting from `fillers`."""

    def _problem(
        self, knowledge: PoisoningKnowledge, training: Takes, targets: Targets, owns: Sequence[IntArray], length: int
    ) -> Problem:
        size = len(knowledge.catalog)
        before = torch.zeros((knowledge.before.count, size), dtype=torch.float64)
        before[knowledge.before.accounts, knowledge.before.items] = 1.0
        own = torch.zeros((len(owns), size), dtype=torch.float64)
        for account, items in enumerate(owns):
            own[account, items] = 1.0
        allowed = torch.from_numpy(knowledge.popularity > 0).to(torch.float64)
        allowed[targets.items] = 0.0
        return Problem(
            Factorization.of(training, size, rank=self.rank, alpha=self.alpha, ridge=self.ridge),
            torch.from_numpy(recent_users(knowledge, training)),
            torch.from_numpy(targets.items),
            before,
            own,
            allowed,
            (length - own.sum(dim=1)).clamp(max=float(allowed.sum())),
        )


@dataclass(kw_only=True, eq=False)
class PGA(_Learned):
    """Projected gradient ascent through a matrix factorization trained by alternating least squares (Li et al. 2016).

    What rises is the mean of the scores `x_u . y_t` over users `u` and targets `t` (the paper's integrity attack, equal
    weights). With `Y = S(Y, F)`, the fixed point of a sweep `S` of least squares on the accounts `F`, the implicit
    function theorem gives `dL/dF = (dL/dY) (I - dS/dY)^-1 (dS/dF)`, of whose inverse the first `terms` terms of the
    series `I + dS/dY + ...` are taken. Each step is projected onto what the accounts may hold; items are chosen at the
    end.

    Deviations. The paper factorizes ratings that are there and takes one term with the vectors of the users held fixed;
    here unknown pairs weigh too (implicit data), and the users move. Steps are scaled by the highest slope of each
    account. Only the scores of recent users count. The surrogate goes on from the last step's vectors.

    Parameters
    ----------
    rate
        How far the number with the highest slope of an account moves in a step.
    terms
        Of the series.
    """

    name: ClassVar[str] = "pga"
    citation: ClassVar[str] = bibtex("li2016data")

    rate: float = 0.2
    terms: int = 3

    def optimized(self, problem: Problem, fillers: Tensor, rng: Randomness) -> Tensor:
        surrogate = problem.surrogate
        items = surrogate.trained(surrogate.start(rng.child("surrogate")), problem.rows(fillers), 12)
        for _ in range(self.steps):
            items = surrogate.trained(items, problem.rows(fillers), 2)
            fillers = problem.nearest(fillers + self.rate * _scaled(self.slope(problem, fillers, items)))
        return problem.highest(fillers)

    def slope(self, problem: Problem, fillers: Tensor, items: Tensor) -> Tensor:
        """`[A, N]`: the derivative of the targets' mean score, where `items` is the fixed point."""
        fillers, items = fillers.clone().requires_grad_(), items.clone().requires_grad_()
        again = problem.surrogate.sweep(items, problem.rows(fillers))
        users = problem.surrogate.users(again)[problem.audience]
        (wave,) = torch.autograd.grad((users @ again[problem.targets].T).mean(), again, retain_graph=True)
        total = torch.zeros_like(fillers)
        for _ in range(self.terms):
            wave, added = torch.autograd.grad(again, (items, fillers), wave, retain_graph=True)
            total += added
        return total * problem.allowed


@dataclass(kw_only=True, eq=False)
class RevAdv(_Learned):
    """Gradient descent through the unrolled training of a weighted matrix factorization (Tang et al. 2020).

    What falls is `-log softmax(sharpness * X Y^T)` at the targets, the mean over users. In every step the surrogate is
    trained anew on items, the highest numbers of each account; the last `unrolled` sweeps are differentiable, and the
    numbers move with momentum along the derivative at these items.

    Deviations. The paper trains by stochastic gradients, here alternating least squares; its softmax has no
    `sharpness`, without which scores from 0 to 1 make it nearly even over a few thousand items. It projects the numbers
    themselves onto 0 and 1, after which small steps are lost; here they stay numbers, as in straight-through
    estimation. Steps are scaled by the highest slope of each account. Only the scores of recent users count.

    Parameters
    ----------
    rate, momentum
        Of the descent: how far the number with the highest slope of an account moves in the first step, and what of a
        step the next one repeats.
    sweeps, unrolled
        Of the training of the surrogate: all, and the differentiable ones at the end.
    sharpness
        Of the softmax.
    """

    name: ClassVar[str] = "revadv"
    citation: ClassVar[str] = bibtex("tang2020revisiting")

    rate: float = 0.3
    momentum: float = 0.9
    sweeps: int = 8
    unrolled: int = 2
    sharpness: float = 10.0

    def optimized(self, problem: Problem, fillers: Tensor, rng: Randomness) -> Tensor:
        start = problem.surrogate.start(rng.child("surrogate"))
        values, velocity = fillers / 2, torch.zeros_like(fillers)
        for _ in range(self.steps):
            chosen = problem.highest(values).requires_grad_()
            (slope,) = torch.autograd.grad(self.loss(problem, chosen, start), chosen)
            velocity = self.momentum * velocity - _scaled(slope * problem.allowed)
            values = values + self.rate * velocity
        return problem.highest(values)

    def loss(self, problem: Problem, fillers: Tensor, start: Tensor) -> Tensor:
        """The loss after training on `fillers` from the items' vectors `start`."""
        surrogate, rows = problem.surrogate, problem.rows(fillers)
        items = surrogate.trained(start, rows, self.sweeps - self.unrolled)
        for _ in range(self.unrolled):
            items = surrogate.sweep(items, rows)
        scores = self.sharpness * surrogate.users(items)[problem.audience] @ items.T
        return -torch.log_softmax(scores, dim=1)[:, problem.targets].mean()


def _scaled(slopes: Tensor) -> Tensor:
    """The slopes of each account, the highest of which becomes 1."""
    return slopes / slopes.abs().amax(dim=1, keepdim=True).clamp(min=_TINY)

"""Search spaces of hyper-parameters; every method gets the same number of trials in its own space."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from recgauntlet.core.types import Scalar


@dataclass(frozen=True)
class Between:
    """A number from `low` to `high`, both included; a whole number where both ends are.

    low
        The smallest.
    high
        The largest.
    log
        Draw evenly in the logarithm.
    """

    low: float
    high: float
    log: bool = False


@dataclass(frozen=True)
class OneOf:
    """One of a few values.

    values
        All of them.
    """

    values: tuple[Scalar, ...]


SearchSpace = Mapping[str, Between | OneOf]
"""By the name of the constructor's argument. What is not named keeps its default."""

"""Sanity checks: small predicates, each with a remedy, that test whether a row's robustness is real.

A row with a failed check stays on the board, flagged and unranked. The module `model` checks the clean scores,
`behaviour` how the model makes them, `gradients` what an attack can follow, and `threat` what the attacks found.
"""

from __future__ import annotations

from collections.abc import Sequence

from recgauntlet.records.schema import Gate

LARGEST = 1e300


def failed(checks: Sequence[Gate]) -> tuple[Gate, ...]:
    """The checks that did not pass."""
    return tuple(check for check in checks if not check.passed)


def at_most(*, name: str, value: float, limit: float, explanation: str, remedy: str, threat: str = "") -> Gate:
    """A check that passes up to its limit; `threat` is empty for checks of the model."""
    return _check(value <= limit, name, value, limit, explanation, remedy, threat)


def at_least(*, name: str, value: float, limit: float, explanation: str, remedy: str, threat: str = "") -> Gate:
    """A check that passes from its limit on."""
    return _check(value >= limit, name, value, limit, explanation, remedy, threat)


def _check(passed: bool, name: str, value: float, limit: float, explanation: str, remedy: str, threat: str) -> Gate:
    value = min(max(value, -LARGEST), LARGEST)  # JSON has no infinity
    return Gate(
        name=name, threat=threat, passed=passed, value=value, limit=limit, explanation=explanation, remedy=remedy
    )

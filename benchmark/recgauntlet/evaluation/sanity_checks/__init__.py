"""Sanity checks (gates): small predicates, each with a remedy, that test whether a row's robustness is real.

A row with a failed gate stays on the board, flagged and unranked. `recgauntlet.evaluation.sanity_checks.model` looks
at the scores,
`recgauntlet.evaluation.sanity_checks.behaviour` at how the model makes them,
`recgauntlet.evaluation.sanity_checks.gradients` at what an attack can follow,
`recgauntlet.evaluation.sanity_checks.threat` at what the attacks found.
"""

from __future__ import annotations

from collections.abc import Sequence

from recgauntlet.records.schema import Gate

LARGEST = 1e300


def failed(gates: Sequence[Gate]) -> tuple[Gate, ...]:
    """The gates that did not pass."""
    return tuple(gate for gate in gates if not gate.passed)


def at_most(*, name: str, value: float, limit: float, explanation: str, remedy: str, threat: str = "") -> Gate:
    """A gate that passes up to its limit; `threat` is empty for checks of the model."""
    return _gate(name, threat, value <= limit, value, limit, explanation, remedy)


def at_least(*, name: str, value: float, limit: float, explanation: str, remedy: str, threat: str = "") -> Gate:
    """A gate that passes from its limit on."""
    return _gate(name, threat, value >= limit, value, limit, explanation, remedy)


def _gate(name: str, threat: str, passed: bool, value: float, limit: float, explanation: str, remedy: str) -> Gate:
    finite = min(max(value, -LARGEST), LARGEST)  # JSON has no infinity
    return Gate(
        name=name, threat=threat, passed=passed, value=finite, limit=limit, explanation=explanation, remedy=remedy
    )

"""Sanity gates: small predicates, each with a remedy, that say whether a row's robustness may be believed.

A row with a failed gate stays on the board, flagged and unranked. `recgauntlet.gates.model` looks at the scores,
`recgauntlet.gates.behaviour` at how the model makes them, `recgauntlet.gates.gradients` at what an attack can follow,
`recgauntlet.gates.threat` at what the attacks found.
"""

from __future__ import annotations

from collections.abc import Sequence

from recgauntlet.record import Gate


def failed(gates: Sequence[Gate]) -> tuple[Gate, ...]:
    """The gates that did not pass."""
    return tuple(gate for gate in gates if not gate.passed)

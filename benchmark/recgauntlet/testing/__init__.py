"""The public conformance suite: the contracts of defenses, models, tasks and attacks, as checks to run locally.

    from recgauntlet.testing import Check, parametrize_with_checks

    @parametrize_with_checks("defenses", "my-defense")
    def test_conforms(check: Check) -> None:
        check()

Without pytest: `for check in checks_for("defenses", "my-defense"): check()`, or `recgauntlet check my-defense`.
docs/extend/conformance.md explains every check.
"""

from __future__ import annotations

from recgauntlet.testing.check import Check, CheckSkipped, ConformanceError
from recgauntlet.testing.outcomes import Outcome, run_checks
from recgauntlet.testing.registry import KINDS, Kind, checks_for, parametrize_with_checks

__all__ = [
    "KINDS",
    "Check",
    "CheckSkipped",
    "ConformanceError",
    "Kind",
    "Outcome",
    "checks_for",
    "parametrize_with_checks",
    "run_checks",
]

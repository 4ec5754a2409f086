"""Running checks outside a test framework, with expected failures."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from recgauntlet.core.errors import PluginError
from recgauntlet.core.types import Progress
from recgauntlet.testing.check import Check, CheckSkipped, ConformanceError

Status = Literal["passed", "failed", "expected", "skipped", "unexpected"]
"""`expected`: it failed, as announced; `unexpected`: it passed although a failure was announced, an error."""


@dataclass(frozen=True)
class Outcome:
    """What one check came to.

    check
        The check.
    status
        "passed", "failed", "expected", "skipped" or "unexpected".
    words
        What it measured, why it was skipped, or the problem.
    remedy
        What to change after a failure.
    seconds
        How long it took.
    """

    check: Check
    status: Status
    words: str
    remedy: str
    seconds: float

    @property
    def bad(self) -> bool:
        """Whether the plugin does not conform because of it."""
        return self.status in ("failed", "unexpected")


def run_checks(
    checks: Sequence[Check],
    *,
    expected_failures: Mapping[str, str] | None = None,
    progress: Progress = lambda what, share: None,
) -> tuple[Outcome, ...]:
    """Run every check, whatever the others came to.

    Raises
    ------
    PluginError
        Where an expected failure names no check, or gives no reason.
    """
    expected = require_known(checks, expected_failures)
    found = []
    for number, check in enumerate(checks):
        progress(check.name, number / max(1, len(checks)))
        found.append(_run(check, expected.get(check.name)))
    return tuple(found)


def require_known(checks: Sequence[Check], expected_failures: Mapping[str, str] | None) -> dict[str, str]:
    """The expected failures; PluginError where one names no check, or gives no reason."""
    expected = dict(expected_failures or {})
    known = [check.name for check in checks]
    for name, reason in expected.items():
        if name not in known:
            raise PluginError(
                f"there is no check named {name!r}",
                field="expected_failures",
                remedy=f"choose among: {', '.join(known)}",
            )
        if not reason.strip():
            raise PluginError(
                f"the expected failure of {name!r} has no reason",
                field="expected_failures",
                remedy="say why the plugin cannot pass it",
            )
    return expected


def _run(check: Check, expected: str | None) -> Outcome:
    started = time.perf_counter()

    def outcome(status: Status, words: str, remedy: str = "") -> Outcome:
        return Outcome(check, status, words, remedy, time.perf_counter() - started)

    try:
        measured = check()
    except ConformanceError as error:
        if expected is not None:
            return outcome("expected", f"{expected} ({error.problem})")
        return outcome("failed", error.problem, error.remedy)
    except CheckSkipped as error:
        return outcome("skipped", str(error))
    if expected is not None:
        return outcome("unexpected", f"it passes, a failure was expected ({expected})", "do not announce it any more")
    return outcome("passed", measured)

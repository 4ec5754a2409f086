"""The conformance suite in a plugin's own tests: one pytest test a check."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from recgauntlet.core.types import Scalar
from recgauntlet.testing.check import ConformanceError
from recgauntlet.testing.outcomes import require_known
from recgauntlet.testing.registry import checks_for
from recgauntlet.testing.rules import Kind


def parametrize_with_checks(
    kind: Kind,
    plugin: Any,
    *,
    expected_failures: Mapping[str, str] | None = None,
    options: Mapping[str, Scalar] | None = None,
) -> Callable[[Callable[..., object]], Callable[..., object]]:
    """A pytest decorator that runs every check of a plugin as a test of its own.

    ::

        @parametrize_with_checks("defenses", "my-defense")
        def test_conforms(check: Check) -> None:
            check()

    Parameters
    ----------
    kind, plugin, options
        As for `checks_for`.
    expected_failures
        Reasons by name of check. Such a test is an expected failure (xfail, strict): it is an error where it passes.

    Raises
    ------
    PluginError
        Where there is no such plugin, or an expected failure names no check or gives no reason.
    """
    import pytest

    checks = checks_for(kind, plugin, options=options)
    expected = require_known(checks, expected_failures)
    cases = []
    for check in checks:
        reason = expected.get(check.name)
        marks = [] if reason is None else [pytest.mark.xfail(raises=ConformanceError, reason=reason, strict=True)]
        cases.append(pytest.param(check, id=check.name, marks=marks))
    decorate: Callable[[Callable[..., object]], Callable[..., object]] = pytest.mark.parametrize("check", cases)
    return decorate

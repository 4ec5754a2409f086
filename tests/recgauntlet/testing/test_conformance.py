"""The conformance suite's own behaviour: names, expected failures, what a failure says, a stranger's tests."""

from __future__ import annotations

import os
import pickle
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from recgauntlet import Defense
from recgauntlet.core.errors import PluginError
from recgauntlet.core.types import Scalar
from recgauntlet.testing import KINDS, Check, CheckSkipped, ConformanceError, Kind, checks_for, run_checks
from recgauntlet.testing.registry import rules
from recgauntlet.testing.tiny_models import TinyTitles


def failing() -> str | None:
    raise ConformanceError("it is wrong")


def skipping() -> str | None:
    raise CheckSkipped("nothing to see")


def made(name: str, run: object = lambda: "3 of 3") -> Check:
    return Check(name, "about", run, "make it right")  # type: ignore[arg-type]


def test_every_check_has_a_unique_name_and_says_what_it_looks_at_and_what_to_change() -> None:
    for kind in KINDS:
        names = [rule.name for rule in rules(kind)]
        assert len(set(names)) == len(names)
        assert all(rule.about and rule.remedy for rule in rules(kind))


def test_a_failure_says_what_to_change() -> None:
    with pytest.raises(ConformanceError, match=r"it is wrong\n  what to change: make it right"):
        made("a", failing)()


def test_whatever_a_plugin_raises_is_told_with_its_place() -> None:
    def crash() -> str | None:
        raise ZeroDivisionError("oh")

    with pytest.raises(
        ConformanceError, match=r"it raised ZeroDivisionError: oh \(at .*test_conformance.py:\d+ crash\)"
    ):
        made("a", crash)()


def test_a_failure_crosses_process_borders() -> None:
    error = pickle.loads(pickle.dumps(ConformanceError("a", "b")))  # noqa: S301
    assert (error.problem, error.remedy) == ("a", "b")


def test_outcomes_tell_expected_failures_apart_and_a_failure_that_does_not_come_is_an_error() -> None:
    checks = [made("good"), made("bad", failing), made("skip", skipping), made("known", failing), made("mended")]
    found = run_checks(checks, expected_failures={"known": "a law of nature", "mended": "once was"})
    assert [o.status for o in found] == ["passed", "failed", "skipped", "expected", "unexpected"]
    assert [o.bad for o in found] == [False, True, False, False, True]
    assert found[0].words == "3 of 3"
    assert (found[1].words, found[1].remedy) == ("it is wrong", "make it right")
    assert found[2].words == "nothing to see"
    assert "a law of nature" in found[3].words


@pytest.mark.parametrize(
    ("expected", "problem"), [({"fly": "it cannot"}, "no check named 'fly'"), ({"good": "  "}, "has no reason")]
)
def test_expected_failures_need_a_check_and_a_reason(expected: dict[str, str], problem: str) -> None:
    with pytest.raises(PluginError, match=problem):
        run_checks([made("good")], expected_failures=expected)


def test_an_unknown_plugin_is_an_error_before_anything_runs() -> None:
    with pytest.raises(PluginError, match="no defense named 'pgdd'"):
        checks_for("defenses", "pgdd")


def test_options_change_what_is_checked() -> None:
    (check,) = (c for c in checks_for("defenses", "pgd", options={"steps": 1}) if c.name == "resources")
    assert check() == "2.0 x the forward and 2.0 x the backward passes of plain training"


@pytest.mark.parametrize(
    ("kind", "plugin", "options", "problem"),
    [
        ("defenses", "pgd", {"speed": 3}, "pgd has no option 'speed'"),
        ("models", "nrms", {"heads": "two"}, "'two' is no int"),
        ("models", TinyTitles, {"speed": 3}, "TinyTitles has no option 'speed'"),
        ("tasks", "news-click", {"speed": 3}, "a task has no options"),
    ],
)
def test_wrong_options_are_an_error_before_anything_runs(
    kind: Kind, plugin: Any, options: dict[str, Scalar], problem: str
) -> None:
    with pytest.raises(PluginError, match=problem):
        checks_for(kind, plugin, options=options)


def test_what_is_no_class_is_told_so() -> None:
    with pytest.raises(ConformanceError, match="3 is no subclass of Defense"):
        checks_for("defenses", 3)[0]()


def test_checks_leave_the_process_as_it_was(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Untidy(Defense):
        def filter(self, pairs):  # type: ignore[no-untyped-def]
            os.environ["RECGAUNTLET_UNTIDY"] = "1"
            os.chdir(tmp_path)
            torch.manual_seed(5)
            np.random.seed(5)
            random.seed(5)
            torch.set_grad_enabled(False)
            return pairs

    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)
    expected = random.Random(1).random(), np.random.RandomState(1).rand(), torch.Generator().manual_seed(1)
    before = Path.cwd(), torch.are_deterministic_algorithms_enabled(), torch.get_num_threads()
    run_checks(checks_for("defenses", Untidy))
    assert (Path.cwd(), torch.are_deterministic_algorithms_enabled(), torch.get_num_threads()) == before
    assert torch.is_grad_enabled()
    assert "RECGAUNTLET_UNTIDY" not in os.environ
    assert (random.random(), np.random.rand()) == expected[:2]
    assert torch.equal(torch.rand(1), torch.rand(1, generator=expected[2]))


STRANGER = """
from recgauntlet import Defense
from recgauntlet.testing import Check, parametrize_with_checks


class Positional(Defense):
    def __init__(self, epsilon: float = 0.25) -> None:
        self.epsilon = epsilon


@parametrize_with_checks("defenses", Positional)
def test_fails(check: Check) -> None:
    check()


@parametrize_with_checks("defenses", Positional, expected_failures={"constructor": "kept for old callers"})
def test_is_expected_to_fail(check: Check) -> None:
    check()


@parametrize_with_checks("defenses", Defense, expected_failures={"constructor": "it does not fail any more"})
def test_should_fail(check: Check) -> None:
    check()


@parametrize_with_checks("models", "nrms")
def test_skips(check: Check) -> None:
    check() if check.name == "precision" else None
"""


def test_a_strangers_pytest_shows_one_test_a_check(tmp_path: Path) -> None:
    (tmp_path / "test_stranger.py").write_text(STRANGER, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-rA", "-W", "error"]
    command += ["-k", "constructor or precision", "test_stranger.py"]
    wide = os.environ | {"COLUMNS": "250"}
    done = subprocess.run(command, cwd=tmp_path, env=wide, capture_output=True, text=True, check=False)
    text = done.stdout
    assert "FAILED test_stranger.py::test_fails[constructor]" in text
    assert "what to change: write def __init__(self, *, ...)" in text
    assert "XFAIL test_stranger.py::test_is_expected_to_fail[constructor] - kept for old callers" in text
    assert "FAILED test_stranger.py::test_should_fail[constructor] - [XPASS(strict)] it does not fail any more" in text
    assert "SKIPPED [1]" in text
    assert "2 failed, 4 passed, 1 skipped, " in text
    assert " 1 xfailed" in text


def test_the_suite_does_not_need_pytest(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['pytest'] = None\n"
        "from recgauntlet.testing import checks_for\n"
        "for check in checks_for('defenses', 'standard'): check()\n"
        "print('conforms')"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "conforms", done.stderr

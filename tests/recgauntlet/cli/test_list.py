"""`recgauntlet list`, `data list` and `--help` with plugins of others, some of which cannot be loaded."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from command_line import Call, Run

from recgauntlet.core import plugins

BROKEN = """\
[recgauntlet.tasks]
no-task = broken_package:task
[recgauntlet.models]
no-model = broken_package:Model
[recgauntlet.defenses]
no-defense = broken_package:Defense
[recgauntlet.attacks]
no-attack = broken_package:Attack
[recgauntlet.commands]
no-command = broken_package:command
"""
BUILT_IN = {"tasks": "video-watch", "models": "nrms", "defenses": "pgd", "attacks": "suite "}


@pytest.fixture(params=["def broken(:\n", "import sys\nsys.exit(3)\n", "raise OSError('[red]no luck')\n"])
def broken_package(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An installed package with one plugin of each kind, whose module fails when it is imported."""
    about = tmp_path / "site" / "broken_package-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: broken-package\nVersion: 1.0\n", encoding="utf-8")
    (about / "entry_points.txt").write_text(BROKEN, encoding="utf-8")
    (about.parent / "broken_package.py").write_text(request.param, encoding="utf-8")
    monkeypatch.syspath_prepend(about.parent)
    plugins._entries.cache_clear()
    yield
    plugins._entries.cache_clear()


@pytest.mark.parametrize("kind", BUILT_IN)
def test_a_plugin_that_cannot_be_loaded_hides_no_other(call: Call, broken_package: None, kind: str) -> None:
    code, out, err = call("list", kind)
    assert code == 0
    assert BUILT_IN[kind] in out
    singular = {"defenses": "defense"}.get(kind, kind[:-1])
    assert "left out: broken_package:" in err
    assert f"the {singular} 'no-{singular}' cannot be loaded: " in err
    assert "what to do: mend or uninstall the package" in err


def test_data_of_other_tasks_are_listed_beside_one_that_cannot_be_loaded(call: Call, broken_package: None) -> None:
    code, out, err = call("data", "list")
    assert (code, "video-watch" in out) == (0, True)
    assert "the task 'no-task' cannot be loaded" in err


def test_a_command_that_cannot_be_loaded_leaves_the_help_and_ends_in_an_error(call: Call, broken_package: None) -> None:
    code, out, _ = call("--help")
    assert (code, "Train, attack and record" in out, "the command 'no-command' cannot be" in out) == (0, True, True)
    code, _, err = call("no-command")
    assert code == 2
    assert "the command 'no-command' cannot be loaded" in err


def test_a_defense_of_another_package_is_listed_beside_the_built_in_ones(run: Run, test_plugins: Path) -> None:
    text = run("list", "defenses")
    assert "recgauntlet-test-plugins 1.0" in text
    assert "'not-importable' cannot be loaded" in text
    assert "'no-defense' is registered but is not a subclass of recgauntlet.Defense" in text

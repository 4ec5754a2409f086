"""`recgauntlet list`, `data list` and `--help` with plugins of others, some of which cannot be loaded."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from command_line import Call, Run

from recgauntlet.attacks.poisoning.suite import POISONING_VERSION, insertion_attacks, poisoning_attacks
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
[recgauntlet.poisoning]
no-poisoning attack = broken_package:Poisoning
[recgauntlet.commands]
no-command = broken_package:command
"""
HALF = """\
from recgauntlet_baselines.models.nrms import NRMS
from recgauntlet import Recommender

class Half(Recommender):
    surfaces, recipe = NRMS.surfaces, NRMS.recipe
    tokenize, embed, embed_history, encode_user = NRMS.tokenize, NRMS.embed, NRMS.embed_history, NRMS.encode_user
"""
BUILT_IN = {"tasks": "video-watch", "models": "nrms", "defenses": "pgd", "attacks": "suite ", "poisoning": "coattails"}


def install(directory: Path, name: str, source: str, entries: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed package of one module, for this process and those that it starts."""
    about = directory / f"{name}-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n", encoding="utf-8")
    (about / "entry_points.txt").write_text(entries, encoding="utf-8")
    (directory / f"{name}.py").write_text(source, encoding="utf-8")
    monkeypatch.syspath_prepend(directory)
    monkeypatch.setenv("PYTHONPATH", str(directory), prepend=os.pathsep)
    plugins._entries.cache_clear()


@pytest.fixture(params=["def broken(:\n", "import sys\nsys.exit(3)\n", "raise OSError('[red]no luck')\n"])
def broken_package(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An installed package with one plugin of each kind, whose module fails when it is imported."""
    install(tmp_path / "site", "broken_package", request.param, BROKEN, monkeypatch)
    yield
    plugins._entries.cache_clear()


@pytest.mark.parametrize("kind", BUILT_IN)
def test_a_plugin_that_cannot_be_loaded_hides_no_other(call: Call, broken_package: None, kind: str) -> None:
    code, out, err = call("list", kind)
    assert code == 0
    assert BUILT_IN[kind] in out
    singular = {"defenses": "defense", "poisoning": "poisoning attack"}.get(kind, kind[:-1])
    assert "left out: broken_package:" in err
    assert f"the {singular} 'no-{singular}' cannot be loaded: " in err
    assert "what to do: mend or uninstall the package" in err


def test_attacks_on_training_data_are_listed_with_what_they_know(
    call: Call, monkeypatch: pytest.MonkeyPatch, test_plugins: Path
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    code, out, _ = call("list", "poisoning")
    assert code == 0
    lines: dict[str, str] = {}
    for block in re.split(r"^(?=\S)", out, flags=re.MULTILINE)[1:]:
        lines.setdefault(block.split()[0], " ".join(block.split()))  # the suite stands first
    for attack in (*poisoning_attacks(), *insertion_attacks()):
        assert f" knows: {attack.knowledge} " in lines[attack.name]
        assert lines[attack.name].endswith(f"suite {POISONING_VERSION}")
        assert len(lines[attack.name].split()) > 8, "a sentence is missing"
    assert "most=4" in lines["targets-alone"]


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


def test_a_model_that_lacks_a_method_ends_a_run_before_it_begins(
    call: Call, tmp_path: Path, tiny_card: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path / "site", "half_package", HALF, "[recgauntlet.models]\nhalf = half_package:Half\n", monkeypatch)
    code, out, err = call("run", "--task", tiny_card, "--model", "half", "--offline")
    plugins._entries.cache_clear()
    assert (code, out) == (2, "")
    assert "half_package: 'half' does not define score" in err
    assert "write into the class Half: def score(self, user, candidates, embeddings=None)" in err
    assert not (tmp_path / "results").exists()

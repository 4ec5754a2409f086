"""All that ships with the benchmark passes its own conformance suite: built-in plugins, attacks of the suite, the
examples, and the tiny models that the conformance suite itself is made of."""

from __future__ import annotations

import importlib
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from poison_task import quick_attacks
from thin_models import thin_gpt

from recgauntlet.attacks.suite import suite_attacks
from recgauntlet.core.plugins import names
from recgauntlet.core.types import Scalar
from recgauntlet.testing import Check, Kind, checks_for, parametrize_with_checks, run_checks
from recgauntlet.testing.tiny_models import TinyItems, TinyTitles

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"
THIN = Path(tempfile.mkdtemp(prefix="recgauntlet-thin-"))
"""Where random models stand in for those that have to be downloaded."""
BUILT_IN: tuple[Kind, ...] = ("defenses", "models", "tasks")
OPTIONS: dict[str, dict[str, Scalar]] = {
    "bert": {"layers": 1, "max_length": 64},
    "gpt": {"checkpoint": str(THIN / "gpt"), "layers": 2, "rank": 2},
    "gpt-small": {"width": 32},
    "llm-prompt": {"checkpoint": str(THIN / "asked"), "history_items": 4},
    "two-tower": {"item_size": 16, "attention_size": 8},
}
"""What makes slow models small."""


@pytest.fixture(scope="module", autouse=True)
def _thin_models() -> Iterator[None]:
    for name, positions in (("gpt", 160), ("asked", 400)):
        (THIN / name).mkdir()
        thin_gpt(THIN / name, positions=positions)
    yield
    shutil.rmtree(THIN)


@pytest.mark.parametrize(
    "check",
    [
        pytest.param(check, id=f"{name}-{check.name}")
        for kind in BUILT_IN
        for name in names(kind)
        for check in checks_for(kind, name, options=OPTIONS.get(name))
    ],
)
def test_every_built_in_task_model_and_defense(check: Check) -> None:
    check()


@pytest.mark.parametrize("name", [attack.name for attack in quick_attacks()])
def test_every_attack_on_training_data(name: str) -> None:
    options: dict[str, Scalar] = {"steps": 1} if name in ("pga", "revadv", "greybox") else {}
    assert {outcome.status for outcome in run_checks(checks_for("poisoning", name, options=options))} == {"passed"}


@parametrize_with_checks("models", TinyTitles)
def test_the_tiny_model_of_titles(check: Check) -> None:
    check()


@parametrize_with_checks("models", TinyItems)
def test_the_tiny_model_of_item_ids(check: Check) -> None:
    check()


def test_the_simulated_task_needs_nothing_that_was_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECGAUNTLET_CACHE", str(tmp_path))
    assert {outcome.status for outcome in run_checks(checks_for("tasks", "news-click"))} == {"passed"}


@pytest.mark.parametrize(
    "name", ["pgd", "apgd", "ddn", "square", "word-gradient", "keywords", "character-swap", "history-query"]
)
def test_one_attack_of_the_suite_for_every_way_of_searching(name: str) -> None:
    assert {outcome.status for outcome in run_checks(checks_for("attacks", name))} == {"passed"}


def test_an_attack_may_be_given_as_an_object() -> None:
    (random,) = (attack for attack in suite_attacks() if attack.name == "random" and attack.surface == "history")
    found = {outcome.check.name: outcome for outcome in run_checks(checks_for("attacks", random))}
    assert found["supports"].words == "tried on history"
    assert {outcome.status for outcome in found.values()} == {"passed"}


@pytest.mark.parametrize(
    ("kind", "directory", "module", "name"),
    [
        ("defenses", "defense-plugin", "embedding_noise", "EmbeddingNoise"),
        ("attacks", "attack-plugin", "patient_ascent", "PatientAscent"),
    ],
)
def test_the_examples(kind: Any, directory: str, module: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(EXAMPLES / directory)
    plugin = getattr(importlib.import_module(module), name)
    try:
        assert {outcome.status for outcome in run_checks(checks_for(kind, plugin))} == {"passed"}
    finally:
        sys.modules.pop(module)

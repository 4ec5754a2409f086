"""`recgauntlet check`: the table, what to change, expected failures, and the exit code."""

from __future__ import annotations

import re
import shutil
from functools import partial
from pathlib import Path

import pytest
from command_line import Call

from recgauntlet.core import plugins
from recgauntlet.testing import KINDS
from recgauntlet.testing.registry import rules


@pytest.fixture
def call(call: Call) -> Call:
    return partial(call, "check")


def test_a_plugin_that_conforms_exits_with_0_and_a_row_a_check(call: Call) -> None:
    code, text, _ = call("pgd")
    assert code == 0
    rows = [line.split()[:2] for line in text.splitlines()]
    assert all([rule.name, "passed"] in rows for rule in rules("defenses"))
    assert "4.0 x the forward and 4.0 x the backward passes" in text
    assert f"pgd (defense) conforms: {len(rules('defenses'))} passed" in text


@pytest.mark.usefixtures("test_plugins")
def test_a_plugin_that_fails_exits_with_1_and_says_what_to_change(call: Call) -> None:
    code, text, _ = call("nan-loss")
    assert code == 1
    assert "FAILED runs: the training loss is nan at step 0" in text
    assert "  what to change: lower epsilon, lam or the learning rate" in text
    assert "  what it looks at: A tiny model is trained from the first step to the last" in text
    assert f"nan-loss (defense) does NOT conform: 2 passed, 1 failed, {len(rules('defenses')) - 3} skipped" in text


@pytest.mark.usefixtures("test_plugins")
def test_expected_failures_are_told_apart_and_must_come(call: Call) -> None:
    code, text, _ = call("cheat", "--expect-failure", "budget=it cheats by design")
    assert "it cheats by design (history, low tier: 24 of 24 inputs are illegal" in text
    assert "FAILED budget" not in text
    code, text, _ = call("history-query", "--expect-failure", "budget=it cheats by design")
    assert code == 1
    assert "FAILED budget: it passes, a failure was expected (it cheats by design)" in text


def test_options_are_those_of_the_plugin(call: Call) -> None:
    code, text, _ = call("pgd", "--option", "steps=1", "--kind", "defense")
    assert code == 0
    assert "2.0 x the forward" in text


def test_a_name_of_two_kinds_needs_the_kind(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    entries = dict(plugins._entries("defenses"))
    monkeypatch.setattr(plugins, "_entries", lambda kind: entries if kind in ("defenses", "attacks") else {})
    code, _, complaint = call("pgd")
    assert code == 2
    assert "'pgd' is the name of several plugins: defense, attack" in complaint
    assert "give --kind defense or --kind attack" in complaint


def test_an_attack_of_the_suite_goes_by_its_name(call: Call) -> None:
    code, text, _ = call("history-query")
    assert code == 0
    assert "history-query (attack) conforms" in text
    code, text, _ = call("fgm", "--kind", "attack")
    assert "tried on l2, linf" in text


EXAMPLE = Path(__file__).resolve().parents[3] / "examples" / "own-data"


def test_the_example_of_own_data_conforms(call: Call) -> None:
    code, text, _ = call(str(EXAMPLE / "bookshop.toml"))
    assert code == 0
    assert f"conforms: {len(rules('tasks'))} passed" in text


def test_a_card_of_ones_own_is_a_task(call: Call, tmp_path: Path) -> None:
    folder = shutil.copytree(EXAMPLE, tmp_path / "own")
    card = folder / "bookshop.toml"
    text = card.read_text(encoding="utf-8")
    demo = text[text.index("[tracks.demo]") : text.index("[[threats]]")]
    card.write_text(re.sub('fingerprint = "[0-9a-f]+"', 'fingerprint = ""', text.replace(demo, "")), encoding="utf-8")
    code, text, _ = call(str(card), "--expect-failure", "card=it has no demo track")
    assert code == 1
    assert 'write fingerprint = "' in text
    code, text, _ = call(
        str(card), "--expect-failure", "card=it has no demo track", "--expect-failure", "fingerprint=filled in later"
    )
    assert code == 0
    assert "6 passed, 2 expected" in text


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("pdg",), "'pdg' is the name of no plugin"),
        (("pdg",), "did you mean pgd"),
        (("pgd", "--kind", "model"), "there is no model named 'pgd'"),
        (("pgd", "--expect-failure", "fly=it cannot"), "there is no check named 'fly'"),
        (("pgd", "--expect-failure", "returns"), "give CHECK=REASON"),
        (("pgd", "--option", "fgm.epsilon=1"), "fgm is not what is checked"),
        ((), "give the NAME of a plugin, or --list"),
        (("[red]x[/red]",), "'[red]x[/red]' is the name of no plugin"),
    ],
)
def test_wrong_words_exit_with_2_and_say_what_to_do(call: Call, words: tuple[str, ...], complaint: str) -> None:
    code, _, told = call(*words)
    assert code == 2
    assert complaint in told


def test_list_shows_every_check_and_what_it_looks_at(call: Call) -> None:
    code, text, _ = call("--list")
    assert code == 0
    assert all(f"{rule.name} " in text for kind in KINDS for rule in rules(kind))
    _, text, _ = call("--list", "--kind", "task")
    assert len([line for line in text.splitlines() if line.startswith("task ")]) == len(rules("tasks"))
    assert "defense" not in text

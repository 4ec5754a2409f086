"""Shell completion: the scripts, and what they are answered."""

from __future__ import annotations

import pytest
from click.shell_completion import ShellComplete
from command_line import Run

from recgauntlet.cli import cli
from recgauntlet.cli.completion import SHELLS, VARIABLE


def completed(words: list[str], begun: str) -> list[str]:
    return [item.value for item in ShellComplete(cli, {}, "recgauntlet", VARIABLE).get_completions(words, begun)]


@pytest.mark.parametrize("shell", SHELLS)
def test_a_script_for_each_shell_asks_by_the_variable(run: Run, shell: str) -> None:
    script = run("completion", shell)
    assert f"{VARIABLE}={shell}_complete" in script
    assert "recgauntlet" in script


def test_commands_options_and_registered_names_are_completed() -> None:
    assert {"release", "run"} & {*completed([], "r")} == {"release", "run"}
    assert completed(["run"], "--test-p") == ["--test-pairs"]
    assert completed(["run", "--model"], "item") == ["item-knn"]
    assert completed(["run", "--defense"], "pgd,tra") == ["pgd,trades"]
    assert completed(["run", "--defense"], "no") == ["none"]
    assert "video-watch" in completed(["tune", "--task"], "")
    assert completed(["release"], "ver") == ["verify"]
    assert completed(["run", "--model"], "nobody") == []

"""docs/cite.md shows what its commands print. `python tests/test_cite_page.py` writes the page anew."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from recgauntlet.cli import cli

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "cite.md"


def replayed(page: str) -> str:
    """The page with the output of every `$ recgauntlet ...` in a console block as it is now."""

    def run(block: re.Match[str]) -> str:
        command = block.group(1)
        result = CliRunner().invoke(cli, shlex.split(command)[1:], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        lines = [line.rstrip() for line in result.stdout.rstrip().splitlines()]
        return "\n".join([f"```console\n$ {command}", *lines, "```\n"])

    return re.sub(r"^```console\n\$ (.*?)\n(?:.*?\n)??```\n", run, page, flags=re.DOTALL | re.MULTILINE)


def test_the_page_shows_what_its_commands_print(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    page = PAGE.read_text(encoding="utf-8")
    assert page.count("```console") == 6
    assert replayed(page) == page, "write it anew: python tests/test_cite_page.py"


if __name__ == "__main__":
    PAGE.write_text(replayed(PAGE.read_text(encoding="utf-8")), encoding="utf-8")

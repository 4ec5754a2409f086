"""How the code is laid out: sizes of modules and packages, and tests beside what they test."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = (
    "benchmark/recgauntlet",
    "tasks/recgauntlet_tasks",
    "baselines/recgauntlet_baselines",
    "site/recgauntlet_site",
)
MOST_LINES, MOST_ENTRIES = 350, 14
ALWAYS_THERE = {"__init__.py", "__main__.py", "py.typed"}


def modules(package: str) -> list[Path]:
    return sorted(path for path in (ROOT / package).rglob("*.py") if "__pycache__" not in path.parts)


def directories(root: Path) -> set[str]:
    return {path.parent.relative_to(root).as_posix() for path in root.rglob("*.py") if "__pycache__" not in path.parts}


@pytest.mark.parametrize("package", PACKAGES)
def test_no_module_is_too_long_to_be_read_at_once(package: str) -> None:
    lines = {path.name: len(path.read_text(encoding="utf-8").splitlines()) for path in modules(package)}
    assert lines
    assert {name: count for name, count in lines.items() if count > MOST_LINES} == {}


def test_the_top_of_the_package_is_short() -> None:
    found = {path.name for path in (ROOT / "benchmark/recgauntlet").iterdir()} - ALWAYS_THERE - {"__pycache__"}
    assert len(found) <= MOST_ENTRIES, sorted(found)


def test_the_directories_of_the_tests_mirror_those_of_the_package() -> None:
    assert directories(ROOT / "tests/recgauntlet") - directories(ROOT / "benchmark/recgauntlet") == set()


def test_races_with_other_libraries_are_not_collected(pytestconfig: pytest.Config) -> None:
    assert "benchmarks" in pytestconfig.getini("norecursedirs")


def test_the_environment_of_the_text_peers_has_all_that_the_package_needs() -> None:
    def names(requirements: list[str]) -> set[str]:
        found = (re.match(r"[\w.-]+", line) for line in requirements)
        return {re.sub(r"[-_.]+", "-", name.group()).lower() for name in found if name}

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    pinned = (ROOT / "tests/benchmarks/requirements-peers-text.txt").read_text(encoding="utf-8").splitlines()
    assert names(project["dependencies"]) - names(pinned) == {"pip"}

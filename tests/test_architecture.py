"""How the code is laid out: sizes of modules and packages, and tests beside what they test."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MOST_ENTRIES = 12
ALWAYS_THERE = {"__init__.py", "__main__.py", "py.typed"}


def directories(root: Path) -> set[str]:
    return {path.parent.relative_to(root).as_posix() for path in root.rglob("*.py") if "__pycache__" not in path.parts}


def test_the_top_of_the_package_is_short() -> None:
    found = {path.name for path in (ROOT / "benchmark/recgauntlet").iterdir()} - ALWAYS_THERE - {"__pycache__"}
    assert len(found) <= MOST_ENTRIES, sorted(found)


def test_the_directories_of_the_tests_mirror_those_of_the_package() -> None:
    assert directories(ROOT / "tests/recgauntlet") - directories(ROOT / "benchmark/recgauntlet") == set()


def test_races_with_other_libraries_are_not_collected(pytestconfig: pytest.Config) -> None:
    assert "benchmarks" in pytestconfig.getini("norecursedirs")

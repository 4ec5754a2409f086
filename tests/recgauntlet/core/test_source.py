"""The hash of a plugin's source: all files of its package, found without importing it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from recgauntlet.core import plugins
from recgauntlet.core.errors import PluginError
from recgauntlet.core.source import source_of

Register = Callable[[str], None]


@pytest.fixture
def register(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Register]:
    """Register the defense `mine` as the object that an entry point names, of a package in `tmp_path`."""
    monkeypatch.syspath_prepend(tmp_path)

    def register(value: str) -> None:
        info = tmp_path / "mine-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[recgauntlet.defenses]\nmine = {value}\n")
        plugins._entries.cache_clear()

    yield register
    plugins._entries.cache_clear()


def test_every_file_of_a_package_counts_and_nothing_is_imported(tmp_path: Path, register: Register) -> None:
    package = tmp_path / "mine_package"
    (package / "inner").mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    helper = package / "inner" / "helper.py"
    helper.write_text("x = 1")
    register("mine_package:Mine")
    found = source_of("defenses", "mine")
    (package / "__pycache__").mkdir()
    (package / "__pycache__" / "helper.py").write_text("compiled")
    assert source_of("defenses", "mine") == found
    helper.write_text("x = 2")
    changed = source_of("defenses", "mine")
    helper.rename(helper.with_name("other.py"))
    assert len({found, changed, source_of("defenses", "mine")}) == 3
    assert "mine_package" not in sys.modules


def test_a_single_module_counts_alone(tmp_path: Path, register: Register) -> None:
    (tmp_path / "mine_module.py").write_text("x = 1")
    register("mine_module:Mine")
    found = source_of("defenses", "mine")
    (tmp_path / "beside.py").write_text("y = 1")
    assert source_of("defenses", "mine") == found
    (tmp_path / "mine_module.py").write_text("x = 2")
    assert source_of("defenses", "mine") != found


def test_below_a_namespace_the_package_counts(tmp_path: Path, register: Register) -> None:
    for name in ("one", "two"):
        (tmp_path / "mine_space" / name).mkdir(parents=True)
        (tmp_path / "mine_space" / name / "__init__.py").write_text("")
    register("mine_space.one:Mine")
    found = source_of("defenses", "mine")
    (tmp_path / "mine_space" / "two" / "__init__.py").write_text("x = 1")
    assert source_of("defenses", "mine") == found
    (tmp_path / "mine_space" / "one" / "__init__.py").write_text("x = 1")
    assert source_of("defenses", "mine") != found


def test_a_plugin_without_files_is_an_error_that_names_its_module(register: Register) -> None:
    register("mine_that_is_nowhere:Mine")
    with pytest.raises(PluginError, match="mine_that_is_nowhere: the source of 'mine' is not there"):
        source_of("defenses", "mine")


def test_built_in_plugins_have_a_source() -> None:
    assert (
        len(source_of("models", "nrms"))
        == len(source_of("defenses", "standard"))
        == len(source_of("tasks", "video-watch"))
        == 64
    )

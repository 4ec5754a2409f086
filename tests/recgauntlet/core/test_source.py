"""The hash of a plugin's source: all files of its package, found without importing it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from recgauntlet.core import plugins
from recgauntlet.core.errors import PluginError
from recgauntlet.core.source import imported, source_of

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


def test_the_source_of_a_built_in_plugin_is_what_it_imports() -> None:
    files = {
        "zoo/__init__.py": b"",
        "zoo/models/__init__.py": b"",
        "zoo/models/_layers.py": b"import torch\nfrom ..tools import kept",
        "zoo/models/bert.py": b"def f():\n    from zoo.models._layers import Layer\n    import os",
        "zoo/models/gpt.py": b"from zoo.models import _layers, absent\nimport zoo.tools.kept",
        "zoo/models/other.py": b"import zoo.models.bert",
        "zoo/tools/__init__.py": b"",
        "zoo/tools/kept.py": b"from . import loop",
        "zoo/tools/loop.py": b"from zoo.tools import kept",
        "zoo/tuned.toml": b"",
    }
    shared = {"zoo/__init__.py", "zoo/models/__init__.py", "zoo/tools/__init__.py"}
    shared |= {"zoo/models/_layers.py", "zoo/tools/kept.py", "zoo/tools/loop.py"}
    assert imported(files, "zoo.models.bert").keys() == shared | {"zoo/models/bert.py"}
    assert imported(files, "zoo.models.gpt").keys() == shared | {"zoo/models/gpt.py"}
    assert imported(files, "zoo.models.other").keys() == shared | {"zoo/models/bert.py", "zoo/models/other.py"}
    assert imported(files, "zoo.tools").keys() == {"zoo/__init__.py", "zoo/tools/__init__.py"}


def test_built_in_plugins_have_sources_of_their_own() -> None:
    assert source_of("models", "nrms") != source_of("models", "sasrec")
    assert source_of("defenses", "standard") != source_of("defenses", "discrete")

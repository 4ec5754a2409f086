"""`recgauntlet new`: names, places, and packages that are built, installed and tested as a stranger would do it."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
import tomllib
from functools import partial
from pathlib import Path

import pytest
from command_line import Call
from example_wheel import unpacked_wheel
from hypothesis import given
from hypothesis import strategies as st

from recgauntlet.cli.scaffold.names import KINDS, Kind, names_of
from recgauntlet.core.errors import PluginError
from recgauntlet.core.recommender import constructor_defaults
from recgauntlet.leaderboard import bibtex
from recgauntlet.testing.constructor import require_search_space

ROOT = Path(__file__).resolve().parents[3]
LONGEST = "a-name-that-is-as-long-as-one-may-ever-be"[:40]


@pytest.fixture
def call(call: Call) -> Call:
    return partial(call, "new")


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_package_is_built_and_passes_its_own_tests_as_it_stands(kind: Kind, call: Call, tmp_path: Path) -> None:
    code, text, _ = call(kind, "brand-new")
    assert code == 0
    package = tmp_path / "brand-new"
    assert f"python -m pip install --editable {Path('brand-new')}" in text
    written = [Path(line.strip()) for line in text.splitlines() if line.startswith("  brand-new")]
    assert sorted(written) == sorted(path.relative_to(tmp_path) for path in package.rglob("*") if path.is_file())
    site = unpacked_wheel(package, tmp_path / "wheel")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(site), *sys.path])}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-W", "error"]
    done = subprocess.run(command, cwd=package, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout
    assert "failed" not in done.stdout


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["a1", "tensor", LONGEST])
def test_generated_code_is_in_good_style_whatever_the_name(kind: Kind, name: str, call: Call, tmp_path: Path) -> None:
    pytest.importorskip("ruff")
    assert call(kind, name)[0] == 0
    for words in (["check"], ["format", "--check"]):
        command = [sys.executable, "-m", "ruff", *words, "--no-cache", "."]
        done = subprocess.run(command, cwd=tmp_path / name, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("kind", ["defense", "model", "attack"])
def test_a_new_class_is_cited_and_can_be_tuned(kind: Kind, call: Call, tmp_path: Path) -> None:
    call(kind, "brand-new")
    plugin = runpy.run_path(str(tmp_path / "brand-new" / "brand_new.py"))["BrandNew"]
    (entry,) = bibtex.parse(plugin.citation)
    assert (entry.key, entry.kind) == ("brand-new", "misc")
    readme = (tmp_path / "brand-new" / "README.md").read_text(encoding="utf-8")
    assert "`citation`" in readme
    if kind != "attack":
        assert plugin.search_space
        assert require_search_space(plugin, constructor_defaults(plugin))
        assert f"recgauntlet tune --task video-watch --{kind} brand-new --to tuned.toml" in readme


@pytest.mark.parametrize("kind", KINDS)
def test_the_readme_says_how_to_install_check_run_and_submit(kind: Kind, call: Call, tmp_path: Path) -> None:
    call(kind, "brand-new")
    readme = (tmp_path / "brand-new" / "README.md").read_text(encoding="utf-8")
    assert "python -m pip install --editable" in readme
    assert "recgauntlet check brand-new" in readme
    assert ("recgauntlet submit brand-new" in readme) == (kind != "poisoning")
    commands = {"attack": "recgauntlet challenge", "poisoning": "recgauntlet poison make"}
    assert commands.get(kind, f"--{kind} brand-new") in readme
    assert "{" not in readme
    project = tomllib.loads((tmp_path / "brand-new" / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["entry-points"].keys() == {f"recgauntlet.{KINDS[kind]}"}
    assert "license" not in project
    assert "No licence has been chosen" in (tmp_path / "brand-new" / "LICENSE").read_text(encoding="utf-8")


def test_a_directory_of_ones_own_choice_is_made_with_its_parents(call: Call, tmp_path: Path) -> None:
    assert call("defense", "brand-new", "--out", tmp_path / "a" / "b")[0] == 0
    assert (tmp_path / "a" / "b" / "brand_new.py").is_file()
    assert not (tmp_path / "brand-new").exists()


@pytest.mark.parametrize("there", ["directory", "file", "dangling link"])
def test_what_exists_is_never_touched(there: str, call: Call, tmp_path: Path) -> None:
    target = tmp_path / "brand-new"
    if there == "directory":
        target.mkdir()
    elif there == "file":
        target.write_text("mine", encoding="utf-8")
    else:
        target.symlink_to(tmp_path / "nowhere")
    code, _, complaint = call("defense", "brand-new")
    assert code == 2
    assert "exists already" in complaint
    assert "--out" in complaint
    assert [path.name for path in tmp_path.iterdir()] == ["brand-new"]
    assert not (target.is_dir() and any(target.iterdir()))


def test_a_plugin_does_not_belong_into_the_benchmarks_own_sources(call: Call) -> None:
    code, _, complaint = call("defense", "brand-new", "--out", ROOT / "brand-new")
    assert code == 2
    assert "lies inside RecGauntlet's own sources" in complaint
    assert not (ROOT / "brand-new").exists()


def test_a_place_that_cannot_be_written_is_named(call: Call, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    code, _, complaint = call("defense", "brand-new", "--out", tmp_path / "file" / "brand-new")
    assert code == 2
    assert "cannot be written" in complaint


@pytest.mark.parametrize(
    ("kind", "name", "problem"),
    [
        ("defense", "My-Defense", "is no name for a plugin"),
        ("defense", "my_defense", "is no name for a plugin"),
        ("defense", "my--defense", "is no name for a plugin"),
        ("defense", "-mine", "is no name for a plugin"),
        ("defense", "mine-", "is no name for a plugin"),
        ("defense", "2nd", "is no name for a plugin"),
        ("defense", "", "is no name for a plugin"),
        ("defense", "../../etc", "is no name for a plugin"),
        ("defense", "my-defense\n", "is no name for a plugin"),
        ("defense", "a" * 41, "is no name for a plugin"),
        ("defense", "lambda", "is a word of Python's own"),
        ("defense", "match", "is a word of Python's own"),
        ("model", "json", "would hide the module json"),
        ("model", "torch", "would hide the module torch"),
        ("model", "conftest", "would hide the module conftest"),
        ("model", "pgd", "is the name of an installed defense"),
        ("defense", "nrms", "is the name of an installed model"),
        ("defense", "news-click", "is the name of an installed task"),
        ("defense", "history-query", "is the name of an installed attack"),
    ],
)
def test_a_name_that_cannot_be_is_refused_with_the_reason(kind: Kind, name: str, problem: str) -> None:
    with pytest.raises(PluginError, match=problem):
        names_of(kind, name)


@given(st.text(max_size=12))
def test_no_text_makes_a_module_that_is_no_name_or_a_path(text: str) -> None:
    try:
        names = names_of("defense", text)
    except PluginError:
        return
    assert names.module.isidentifier()
    assert names.class_name.isidentifier()
    assert os.sep not in text
    assert "." not in text


def test_a_class_never_takes_a_name_that_its_module_imports() -> None:
    assert names_of("defense", "tensor").class_name == "TensorDefense"
    assert names_of("model", "catalog").class_name == "CatalogModel"
    assert names_of("attack", "my-attack").class_name == "MyAttack"

"""The site of the current release, as the shipped command makes it."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from recgauntlet.core.files import CURRENT
from recgauntlet_site.commands import site

ROOT = Path(__file__).parents[2]
RELEASE = ROOT / "results" / CURRENT


def files_below(directory: Path) -> dict[str, bytes]:
    return {p.relative_to(directory).as_posix(): p.read_bytes() for p in directory.rglob("*") if p.is_file()}


def built(out: Path) -> dict[str, bytes]:
    result = CliRunner().invoke(site, ["--results", str(RELEASE), "--out", str(out)], catch_exceptions=False)
    assert result.exit_code == 0
    assert "is left out" not in result.stderr
    return files_below(out)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    assert (RELEASE / "manifest.json").is_file(), f"results/{CURRENT} is not frozen"
    return built(tmp_path_factory.mktemp("release") / "public")


def test_the_site_of_the_current_release_is_the_same_bytes_when_built_twice(
    files: dict[str, bytes], tmp_path: Path
) -> None:
    again = built(tmp_path / "elsewhere" / "site")
    assert sorted(again) == sorted(files)
    assert [name for name in files if again[name] != files[name]] == []


def test_the_start_page_is_under_300_kb(files: dict[str, bytes]) -> None:
    assert 10_000 < len(files["index.html"]) < 300_000


def test_every_table_of_the_release_has_a_page_with_its_rows(files: dict[str, bytes]) -> None:
    tasks = [name for name in files if name.startswith("tasks/")]
    rows = [name for name in files if name.startswith("rows/")]
    assert len(tasks) >= 3
    shown = sum(files[name].decode().count('<tr id="') for name in tasks)
    assert shown == len(rows) > 50

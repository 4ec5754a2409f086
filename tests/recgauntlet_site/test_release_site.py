"""The site of the current release, as the shipped command makes it."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from recgauntlet.core.files import CURRENT
from recgauntlet_site.commands import site

ROOT = Path(__file__).parents[2]
RELEASE = ROOT / "results" / CURRENT

pytestmark = pytest.mark.slow  # the whole release is rendered


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    assert (RELEASE / "manifest.json").is_file(), f"results/{CURRENT} is not frozen"
    out = tmp_path_factory.mktemp("release") / "public"
    result = CliRunner().invoke(site, ["--results", str(RELEASE), "--out", str(out)], catch_exceptions=False)
    assert result.exit_code == 0
    assert "is left out" not in result.stderr
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*") if path.is_file()}


def test_the_start_page_is_under_300_kb(files: dict[str, bytes]) -> None:
    assert 10_000 < len(files["index.html"]) < 300_000


def test_every_table_of_the_release_has_a_page_with_its_rows(files: dict[str, bytes]) -> None:
    tasks = [name for name in files if name.startswith("tasks/")]
    rows = [name for name in files if name.startswith("rows/")]
    assert len(tasks) >= 3
    shown = sum(files[name].decode().count('<tr id="') for name in tasks)
    assert shown == len(rows) > 50

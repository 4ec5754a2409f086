"""The published page is what the shipped command makes of the published records, byte for byte."""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner

from recgauntlet.core.files import CURRENT
from recgauntlet_site.commands import site

ROOT = Path(__file__).parents[2]


def files_below(directory: Path) -> dict[str, bytes]:
    return {p.relative_to(directory).as_posix(): p.read_bytes() for p in directory.rglob("*") if p.is_file()}


def test_the_public_page_is_rebuilt_from_the_current_release(tmp_path: Path) -> None:
    public, records = ROOT / "site" / "public", ROOT / "results" / CURRENT
    assert (records / "manifest.json").is_file(), f"results/{CURRENT} is not frozen"
    assert (public / "index.html").is_file(), "site/public has no page: run recgauntlet site"
    arguments = ["--results", str(records), "--out", str(tmp_path / "public")]
    result = CliRunner().invoke(site, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    assert "is left out" not in result.stderr
    published, rebuilt = files_below(public), files_below(tmp_path / "public")
    assert sorted(published) == sorted(rebuilt), "run recgauntlet site, and remove what it no longer writes"
    assert [name for name in rebuilt if published[name] != rebuilt[name]] == []

"""Several releases side by side, files that come and go, and the site shown while records change."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from page_reader import read_page
from synthetic_records import make_record

from recgauntlet.core.errors import OutputError
from recgauntlet.records.io import write_record
from recgauntlet_site.build import LISTING, _write, build
from recgauntlet_site.commands import site
from recgauntlet_site.pages.docs import NO_DOCS
from recgauntlet_site.serve import serving, watch


def test_releases_link_each_other_and_lie_apart(tmp_path: Path) -> None:
    write_record(make_record(), tmp_path / "2027.1" / "one.json")
    write_record(make_record(defense="pgd"), tmp_path / "2026.1" / "one.json")
    out = tmp_path / "out"
    build([tmp_path / "2027.1"], [tmp_path / "2026.1"], out, docs=NO_DOCS)
    old = out / "releases" / "2026-1"
    for place, page, other in (
        (out, "index.html", "releases/2026-1/index.html"),
        (out, "tasks/shop-standard.html", "../releases/2026-1/index.html"),
        (old, "index.html", "../../index.html"),
        (old, "tasks/shop-standard.html", "../../../index.html"),
    ):
        (menu,) = read_page((place / page).read_text()).all("nav", class_="releases")
        (link,) = menu.all("a")
        assert link.attributes["href"] == other
        assert ((place / page).parent / other).resolve().is_file()
        assert menu.all("strong")[0].text() == ("2027.1" if place == out else "2026.1")
    assert "pgd" not in (out / "index.html").read_text()


def test_a_build_that_is_interrupted_leaves_nothing_that_a_later_one_forgets(tmp_path: Path) -> None:
    out = tmp_path / "out"
    _write([("old.html", b"old"), ("both.html", b"old")], out)

    def files() -> Iterator[tuple[str, bytes]]:
        yield "both.html", b"new"
        yield "never-again.html", b"new"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _write(files(), out)
    assert (out / LISTING).read_text().split() == ["both.html", "never-again.html", "old.html"]
    assert (out / "old.html").read_bytes() == b"old"
    _write([("both.html", b"newest")], out)
    assert {path.name for path in out.iterdir()} == {"both.html", LISTING}


def test_what_is_no_longer_made_is_removed_and_nothing_else(tmp_path: Path) -> None:
    results, out = tmp_path / "results", tmp_path / "out"
    write_record(make_record(), results / "one.json")
    write_record(make_record(task="news"), results / "two.json")
    build([results], [], out, docs=NO_DOCS)
    assert (out / "tasks" / "news-standard.html").is_file()
    (out / "own.txt").write_text("mine")
    (tmp_path / "outside.txt").write_text("mine")
    with (out / LISTING).open("a") as listing:
        listing.write("../outside.txt\n")
    before = (out / "assets" / "style.css").stat()
    (results / "two.json").unlink()
    build([results], [], out, docs=NO_DOCS)
    assert not (out / "tasks" / "news-standard.html").exists()
    assert (out / "own.txt").read_text() == (tmp_path / "outside.txt").read_text() == "mine"
    after = (out / "assets" / "style.css").stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)  # it is as it was, so it stays


def test_the_site_is_served_to_this_machine(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("hello")
    with serving(tmp_path, 0) as address:
        assert address.startswith("http://127.0.0.1:")
        with urllib.request.urlopen(address) as answer:
            assert answer.read() == b"hello"
            assert answer.headers["Cache-Control"] == "no-store"
        taken = int(address.rstrip("/").rpartition(":")[2])
        with pytest.raises(OutputError, match="cannot be used"), serving(tmp_path, taken):
            pass


def test_changed_records_are_shown_once_they_rest(tmp_path: Path) -> None:
    rebuilt: list[int] = []
    looks = 0

    def rest(seconds: float) -> None:
        nonlocal looks
        looks += 1
        if looks in (2, 3):  # a file that is still being written
            (tmp_path / "record.json").write_text("x" * looks)
        if looks == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        watch([tmp_path], lambda: rebuilt.append(looks), rest=rest)
    assert rebuilt == [4]


def test_the_command_serves_and_ends_by_an_interrupt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("recgauntlet_site.serve.watch", interrupted)
    write_record(make_record(), tmp_path / "results" / "one.json")
    arguments = ["--results", str(tmp_path / "results"), "--out", str(tmp_path / "out"), "--serve", "--port", "0"]
    result = CliRunner().invoke(site, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    assert "http://127.0.0.1:" in result.stdout

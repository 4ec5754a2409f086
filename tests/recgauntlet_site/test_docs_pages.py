"""Links from pages to the documentation work wherever the site lies: the documentation is part of it."""

from __future__ import annotations

import posixpath
import re
import urllib.request
from pathlib import Path
from urllib.error import HTTPError

import pytest
from board import render_records
from click.testing import CliRunner
from page_reader import read_page
from synthetic_records import make_record

from recgauntlet.core.errors import DataError
from recgauntlet.records.io import write_record
from recgauntlet_site.build import build
from recgauntlet_site.commands import site
from recgauntlet_site.pages.docs import SHIPPED, open_docs
from recgauntlet_site.serve import serving


def test_every_link_between_pages_and_documentation_leads_somewhere_when_served(tmp_path: Path) -> None:
    write_record(make_record(), tmp_path / "2027.1" / "one.json")
    write_record(make_record(), tmp_path / "2026.1" / "one.json")
    out = tmp_path / "out"
    build([tmp_path / "2027.1"], [tmp_path / "2026.1"], out, docs=open_docs(str(SHIPPED)))
    pages = {path.relative_to(out).as_posix(): path.read_text(encoding="utf-8") for path in out.rglob("*.html")}
    ids = {path: set(re.findall(r'\bid="([^"]+)"', text)) for path, text in pages.items()}
    linked = set()
    for path, text in pages.items():
        document = read_page(text)
        links = [(link, "href") for link in document.all("a")] + [(image, "src") for image in document.all("img")]
        for target in (element.attributes[key] for element, key in links):
            if target.startswith("https://") or (target.startswith("http://") and path.startswith("docs/")):
                continue
            file, _, anchor = target.partition("#")
            file = posixpath.normpath(posixpath.join(posixpath.dirname(path), file)) if file else path
            linked.add(file)
            assert (out / file).is_file(), (path, target)
            assert not anchor or anchor in ids[file], (path, target)
    shipped = {f"docs/{page.relative_to(SHIPPED).with_suffix('.html').as_posix()}" for page in SHIPPED.rglob("*.md")}
    assert shipped <= linked
    assert not [path for path in pages if path.startswith("releases") and "/docs/" in path]
    with serving(out, 0) as address:
        for link in [link.attributes["href"] for link in read_page(pages["about.html"]).all("a")]:
            if "docs/" in link:
                with urllib.request.urlopen(f"{address}{link}") as answer:
                    assert answer.headers["Content-Type"] == "text/html"
        with pytest.raises(HTTPError):
            urllib.request.urlopen(f"{address}docs/none.html")


def test_an_address_is_linked_to_and_nothing_is_rendered(tmp_path: Path) -> None:
    write_record(make_record(), tmp_path / "results" / "one.json")
    arguments = ["--results", str(tmp_path / "results"), "--out", str(tmp_path / "page")]
    result = CliRunner().invoke(site, [*arguments, "--docs", "https://example.org/docs/"], catch_exceptions=False)
    assert result.exit_code == 0
    assert 'href="https://example.org/docs/protocol.md"' in (tmp_path / "page" / "about.html").read_text()
    assert not (tmp_path / "page" / "docs").exists()


def test_without_documentation_pages_name_its_files(tmp_path: Path) -> None:
    about = read_page(render_records(tmp_path, [make_record()])["about.html"])
    assert "evaluation protocol (docs/protocol.md in the source)" in " ".join(about.text().split())
    assert not [link for link in about.all("a") if "docs" in link.attributes["href"]]


def test_a_directory_without_documentation_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no documentation") as caught:
        open_docs(str(tmp_path))
    assert caught.value.field == "--docs"


def test_html_and_links_out_of_the_directory_are_text(tmp_path: Path) -> None:
    (tmp_path / "index.md").write_text(
        "# A *title*\n\n<script>alert(1)</script> [out](../../secret.txt) [none](none.md)\n"
        "[bad](javascript:alert(1)) [there](#a-title)\n\n| a |\n|---|\n| b |\n\n<!-- hidden -->\n"
    )
    (page,) = open_docs(str(tmp_path)).pages
    assert page.title == "A title"
    assert 'id="a-title"' in page.content
    assert "<script" not in page.content
    assert "hidden" not in page.content
    assert re.findall(r'href="([^"]*)"', page.content) == ["#a-title"]
    assert '<th scope="col">a</th>' in page.content

"""The documentation as pages of the site, rendered from Markdown."""

from __future__ import annotations

import posixpath
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup

from recgauntlet.core.errors import DataError

SHIPPED = Path(__file__).resolve().parents[3] / "docs"
"""The documentation of this checkout; not there where the package was installed from a wheel."""
_REMOTE = re.compile(r"[a-z]+:")


@dataclass(frozen=True)
class DocPage:
    """A page of the documentation: its path on the site, its title, and its content."""

    path: str
    title: str
    content: Markup


@dataclass(frozen=True)
class Docs:
    """Where pages find the documentation. `address` is that of its directory and "" where there is none: absolute, with
    Markdown files, or where `on_site` is true that of rendered pages, from the start page's directory. `pages` and
    `files` (what the pages show or link to, by path) are to be written."""

    address: str = ""
    on_site: bool = False
    pages: tuple[DocPage, ...] = ()
    files: tuple[tuple[str, bytes], ...] = ()

    def link(self, name: str, root: str) -> str:
        """The address of a page, like "protocol.md#cost", for a page from which `root` leads to the start page's
        directory; "" where there is no documentation."""
        if not self.address:
            return ""
        return f"{root}{self.address}/{_as_page(name)}" if self.on_site else f"{self.address}/{name}"

    def below(self, back: str) -> Docs:
        """The same for a leaderboard from whose start page `back` leads to the one that has the pages."""
        return Docs(f"{back}{self.address}", on_site=True) if self.on_site else self


NO_DOCS = Docs()


def open_docs(where: str) -> Docs:
    """The documentation at `where`: the address of its Markdown files, or a directory, which is rendered.

    Raises
    ------
    DataError
        Where it is neither, or a page is no text.
    """
    if _REMOTE.match(where) or where.startswith("//"):
        return Docs(where)
    directory = Path(where)
    names = sorted(path.relative_to(directory).as_posix() for path in directory.rglob("*.md"))
    if not names:
        remedy = "give a directory of Markdown files, or an address that begins with https://"
        raise DataError("holds no documentation", where=directory, field="--docs", remedy=remedy)
    linked: set[str] = set()
    try:
        pages = tuple(_page(directory, name, names, linked) for name in names)
        files = tuple((f"docs/{name}", (directory / name).read_bytes()) for name in sorted(linked))
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot be read ({error})", where=directory, field="--docs", remedy="mend the file") from error
    return Docs("docs", True, pages, files)


def _as_page(name: str) -> str:
    path, hash_, anchor = name.partition("#")
    return f"{path.removesuffix('.md')}.html{hash_}{anchor}"


def _page(directory: Path, name: str, names: list[str], linked: set[str]) -> DocPage:
    """Render a page; files that are no pages and that it refers to are added to `linked`."""
    markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
    text = re.sub(r"<!--.*?-->", "", (directory / name).read_text(encoding="utf-8"), flags=re.DOTALL)
    tokens = markdown.parse(text)
    seen: Counter[str] = Counter()
    title = name
    for token, inline in zip(tokens, [*tokens[1:], None], strict=True):
        if token.type == "heading_open" and inline is not None:
            words = "".join(part.content for part in inline.children or ())
            title = words if token.tag == "h1" else title
            slug = re.sub(r"[^\w\- ]", "", words.lower()).replace(" ", "-")  # as GitHub does
            token.attrSet("id", f"{slug}-{seen[slug]}" if seen[slug] else slug)
            seen[slug] += 1
        elif token.type == "th_open":
            token.attrSet("scope", "col")
        elif token.type == "table_open":
            token.attrSet("class", "doc")
        open_links: list[Token] = []
        for part in token.children or ():
            if part.type == "link_open":
                open_links.append(part)
                if not _resolved(part, "href", name, directory, names, linked):
                    part.tag, part.attrs = "span", {}
            elif part.type == "link_close":
                part.tag = open_links.pop().tag
            elif part.type == "image":
                _resolved(part, "src", name, directory, names, linked)
    content: Any = markdown.renderer.render(tokens, markdown.options, {})
    return DocPage(f"docs/{_as_page(name)}", title, Markup(content))


def _resolved(part: Token, key: str, name: str, directory: Path, names: list[str], linked: set[str]) -> bool:
    """Let a link or an image lead to the page or file on the site; false where that is no part of the documentation."""
    target = str(part.attrGet(key))
    path = posixpath.normpath(posixpath.join(posixpath.dirname(name), target.partition("#")[0]))
    if _REMOTE.match(target) or target.startswith("#"):
        return True
    if path in names:
        part.attrSet(key, _as_page(target))
        return True
    if path.startswith("..") or not (directory / path).is_file():
        return False
    linked.add(path)
    return True

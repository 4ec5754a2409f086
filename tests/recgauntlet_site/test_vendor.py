"""What is vendored is what its authors published, is named with its licence, and is all there is."""

from __future__ import annotations

import hashlib
import tomllib
from importlib.resources import files

from board import Board

VENDOR = files("recgauntlet_site").joinpath("vendor")


def test_the_sums_licences_and_versions_are_written_down(board: Board) -> None:
    told = tomllib.loads(VENDOR.joinpath("VENDOR.toml").read_text(encoding="utf-8"))
    listed = {}
    for library in told["library"]:
        assert all(library[name] for name in ("name", "version", "licence", "source", "for"))
        assert any(name.startswith("LICENSE") for name in library["files"])
        listed |= library["files"]
    there = {file.name: file.read_bytes() for file in VENDOR.iterdir() if file.name != "VENDOR.toml"}
    assert {name: hashlib.sha256(content).hexdigest() for name, content in there.items()} == listed
    shown = [there[name] for library in told["library"] for name in library["files"]]
    published = [content for path, content in board.files.items() if path.startswith("assets/vendor/")]
    assert sorted(published) == sorted(shown)

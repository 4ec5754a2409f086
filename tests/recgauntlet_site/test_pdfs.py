"""PDFs of figures: made by whoever is free, begun at once, and made anew only where something changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from picture_tables import few_rows

from recgauntlet.crew import Crew
from recgauntlet.kept import Kept
from recgauntlet_site.pdfs import Pdfs
from recgauntlet_site.pictures import Picture, accuracy_cost, heat_map


class Counted(Crew):
    """A crew of one that tells what it was given."""

    def __init__(self) -> None:
        super().__init__(1)
        self.given: list[str] = []

    def map(self, function: Callable[[Any], Any], items: Sequence[Any], *, worth: bool) -> Iterator[Any]:
        self.given += [picture.name for picture in items]
        return super().map(function, items, worth=worth)


@pytest.fixture(scope="module")
def pictures() -> list[Picture]:
    table = few_rows()
    return [accuracy_cost(table), heat_map(table)]


def made(pictures: Sequence[Picture], place: Path) -> tuple[list[bytes], list[str]]:
    """The PDFs, and the names of those that were not known."""
    with Counted() as crew, Kept(place, [place]) as kept:
        return list(Pdfs(crew, kept)(pictures)), crew.given


def test_they_are_made_once_and_are_the_same_bytes(pictures: list[Picture], tmp_path: Path) -> None:
    plain = [picture.as_pdf() for picture in pictures]
    assert made(pictures, tmp_path) == (plain, [picture.name for picture in pictures])
    assert made(pictures, tmp_path) == (plain, [])


def test_one_that_is_drawn_anew_is_made_anew(pictures: list[Picture], tmp_path: Path) -> None:
    first, _ = made(pictures, tmp_path)
    drawing = pictures[0].drawing
    moved = replace(pictures[0], drawing=replace(drawing, height=drawing.height + 1))
    second, given = made([moved, pictures[1]], tmp_path)
    assert given == [moved.name]
    assert second[0] != first[0]
    assert second[1] == first[1]


def test_one_that_was_tampered_with_is_made_anew(pictures: list[Picture], tmp_path: Path) -> None:
    first, _ = made(pictures, tmp_path)
    (file,) = tmp_path.glob("*.entries")
    file.write_bytes(file.read_bytes().replace(b'"pdf":"J', b'"pdf":"K', 1))
    second, given = made(pictures, tmp_path)
    assert second == first
    assert len(given) == 1


def test_without_a_place_to_keep_them_all_are_made(pictures: list[Picture]) -> None:
    with Counted() as crew:
        assert len(list(Pdfs(crew, None)(pictures))) == len(pictures)
        assert crew.given == [picture.name for picture in pictures]

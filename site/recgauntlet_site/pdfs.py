"""Figures as PDF: by all cores, while this process makes pages, and none that was made before."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path

from pydantic import Base64Bytes

from recgauntlet.crew import Crew
from recgauntlet.kept import Entry, Kept
from recgauntlet_site.pictures import Picture

_MAKERS = (
    "pictures/drawing.py",
    "pictures/lettering.py",
    "pictures/palette.py",
    "pictures/pdf.py",
    "vendor/VENDOR.toml",  # with the sums of the fonts
)
"""What turns a drawing into a PDF."""


class Pdfs:
    """Makes the PDFs of figures with a `crew`, and with what is `kept` from former times (None: nothing)."""

    def __init__(self, crew: Crew, kept: Kept | None) -> None:
        self._crew = crew
        self._kept = kept

    def __call__(self, pictures: Sequence[Picture]) -> Iterator[bytes]:
        """The PDF of each picture. Those that are not there yet are begun at once."""
        known = [self._found(picture) for picture in pictures]
        missing = [picture for picture, content in zip(pictures, known, strict=True) if content is None]
        return self._all(pictures, known, self._crew.map(Picture.as_pdf, missing, worth=True))

    def _all(
        self, pictures: Sequence[Picture], known: Sequence[bytes | None], made: Iterable[bytes]
    ) -> Iterator[bytes]:
        new = iter(made)
        for picture, content in zip(pictures, known, strict=True):
            yield self._keep(picture, next(new)) if content is None else content

    def _found(self, picture: Picture) -> bytes | None:
        found = None if self._kept is None else self._kept.find(_KeptPdf, _name(picture))
        return None if found is None else found.pdf

    def _keep(self, picture: Picture, content: bytes) -> bytes:
        if self._kept is not None:
            self._kept.keep(_KeptPdf, _KeptPdf.model_construct(pdf=content).text(), _name(picture))
        return content


class _KeptPdf(Entry):
    """A page for a paper."""

    pdf: Base64Bytes


def _name(picture: Picture) -> str:
    """All that a PDF depends on: the drawing with its title, and what draws."""
    return hashlib.sha256(f"{_makers()} {picture.title!r} {picture.drawing!r}".encode()).hexdigest()


@lru_cache(maxsize=1)
def _makers() -> str:
    digest = hashlib.sha256(f"reportlab {version('reportlab')}".encode())
    for name in _MAKERS:
        digest.update((Path(__file__).parent / name).read_bytes())
    return digest.hexdigest()

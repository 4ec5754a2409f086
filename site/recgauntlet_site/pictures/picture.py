"""A figure of the leaderboard with what makes it readable without eyes and usable without the page."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

from markupsafe import Markup

from recgauntlet_site.pictures import svg
from recgauntlet_site.pictures.drawing import Drawing, Pen


@dataclass(frozen=True)
class Picture:
    """A drawing with its words and the numbers behind it.

    `name` is stable and fits a file name and the id of an element. `kind` is the name of what made it, with hyphens;
    `threat` is the id of the one threat that it shows, "" where it shows several. `description` says in a sentence or
    two what is to be seen. `header` and `rows` are the data table: texts as the leaderboard prints them, not yet
    escaped. `rows` is empty where there was nothing to draw; the drawing then says so. Renderings are made when they
    are asked for, and are the same bytes on every build.
    """

    name: str
    kind: str
    threat: str
    title: str
    description: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    drawing: Drawing = field(repr=False)

    @cached_property
    def svg(self) -> Markup:
        """An `<svg class="plot">` for a page: coloured by classes (`palette.style_sheet`), without ids and styles."""
        return svg.inline(self.drawing)

    def as_svg(self) -> bytes:
        """A file that stands alone, light, its letters being text."""
        return svg.standalone(self.drawing, self.title, self.description)

    def as_pdf(self) -> bytes:
        """A page for a paper, its letters being text in embedded fonts."""
        from recgauntlet_site.pictures.pdf import pdf  # slow to import, seldom needed

        return pdf(self.drawing, self.title)


def nothing(why: str) -> Drawing:
    """The drawing of a figure that has nothing to show: a frame without data, and why."""
    pen = Pen()
    pen.line([(0, 8), (400, 8)], "rule")
    bottom = pen.paragraph(18, why)
    pen.line([(0, bottom + 16), (400, bottom + 16)], "rule")
    return pen.finished(bottom + 24)

"""All files that one table gives alone, which any process can make: its page, its figures, and its lines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from recgauntlet.table_csv import to_csv
from recgauntlet_site.export import table_to_json
from recgauntlet_site.rendering import rendered
from recgauntlet_site.sections import Section, coded


@dataclass(frozen=True)
class Made:
    """Files by their path, and the table as JSON, which is a part of a file."""

    files: dict[str, bytes]
    json: bytes


@dataclass(frozen=True)
class TaskFiles:
    """What a table's files are made of: its section, and what is `common` to all pages."""

    section: Section
    common: Mapping[str, Any]

    @classmethod
    def of(cls, section: Section, common: Mapping[str, Any]) -> TaskFiles:
        """With nothing in it that was worked out for the rows as they lie in this process."""
        return cls(replace(section), common)

    def made(self) -> Made:
        """The files."""
        section = self.section
        files = {section.path: self._page()}
        for picture in section.pictures:
            files[f"figures/{picture.name}.svg"] = picture.as_svg()
            files[f"figures/{picture.name}.pdf"] = picture.as_pdf()
        if section.table.rows:
            files[f"{section.downloads}.csv"] = to_csv((section.table,))
        return Made(files, table_to_json(section.table))

    def _page(self) -> bytes:
        section = self.section
        return rendered(
            "task.html.j2",
            self.common,
            root="../",
            here=section.path,
            section=section,
            facts=partial(coded, section.filters),
        )

"""All files that one table gives alone, which any process can make: its page, its figures, and its CSV."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from recgauntlet.leaderboard.table_csv import to_csv
from recgauntlet_site.export import table_from_json, table_to_json
from recgauntlet_site.rendering import rendered
from recgauntlet_site.sections import Section, coded


@dataclass(frozen=True)
class TaskFiles:
    """What a table's files are made of: its section without the rows, the whole table as JSON, which other processes
    are given in a third of the time, and what is `common` to all pages."""

    section: Section
    table: bytes
    common: Mapping[str, Any]

    @classmethod
    def of(cls, section: Section, common: Mapping[str, Any]) -> TaskFiles:
        """The files of a section."""
        bare = replace(section, table=replace(section.table, rows=()))
        return cls(bare, table_to_json(section.table), common)

    def made(self) -> dict[str, bytes]:
        """The files by their path."""
        section = replace(self.section, table=table_from_json(self.table))
        files = {section.path: self._page(section)}
        for picture in section.pictures:
            files[f"figures/{picture.name}.svg"] = picture.as_svg()
            files[f"figures/{picture.name}.pdf"] = picture.as_pdf()
        if section.table.rows:
            files[f"{section.downloads}.csv"] = to_csv((section.table,))
        return files

    def _page(self, section: Section) -> bytes:
        return rendered(
            "task.html.j2",
            self.common,
            root="../",
            here=section.path,
            section=section,
            facts=partial(coded, section.filters),
        )

"""The page of a task's table, which any process can make."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from recgauntlet_site.rendering import rendered
from recgauntlet_site.sections import Section, coded


@dataclass(frozen=True)
class TaskPage:
    """What a task's page is made of: its section, and what is `common` to all pages."""

    section: Section
    common: Mapping[str, Any]

    @classmethod
    def of(cls, section: Section, common: Mapping[str, Any]) -> TaskPage:
        """With nothing in it that was worked out for the rows as they lie in this process."""
        return cls(replace(section), common)

    def made(self) -> bytes:
        """The page."""
        section = self.section
        return rendered(
            "task.html.j2",
            self.common,
            root="../",
            here=section.path,
            section=section,
            facts=partial(coded, section.filters),
        )

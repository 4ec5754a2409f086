"""The page of a task's table, which any process can make."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any

from jinja2 import Environment

from recgauntlet_site.sections import Section, coded
from recgauntlet_site.template_environment import template_environment


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
        environment = _environment()
        environment.globals.update(self.common)
        page = environment.get_template("task.html.j2").render(
            root="../", here=self.section.path, section=self.section, facts=partial(coded, self.section.filters)
        )
        return page.encode()


@lru_cache(maxsize=1)
def _environment() -> Environment:
    return template_environment()

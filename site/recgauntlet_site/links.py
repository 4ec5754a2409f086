"""What the pages of a board link to."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Link:
    """A page in the menu."""

    path: str
    name: str
    tag: str = ""


@dataclass(frozen=True)
class Release:
    """Another release's board: its start page, from this start page's directory."""

    name: str
    path: str
    current: bool = False

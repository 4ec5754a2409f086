"""Words that records, tables and plugins share, where loading torch for them would take seconds."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Surface = Literal["candidate-text", "history", "embedding"]
Scalar = str | int | float | bool | None


class Edit(BaseModel):
    """One edit of a perturbed input: an operation, its place, and the word or item id that came in.

    `title` is the item's text, where the data's licence lets it be shown and the page has use for it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    op: Literal["insert", "replace", "delete"]
    at: int
    new: str = ""
    title: str = Field(default="", exclude_if=lambda found: not found)

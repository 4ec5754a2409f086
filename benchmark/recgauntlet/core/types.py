"""Types that all rooms share. Imports no torch: that takes seconds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

Surface = Literal["candidate-text", "history", "embedding"]
Scalar = str | int | float | bool | None
PAD = -1
"""Marks an empty place in a history, and special or padding tokens in `Tokens.word_of_token`."""
NEW_ITEM = -1
"""Stands in place of a candidate's index where its id is hidden: a new listing, known by its text alone."""
BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float32]
Progress = Callable[[str, float], None]
"""Called with what is being done and the share of it that is done, 0 to 1."""


class Edit(BaseModel):
    """One edit of a perturbed input: an operation, its place, and the word or item id that came in.

    `title` is the item's text, where the data's licence lets it be shown and the page has use for it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    op: Literal["insert", "replace", "delete"]
    at: int
    new: str = ""
    title: str = Field(default="", exclude_if=lambda found: not found)

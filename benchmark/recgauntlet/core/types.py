"""Words that records, tables and plugins share, where loading torch for them would take seconds."""

from __future__ import annotations

from typing import Literal

Surface = Literal["candidate-text", "history", "embedding"]
Scalar = str | int | float | bool | None

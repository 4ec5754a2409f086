"""What the data tables and the descriptions of all figures have in common."""

from __future__ import annotations

from collections.abc import Sequence

from recgauntlet.metrics.bootstrap import Estimate
from recgauntlet_site.format import joined, percent
from recgauntlet_site.pictures.looks import Look

HEADER = ("rank", "row")
"""The first columns of every data table."""
_MOST = 8


def identity(look: Look) -> tuple[str, str]:
    """A row's rank and name."""
    return ("–" if look.row.rank is None else str(look.row.rank), look.name)


def interval(estimate: Estimate) -> str:
    """An interval as the leaderboard prints it: "58.1–64.0"."""
    return f"{percent(estimate.low)}–{percent(estimate.high)}"


def value_range(shares: Sequence[float]) -> str:
    """ "58.1 to 64.0 %", or "58.1 %" where all are alike."""
    low, high = percent(min(shares)), percent(max(shares))
    return f"{low} %" if low == high else f"{low} to {high} %"


def naming(before: str, looks: Sequence[Look]) -> list[str]:
    """Words, then short names with commas between them, each a piece."""
    return [before, *(f"{look.label}," for look in looks[:-1]), f"{looks[-1].label}."]


def listed(names: Sequence[str]) -> str:
    """ "a, b and c"; of many the first ones and how many more there are."""
    return joined(names if len(names) <= _MOST else [*names[: _MOST - 1], f"{len(names) - _MOST + 1} more"])

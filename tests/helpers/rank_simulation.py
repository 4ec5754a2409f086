"""The script `tools/simulate_ranks.py` as a module."""

from __future__ import annotations

from functools import cache
from types import ModuleType

from scripts import loaded


@cache
def simulation() -> ModuleType:
    """The loaded script."""
    return loaded("tools/simulate_ranks.py")

"""The script `tools/simulate_ranks.py` as a module."""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path
from types import ModuleType

SCRIPT = Path(__file__).resolve().parents[2] / "tools" / "simulate_ranks.py"


@cache
def simulation() -> ModuleType:
    """The loaded script."""
    spec = importlib.util.spec_from_file_location("simulate_ranks", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module

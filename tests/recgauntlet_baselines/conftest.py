"""Makes the small task of the harness's tests importable here."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "recgauntlet"))

from small_data import small_data

from recgauntlet.data.tables import TaskData


@pytest.fixture(scope="session")
def data() -> TaskData:
    return small_data()

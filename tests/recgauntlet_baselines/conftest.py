"""Makes the small task of the harness's tests importable here."""

from __future__ import annotations

import pytest
from small_data import small_data

from recgauntlet.core.dataset import TaskData


@pytest.fixture(scope="session")
def data() -> TaskData:
    return small_data()

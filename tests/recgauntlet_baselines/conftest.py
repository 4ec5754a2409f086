"""Makes the small task of the harness's tests importable here."""

from __future__ import annotations

import pytest
from small_data import small_data
from toy_recommender import make_batch

from recgauntlet.core.batch import Batch
from recgauntlet.core.dataset import TaskData


@pytest.fixture(scope="session")
def data() -> TaskData:
    return small_data()


@pytest.fixture(scope="session")
def batch(data: TaskData) -> Batch:
    return make_batch(data.catalog, users=12, seed=7)

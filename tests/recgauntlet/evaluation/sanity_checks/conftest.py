"""A toy recommender trained on the small data, and what the gates are asked about it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from small_data import small_data
from torch import Tensor
from toy_recommender import ToyRecommender, train

from recgauntlet.core.dataset import TaskData
from recgauntlet.evaluation.setup import Trial
from recgauntlet.threats.knowledge import AttackerKnowledge

Try = Callable[..., Trial]


@pytest.fixture(scope="session")
def data() -> TaskData:
    return small_data()


@pytest.fixture(scope="session")
def toy_world(data: TaskData) -> AttackerKnowledge:
    return AttackerKnowledge(data.catalog)


@pytest.fixture(scope="session")
def weights(data: TaskData) -> dict[str, Tensor]:
    torch.manual_seed(0)
    return train(ToyRecommender(data.catalog), steps=60).state_dict()


@pytest.fixture
def try_(data: TaskData, toy_world: AttackerKnowledge, weights: dict[str, Tensor]) -> Try:
    """A trial of a kind of toy recommender, with the trained weights and `changes` to them."""

    def make(kind: type[ToyRecommender] = ToyRecommender, **changes: Tensor) -> Trial:
        model = kind(data.catalog)
        model.load_state_dict({**weights, **changes})
        return Trial.of(model.eval().requires_grad_(False), data, toy_world)

    return make

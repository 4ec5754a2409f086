"""What the tests of the audit share: a small trained model, its task, and the whole audit of it, run once."""

from __future__ import annotations

import pytest
import torch
from small_data import small_data
from toy_recommender import ToyRecommender, embedding_threat, headline_threat, history_threat, train

from recgauntlet.core.card import TaskCard
from recgauntlet.core.dataset import TaskData
from recgauntlet.testing.audit import Audit, Subject, audit, zoo


@pytest.fixture(scope="session")
def toy_data() -> TaskData:
    return small_data(test=20)


@pytest.fixture(scope="session")
def toy_model(toy_data: TaskData) -> ToyRecommender:
    torch.manual_seed(0)
    model = train(ToyRecommender(toy_data.catalog), steps=60)
    model.requires_grad_(False)
    return model


@pytest.fixture(scope="session")
def toy_subject(toy_data: TaskData, toy_model: ToyRecommender) -> Subject:
    threats = (headline_threat(), history_threat(), embedding_threat())
    return Subject(toy_model, toy_model, TaskCard.model_construct(id="toy", threats=threats), toy_data, 0)


@pytest.fixture(scope="session")
def toy_audit(toy_subject: Subject) -> Audit:
    return audit(toy_subject, zoo())

"""Training reaches every weight of the models that are trained from scratch, and no padding."""

from __future__ import annotations

import pytest
import torch

from recgauntlet.core.batch import Batch
from recgauntlet.core.dataset import TaskData
from recgauntlet.core.recommender import find_model
from recgauntlet.core.types import Scalar
from recgauntlet.training.defense import model_scores

OPTIONS: dict[str, dict[str, Scalar]] = {
    "nrms": {"word_size": 16, "heads": 2, "head_size": 8, "attention_size": 8},
    "naml": {"word_size": 16, "filters": 12, "category_size": 6, "attention_size": 8},
    "din": {"item_size": 6, "category_size": 4, "unit_size": 5, "hidden": 8, "narrow": 4},
    "sasrec": {"size": 16, "heads": 2, "length": 12},
    "sasrec-text": {"size": 16, "word_size": 12, "attention_size": 8},
    "bert4rec": {"size": 16},
}


@pytest.mark.parametrize("name", OPTIONS)
def test_gradients_are_finite_and_reach_every_weight_and_no_padding(name: str, data: TaskData, batch: Batch) -> None:
    torch.manual_seed(0)
    model = find_model(name).value(data.catalog, token_length=16, **OPTIONS[name]).eval()
    loss = model.click_loss(model_scores(model, batch), batch)
    auxiliary = model.auxiliary_loss(batch, torch.Generator().manual_seed(0))
    (loss if auxiliary is None else loss + auxiliary).backward()
    found = {name: p.grad for name, p in model.named_parameters()}
    assert [name for name, gradient in found.items() if gradient is None or not gradient.any()] == []
    assert all(torch.isfinite(gradient).all() for gradient in found.values())
    if name in ("nrms", "naml", "sasrec-text"):
        assert not found["words.weight"][0].any(), "the vector of padding must stay zero"

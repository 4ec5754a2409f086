from __future__ import annotations

import math

import pytest
import torch
from toy_problem import at, loss_of, toy_batch, toy_model

from recgauntlet.training.defense import model_scores
from recgauntlet_baselines.defenses import label_smoothing
from recgauntlet_baselines.defenses.label_smoothing import LabelSmoothing


def test_loss_is_the_cross_entropy_against_smoothed_labels() -> None:
    model, batch = toy_model(), toy_batch()
    with torch.no_grad():
        chance = torch.sigmoid(model_scores(model, batch).double())
    towards = torch.where(batch.labels > 0.5, 0.85, 0.15)  # 1 - 0.3 / 2 and 0.3 / 2
    by_hand = -(towards * chance.log() + (1 - towards) * (1 - chance).log()).mean()
    assert loss_of(LabelSmoothing(smoothing=0.3), model, batch) == pytest.approx(float(by_hand), rel=1e-5)


def test_the_best_logit_is_where_the_docstring_says(monkeypatch: pytest.MonkeyPatch) -> None:
    batch, smoothing = toy_batch(), 0.2
    logits = (2 * batch.labels - 1) * math.log((2 - smoothing) / smoothing)
    handle = logits.requires_grad_(True)
    monkeypatch.setattr(label_smoothing, "model_scores", lambda model, batch: handle)
    LabelSmoothing(smoothing=smoothing).training_loss(toy_model(), batch, at(0.5)).backward()
    assert handle.grad is not None
    torch.testing.assert_close(handle.grad, torch.zeros_like(handle), atol=1e-7, rtol=0)

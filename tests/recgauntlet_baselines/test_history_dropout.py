from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from toy_problem import loss_of, toy_batch, toy_model

from recgauntlet.core.batch import Users
from recgauntlet.core.types import PAD
from recgauntlet_baselines.defenses import history_dropout
from recgauntlet_baselines.defenses.history_dropout import HistoryDropout, without_items
from recgauntlet_baselines.defenses.standard import Standard


def test_items_go_and_the_others_move_together_behind_the_padding() -> None:
    histories = torch.tensor([[PAD, 1, 2, 3, 4], [PAD, PAD, 7, 8, 9], [PAD, PAD, PAD, PAD, PAD]])
    draws = torch.tensor([[0.9, 0.8, 0.1, 0.7, 0.2], [0.9, 0.9, 0.1, 0.3, 0.2], [0.9, 0.1, 0.1, 0.1, 0.1]])
    assert without_items(histories, draws, 0.5).tolist() == [
        [PAD, PAD, PAD, 1, 3],
        [PAD, PAD, PAD, PAD, 8],  # all would go: the largest draw stays
        [PAD, PAD, PAD, PAD, PAD],
    ]


def test_it_trains_on_the_shorter_histories(monkeypatch: pytest.MonkeyPatch) -> None:
    model, batch = toy_model(), toy_batch()
    seen = []

    def keep(histories: torch.Tensor, draws: torch.Tensor, rate: float) -> torch.Tensor:
        seen.append(without_items(histories, draws, rate))
        return seen[-1]

    monkeypatch.setattr(history_dropout, "without_items", keep)
    loss = loss_of(HistoryDropout(rate=0.6), model, batch)
    kept, before = (seen[0] != PAD).sum(dim=1), (batch.users.histories != PAD).sum(dim=1)
    assert (kept >= 1).all()
    assert 0.3 < float(kept.sum() / before.sum()) < 0.6
    shorter = replace(batch, users=Users(batch.users.ids, seen[0]))
    assert loss == pytest.approx(loss_of(Standard(), model, shorter), rel=1e-6)


def test_what_is_dropped_depends_neither_on_the_batch_nor_on_the_padding(monkeypatch: pytest.MonkeyPatch) -> None:
    model, batch = toy_model(), toy_batch()
    seen = []

    def keep(histories: torch.Tensor, draws: torch.Tensor, rate: float) -> torch.Tensor:
        seen.append(without_items(histories, draws, rate))
        return seen[-1]

    monkeypatch.setattr(history_dropout, "without_items", keep)
    defense = HistoryDropout(rate=0.5)
    wider = torch.cat([torch.full((len(batch.users), 3), PAD), batch.users.histories], dim=1)
    loss_of(defense, model, batch)
    loss_of(defense, model, replace(batch, users=Users(batch.users.ids, wider)))
    assert torch.equal(seen[1][:, 3:], seen[0])
    rows = torch.tensor([3, 1])
    part = replace(
        batch.select(torch.tensor([6, 7, 2, 3])), users=batch.users.select(rows), rows=torch.tensor([0, 0, 1, 1])
    )
    loss_of(defense, model, part)
    assert torch.equal(seen[2], seen[0][rows])

"""Defenses that mix the item vectors of histories: `dirichlet-neighborhood` and `mixed-items`."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from toy_problem import at, gradients, loss_of, toy_batch, toy_model

from recgauntlet.core.batch import Users
from recgauntlet.core.types import PAD
from recgauntlet_baselines.defenses._item_mixtures import Places, chosen_places, item_vectors, loss_at, mixed
from recgauntlet_baselines.defenses.dirichlet_neighborhood import MOST, DirichletNeighborhood, Neighbours
from recgauntlet_baselines.defenses.mixed_items import MixedItems
from recgauntlet_baselines.defenses.standard import Standard


def test_the_smallest_draws_are_replaced_and_at_least_one() -> None:
    histories = torch.tensor([[PAD, 1, 2, 3, 4], [PAD, PAD, PAD, PAD, 9], [PAD, PAD, PAD, PAD, PAD]])
    draws = torch.tensor([[0.0, 0.8, 0.1, 0.7, 0.2], [0.0, 0.1, 0.1, 0.1, 0.9], [0.1, 0.1, 0.1, 0.1, 0.1]])
    places = chosen_places(histories, draws, 0.5)
    assert list(zip(places.users.tolist(), places.columns.tolist(), strict=True)) == [(0, 2), (0, 4), (1, 4)]


def test_a_mixture_is_the_weighted_sum_of_item_vectors_and_its_gradient_reaches_them() -> None:
    vectors = torch.tensor([[1.0, 0.0], [0.0, 2.0], [4.0, 4.0]], requires_grad=True)
    weights = torch.tensor([[0.25, 0.75], [1.0, 0.0]])
    found = mixed(vectors, torch.tensor([[0, 1], [2, 0]]), weights)
    assert found.tolist() == [[0.25, 1.5], [4.0, 4.0]]
    found.sum().backward()  # type: ignore[no-untyped-call]
    assert vectors.grad is not None
    assert vectors.grad[:, 0].tolist() == [0.25, 0.75, 1.0]


def test_neighbours_are_near_items_and_the_neighbours_of_these() -> None:
    angles = torch.tensor([0.0, 50.0, 100.0, 150.0, 190.0, 270.0]).deg2rad()
    found = Neighbours.of(torch.stack([angles.cos(), angles.sin()], dim=1)).items
    assert found.shape == (6, 2 * MOST)
    near = [set(row[:MOST].tolist()) - {-1} for row in found]
    far = [set(row[MOST:].tolist()) - {-1} for row in found]
    assert near[0] == {1, 5}  # 50 and 90 degrees away: one near enough, and the second nearest
    assert near[1] == {0, 2}
    assert far[0] == {2, 4}  # the neighbours of 1 and of 5, without 0 itself and 1 and 5
    assert all(
        not first & second and row not in first | second
        for row, (first, second) in enumerate(zip(near, far, strict=True))
    )


def test_weights_follow_the_dirichlet_distribution() -> None:
    around = torch.full((20000, 2 * MOST), -1)
    around[:, :2], around[:, MOST] = torch.tensor([4, 5]), 6
    weights = Neighbours(around).weights(around, 2.0, 0.5, np.random.default_rng(0)).numpy()
    assert weights.sum(axis=1) == pytest.approx(1.0)
    assert not weights[:, 2:MOST].any()
    # alpha = (2, 2, 1): means 2/5, 2/5, 1/5; variance a (5 - a) / (25 * 6)
    assert weights[:, [0, 1, MOST]].mean(axis=0) == pytest.approx([0.4, 0.4, 0.2], abs=0.01)
    assert weights[:, [0, 1, MOST]].var(axis=0) == pytest.approx([0.04, 0.04, 4 / 150], abs=0.002)


def test_dirichlet_neighborhood_is_plain_training_on_histories_of_mixtures() -> None:
    model, batch = toy_model(), toy_batch()
    defense = DirichletNeighborhood(ratio=0.4)
    histories = batch.users.histories
    everywhere = Places(*torch.nonzero(histories != PAD, as_tuple=True))
    clean = float(loss_at(model, batch, model.embed_history(batch.users)).detach())
    assert clean == pytest.approx(loss_of(Standard(), model, batch), rel=1e-6)
    embedded = defense.replaced(model, batch, everywhere, at(0.75))
    vectors = item_vectors(model, torch.arange(len(model.catalog)))
    # inside the box that the neighbours span, and never the item itself
    around = defense.neighbours(model, at(0.75)).items[histories[everywhere.users, everywhere.columns]]
    spanned = vectors[around.clamp(min=0)].masked_fill((around < 0).unsqueeze(-1), float("nan")).detach().numpy()
    points = embedded[everywhere.users, everywhere.columns].detach().numpy()
    assert (points <= np.nanmax(spanned, axis=1) + 1e-5).all()
    assert (points >= np.nanmin(spanned, axis=1) - 1e-5).all()
    changed = defense.replaced(model, batch, chosen_places(histories, torch.rand(histories.shape), 0.4), at(0.75))
    moved = ((changed - model.embed_history(batch.users)).abs().amax(dim=2) > 1e-6).sum(dim=1)
    counts = (histories != PAD).sum(dim=1)
    assert torch.equal(moved, (0.4 * counts + 1e-6).floor().clamp(min=1).long())
    assert loss_of(defense, model, batch) != pytest.approx(clean, rel=1e-4)


def test_neighbours_are_found_anew_in_the_course_of_training() -> None:
    model, defense = toy_model(), DirichletNeighborhood(updates=2)
    first = defense.neighbours(model, at(0.1))
    with torch.no_grad():
        model.words.weight.copy_(torch.randn(model.words.weight.shape, generator=torch.Generator().manual_seed(1)))
    assert defense.neighbours(model, at(0.4)) is first
    second = defense.neighbours(model, at(0.6))
    assert not torch.equal(first.items, second.items)
    assert defense.neighbours(toy_model(), at(0.6)) is not second


def test_mixed_items_raise_the_loss_with_convex_weights() -> None:
    model, batch = toy_model(), toy_batch()
    defense = MixedItems(ratio=0.5, steps=3)
    histories = batch.users.histories
    places = chosen_places(histories, torch.rand(histories.shape, generator=torch.Generator().manual_seed(0)), 0.5)
    items = torch.unique(histories[histories != PAD])
    weights = defense.worst(model, batch, places, items)
    assert weights.shape == (len(places.users), 1 + len(items))
    assert float(weights.min()) >= 0.0
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(len(weights)))
    embedded, vectors = model.embed_history(batch.users), item_vectors(model, items)
    own = embedded[places.users, places.columns]

    def loss_with(weights: torch.Tensor) -> float:
        mixtures = weights[:, :1] * own + weights[:, 1:] @ vectors
        return float(loss_at(model, batch, places.put(embedded, mixtures)).detach())

    clean, attacked = loss_of(Standard(), model, batch), loss_with(weights)
    drawn = torch.rand(weights.shape, generator=torch.Generator().manual_seed(0))
    spread = torch.nn.functional.one_hot(torch.zeros(len(weights), dtype=torch.long), 1 + len(items))
    random = spread + drawn / drawn.norm(dim=1, keepdim=True)
    assert attacked > 1.2 * clean
    assert attacked > loss_with(random / random.sum(dim=1, keepdim=True))
    # a small step raises it a little
    tiny = MixedItems(ratio=0.5, steps=1, step_size=1e-3).worst(model, batch, places, items)
    assert clean < loss_with(tiny) < attacked


def test_mixed_items_add_the_loss_on_mixtures() -> None:
    model, batch = toy_model(), toy_batch()
    clean = loss_of(Standard(), model, batch)
    assert loss_of(MixedItems(lam=0.0), model, batch) == pytest.approx(clean, rel=1e-6)
    assert loss_of(MixedItems(steps=0), model, batch) == pytest.approx(2 * clean, rel=1e-5)
    half, whole = (loss_of(MixedItems(lam=lam), model, batch) - clean for lam in (0.5, 1.0))
    assert whole == pytest.approx(2 * half, rel=1e-5)
    assert whole > clean


@pytest.mark.parametrize("defense", [DirichletNeighborhood(), MixedItems()], ids=lambda value: type(value).__name__)
def test_users_without_a_history_are_trained_on_plainly(defense: DirichletNeighborhood | MixedItems) -> None:
    model, batch = toy_model(), toy_batch()
    empty = replace(batch, users=Users(batch.users.ids, torch.full_like(batch.users.histories, PAD)))
    plain = gradients(model, Standard().training_loss(model, empty, at(0.75)))
    torch.testing.assert_close(gradients(model, defense.training_loss(model, empty, at(0.75))), plain)

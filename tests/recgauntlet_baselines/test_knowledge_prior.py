from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from toy_problem import loss_of, toy_batch, toy_model
from toy_recommender import make_catalog

from recgauntlet.core.batch import Users
from recgauntlet.core.dataset import Catalog
from recgauntlet.core.types import PAD
from recgauntlet_baselines.defenses import knowledge_prior
from recgauntlet_baselines.defenses._consistency import symmetric_kl
from recgauntlet_baselines.defenses.knowledge_prior import KnowledgePrior, Neighbours
from recgauntlet_baselines.defenses.standard import Standard

GENRES = ("Comedy", "Comedy Romance", "Horror", "", "Romance Comedy", "Horror Thriller War", "Western")


def neighbours(graph: Neighbours, item: int) -> set[int]:
    start, count = int(graph.starts[item]), int(graph.counts[item])
    return set(graph.items[start : start + count].tolist())


def prepared(catalog: Catalog, **options: float) -> KnowledgePrior:
    defense = KnowledgePrior(**options)
    defense.prepare((), catalog)
    return defense


@pytest.mark.parametrize(
    ("overlap", "expected"),
    [
        (0.5, [{1, 4}, {0, 4}, set(), set(), {0, 1}, set(), set()]),
        (0.3, [{1, 4}, {0, 4}, {5}, set(), {0, 1}, {2}, set()]),
        (1.0, [set(), {4}, set(), set(), {1}, set(), set()]),
    ],
)
def test_neighbours_share_enough_categories(overlap: float, expected: list[set[int]]) -> None:
    graph = Neighbours.of(GENRES, overlap)
    assert [neighbours(graph, item) for item in range(len(GENRES))] == expected


def test_neighbours_are_the_same_however_many_are_found_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    categories = make_catalog(40).categories
    whole = Neighbours.of(categories, 0.5)
    monkeypatch.setattr(knowledge_prior, "_BLOCK", 7)
    parts = Neighbours.of(categories, 0.5)
    assert torch.equal(whole.items, parts.items)
    assert torch.equal(whole.starts, parts.starts)


def test_items_make_way_for_neighbours_alone_and_padding_stays() -> None:
    graph = Neighbours.of(GENRES, 0.5)
    histories = torch.tensor([[PAD, 0, 1, 2, 3, 4], [PAD, PAD, 0, 0, 6, 0]])
    draws = torch.rand((2, 6), generator=torch.Generator().manual_seed(0)) * 0.5
    changed = graph.exchanged(histories, draws, 0.5)
    for before, after in zip(histories.flatten().tolist(), changed.flatten().tolist(), strict=True):
        if before == PAD or not neighbours(graph, before):
            assert after == before
        else:
            assert after in neighbours(graph, before)
    assert torch.equal(graph.exchanged(histories, draws + 0.5, 0.5), histories)


def test_each_neighbour_is_drawn_as_often() -> None:
    graph = Neighbours.of(GENRES, 0.5)
    draws = torch.rand((4000, 1), generator=torch.Generator().manual_seed(1))
    changed = graph.exchanged(torch.zeros((4000, 1), dtype=torch.int64), draws, 0.3)
    counts = torch.bincount(changed.flatten(), minlength=5)
    assert float(counts[0]) == pytest.approx(2800, abs=150)
    assert float(counts[1]) == pytest.approx(float(counts[4]), rel=0.2)


def test_the_loss_adds_the_divergence_from_the_exchanged_history() -> None:
    model, batch, catalog = toy_model(), toy_batch(), make_catalog(40)
    defense = prepared(catalog, lam=2.0, ratio=0.5)
    seen: list[torch.Tensor] = []
    graph = defense._graph
    assert graph is not None

    class Watched(Neighbours):
        def exchanged(self, histories: torch.Tensor, draws: torch.Tensor, ratio: float) -> torch.Tensor:
            seen.append(super().exchanged(histories, draws, ratio))
            return seen[-1]

    defense._graph = Watched(graph.items, graph.starts, graph.counts)
    loss = loss_of(defense, model, batch)
    assert (seen[0] != batch.users.histories).any()
    kinds = [catalog.categories[item] for item in seen[0][seen[0] != PAD].tolist()]
    assert kinds == [catalog.categories[item] for item in batch.users.histories[batch.users.histories != PAD].tolist()]
    other = replace(batch, users=Users(batch.users.ids, seen[0]))
    scores = []
    for one in (batch, other):
        state = model.encode_user(one.users)
        scores.append(model.score(state.select(one.rows), model.candidates(one.items, one.texts)))
    expected = loss_of(Standard(), model, batch) + 2.0 * float(symmetric_kl(*scores).mean().detach())
    assert loss == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("options", [{"lam": 0.0}, {"ratio": 0.0}])
def test_without_weight_or_exchange_it_is_plain_training(options: dict[str, float]) -> None:
    model, batch = toy_model(), toy_batch()
    defense = prepared(make_catalog(40), **options)
    assert loss_of(defense, model, batch) == pytest.approx(loss_of(Standard(), model, batch), rel=1e-6)


def test_a_catalog_without_categories_is_trained_on_plainly() -> None:
    model, batch, catalog = toy_model(), toy_batch(), make_catalog(40)
    defense = prepared(replace(catalog, categories=("",) * len(catalog)))
    assert loss_of(defense, model, batch) == pytest.approx(loss_of(Standard(), model, batch), rel=1e-6)

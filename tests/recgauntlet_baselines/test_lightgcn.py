from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor

from recgauntlet.core.batch import Batch, Users
from recgauntlet.core.dataset import TaskData, TrainingPeriod
from recgauntlet.core.recommender import Origin
from recgauntlet.core.types import PAD
from recgauntlet.testing.tiny import TOKENS, tiny_data, whole
from recgauntlet.training.defense import model_scores
from recgauntlet_baselines.models import lightgcn
from recgauntlet_baselines.models.lightgcn import LightGCN, spread

USERS = 33


@pytest.fixture(scope="module")
def data() -> TaskData:
    return tiny_data()


@pytest.fixture(scope="module")
def batch(data: TaskData) -> Batch:
    return whole(data.train)


def build(data: TaskData, layers: int = 3) -> LightGCN:
    origin = Origin(data.catalog, TOKENS, {"size": 4, "layers": layers}, TrainingPeriod(data.train, USERS))
    return LightGCN.build(origin, 0).eval()


def dense(data: TaskData) -> Tensor:
    """The normalized adjacency, edge by edge."""
    count = USERS + len(data.catalog)
    adjacency = torch.zeros(count, count)
    for user, history, item in zip(data.train.users, data.train.histories, data.train.clicked, strict=True):
        for taken in [*history[history >= 0].tolist(), item]:
            adjacency[user, USERS + taken] = adjacency[USERS + taken, user] = 1.0
    degree = adjacency.sum(dim=1).clamp(min=1)
    return adjacency / (degree[:, None] * degree).sqrt()


def layers_by_hand(model: LightGCN, data: TaskData) -> list[Tensor]:
    layers = [model.nodes.weight.detach()]
    for _ in range(model.layers):
        layers.append(dense(data) @ layers[-1])
    return layers


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A one for every time that vectors are spread over the graph."""
    calls: list[int] = []

    def counting(*arguments: Tensor) -> Tensor:
        calls.append(1)
        return spread(*arguments)

    monkeypatch.setattr(lightgcn, "spread", counting)
    return calls


@torch.no_grad()
@pytest.mark.parametrize("layers", [1, 3])
def test_an_item_is_the_mean_of_its_layers(data: TaskData, layers: int) -> None:
    model = build(data, layers)
    every = torch.arange(len(data.catalog))
    wanted = torch.stack(layers_by_hand(model, data)).mean(dim=0)[USERS:]
    torch.testing.assert_close(model.embed(model.candidates(every))[:, 0], wanted)


@torch.no_grad()
def test_a_user_with_all_edges_as_history_is_the_papers_but_for_the_own_layer_0(data: TaskData) -> None:
    model = build(data)
    layers = layers_by_hand(model, data)
    wanted = torch.stack(layers[1:]).sum(dim=0) / (model.layers + 1)
    for user in (0, 5):
        taken = dense(data)[user, USERS:].nonzero()[:, 0]
        found = model.encode_user(Users(torch.tensor([user]), taken[None])).tensors[0][0]
        torch.testing.assert_close(found, wanted[user])


@torch.no_grad()
def test_two_users_of_one_history_are_the_same_and_an_empty_one_is_zero(data: TaskData) -> None:
    users = Users(torch.tensor([0, USERS - 1, 1]), torch.tensor([[3, 8], [3, 8], [PAD, PAD]]))
    known, new, empty = build(data).encode_user(users).tensors[0]
    assert torch.equal(known, new)
    assert not empty.any()


def test_the_gradient_is_that_of_the_dense_product_and_can_be_differentiated_again(data: TaskData) -> None:
    model = build(data).double()
    graph = (model.neighbors, model.starts, model.weights)
    layer = torch.randn(USERS + len(data.catalog), 4, dtype=torch.float64, requires_grad=True)
    pull = torch.randn_like(layer)
    torch.testing.assert_close(spread(layer, *graph), dense(data).double() @ layer, atol=1e-6, rtol=1e-5)
    (found,) = torch.autograd.grad((spread(layer, *graph) * pull).sum(), layer)
    torch.testing.assert_close(found, dense(data).double() @ pull, atol=1e-6, rtol=1e-5)
    squared = spread(layer, *graph).square().sum()
    (first,) = torch.autograd.grad(squared, layer, create_graph=True)
    (second,) = torch.autograd.grad((first * pull).sum(), layer)
    twice = dense(data).double() @ dense(data).double() @ pull
    torch.testing.assert_close(second, 2 * twice, atol=1e-6, rtol=1e-5)


@torch.no_grad()
def test_vectors_are_spread_once_as_long_as_weights_stay(data: TaskData, batch: Batch, counted: list[int]) -> None:
    model = build(data)
    first = model_scores(model, batch)
    assert len(counted) == model.layers
    assert torch.equal(model_scores(model, batch), first)
    assert len(counted) == model.layers


@pytest.mark.parametrize("way", ["step", "data", "load", "double"])
def test_whatever_changes_the_weights_changes_the_vectors(data: TaskData, batch: Batch, way: str) -> None:
    model = build(data)
    with torch.no_grad():
        before = model_scores(model, batch)
        new = model.nodes.weight.flip(0).clone()
        if way == "step":
            model.nodes.weight.copy_(new)
        elif way == "data":
            model.nodes.weight.data.copy_(new)
        elif way == "load":
            model.load_state_dict(model.state_dict() | {"nodes.weight": new})
        else:
            model.double()
        after = model_scores(model, batch)
        model._kept = None
        assert torch.equal(after, model_scores(model, batch))
    assert after.dtype == model.nodes.weight.dtype
    assert torch.allclose(after.float(), before, atol=1e-6) == (way == "double")


def test_a_step_after_evaluation_has_a_graph_and_a_second_backward_pass_too(data: TaskData, batch: Batch) -> None:
    model = build(data)
    with torch.no_grad():
        model_scores(model, batch)
    for _ in range(2):
        model.zero_grad(set_to_none=True)
        model.click_loss(model_scores(model, batch), batch).backward()
        assert model.nodes.weight.grad is not None
        assert model.nodes.weight.grad[:USERS].any(), "users are learned through the graph"
    copy.deepcopy(model)


@torch.no_grad()
def test_the_penalty_is_on_layer_0_of_users_and_items(data: TaskData, batch: Batch) -> None:
    model = build(data)
    model.l2, model.drawn = 0.5, 0
    start = model.nodes.weight
    total = start[batch.users.ids].square().sum() + start[USERS + batch.items].square().sum()
    torch.testing.assert_close(model.auxiliary_loss(batch, torch.Generator()), 0.5 * total / len(batch.users))


def test_the_graph_is_rebuilt_and_not_saved(data: TaskData) -> None:
    assert set(build(data).state_dict()) == {"nodes.weight", "log_scale", "offset"}

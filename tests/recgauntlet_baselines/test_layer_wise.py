from __future__ import annotations

import torch
from torch import Tensor, nn
from toy_problem import at, gradients_of, toy_batch, toy_model
from toy_recommender import ToyRecommender

from recgauntlet.core.batch import Candidates
from recgauntlet.core.dataset import TaskData
from recgauntlet_baselines.defenses.layer_wise import LayerWise, blocks_of
from recgauntlet_baselines.defenses.pgd import PGD
from recgauntlet_baselines.models.nrms import NRMS


def names(model: nn.Module, count: int) -> list[list[str]]:
    of = {id(p): name for name, p in model.named_parameters()}
    return [[of[id(p)] for p in block] for block in blocks_of(model, count)]


def test_blocks_hold_every_parameter_once_from_the_input_to_the_output(data: TaskData) -> None:
    model = NRMS(data.catalog, token_length=16, word_size=16, heads=2, head_size=8, attention_size=8)
    for count in range(1, 12):
        flat = [name for block in names(model, count) for name in block]
        assert sorted(flat) == sorted(name for name, _ in model.named_parameters())
        assert len(names(model, count)) <= count
    first, second, third = names(model, 3)
    assert {name.split(".")[0] for name in first} == {"words", "title_attention"}
    assert {name.split(".")[0] for name in second} == {"title_pool", "history_attention"}
    assert {name.split(".")[0] for name in third} == {"history_pool", "positions", "log_scale", "offset"}


def test_a_part_that_holds_nearly_all_is_opened_and_what_is_frozen_is_left_out() -> None:
    inside = nn.Sequential(nn.Embedding(50, 4), nn.Linear(4, 4), nn.Linear(4, 4))
    model = nn.Sequential(inside, nn.Linear(4, 1), nn.Dropout())
    assert names(model, 2) == [
        ["0.0.weight", "0.1.weight", "0.1.bias", "0.2.weight", "0.2.bias"],
        ["1.weight", "1.bias"],
    ]
    assert [block[0] for block in names(model, 4)] == ["0.0.weight", "0.1.weight", "0.2.weight", "1.weight"]
    inside[1].requires_grad_(False)
    assert names(model, 3) == [["0.0.weight"], ["0.2.weight", "0.2.bias"], ["1.weight", "1.bias"]]


def test_weights_that_two_parts_share_are_in_one_block() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    model[1].weight = model[0].weight
    assert names(model, 2) == [["0.weight", "0.bias"], ["1.bias"]]


def test_the_block_whose_turn_it_is_takes_both_gradients_and_the_others_the_clean_one() -> None:
    model, batch = toy_model(), toy_batch()
    both = gradients_of(PGD(lam=0.7), model, batch)
    clean = torch.autograd.grad(PGD().sides(model, batch, at(0.75)).clean_loss, list(model.parameters()))
    for progress, turn in ((0.5, 0), (0.75, 1)):
        defense = LayerWise(lam=0.7, blocks=2, sweeps=2)
        assert defense.turn(progress, 2) == turn
        active = {id(p) for p in blocks_of(model, 2)[turn]}
        assert 0 < len(active) < len(both)
        found = gradients_of(defense, model, batch, progress)
        for parameter, got, own, sum_ in zip(model.parameters(), found, clean, both, strict=True):
            torch.testing.assert_close(got, sum_ if id(parameter) in active else own, rtol=1e-4, atol=1e-7)


def test_blocks_take_turns_from_the_input_side_on() -> None:
    defense = LayerWise(blocks=3, sweeps=2)
    assert [defense.turn(step / 12, 3) for step in range(12)] == [0, 0, 1, 1, 2, 2, 0, 0, 1, 1, 2, 2]


def test_one_block_is_pgd() -> None:
    model, batch = toy_model(), toy_batch()
    torch.testing.assert_close(
        gradients_of(LayerWise(blocks=1), model, batch), gradients_of(PGD(), model, batch), rtol=1e-4, atol=1e-7
    )


def test_the_adversarial_pass_ends_at_its_block() -> None:
    class Watched(ToyRecommender):
        reached = 0

        def embed(self, candidates: Candidates) -> Tensor:
            embedded = super().embed(candidates)
            embedded.register_hook(self.count)
            return embedded

        def count(self, gradient: Tensor) -> None:
            self.reached += 1

    batch, reached = toy_batch(), []
    for progress in (0.75, 0.875):  # the last block is the offset alone, the first the words
        model = Watched(toy_model().catalog)
        gradients_of(LayerWise(blocks=4, sweeps=2), model, batch, progress)
        reached.append((LayerWise(blocks=4, sweeps=2).turn(progress, 4), model.reached))
    first = Watched(toy_model().catalog)
    gradients_of(LayerWise(blocks=4, sweeps=2), first, batch, 0.5)
    assert reached == [(2, 1), (3, 1)]
    assert first.reached == 2

from __future__ import annotations

import pytest
import torch
from toy_problem import built_toy, gradients_of, toy_batch, toy_model, trainer_of

from recgauntlet.core.dataset import TaskData
from recgauntlet.core.errors import PluginError
from recgauntlet.training.cost import count_passes
from recgauntlet_baselines.defenses._adversarial import l2_unit
from recgauntlet_baselines.defenses.ensemble import CleanPass, Ensemble, siblings
from recgauntlet_baselines.defenses.fgm import FGM


def test_siblings_differ_from_the_model_and_each_other_and_are_the_same_each_time(data: TaskData) -> None:
    first = trainer_of(built_toy(data.train))
    one, two = siblings(first, 2)
    words = [member.model.state_dict()["words.weight"] for member in (first, one, two)]
    assert len({float(w.sum()) for w in words}) == 3
    again, _ = siblings(first, 2)
    assert torch.equal(again.model.state_dict()["words.weight"], words[1])
    assert (one.total_steps, one.context.progress) == (first.total_steps, first.context.progress)


def test_a_model_is_trained_on_the_examples_of_another_rescaled_to_its_own_embeddings(data: TaskData) -> None:
    batch, own, other = toy_batch(), built_toy(data.train), built_toy(data.train, seed=1)
    with torch.no_grad():
        own.words.weight *= 3.0
    own_pass, other_pass = CleanPass(own, batch), CleanPass(other, batch)
    handle = other.embed(other.candidates(batch.items)).detach().requires_grad_(True)
    state = other.encode_user(batch.users).select(batch.rows)
    other.click_loss(other.score(state, other.candidates(batch.items), handle), batch).backward()
    assert handle.grad is not None
    mask = own.candidates(batch.items).tokens.mask
    size = own_pass.encoded.embedded.detach()[mask].norm(dim=1).mean()
    delta = 0.4 * size * l2_unit(handle.grad)
    expected = own_pass.encoded.loss(own_pass.encoded.embedded + delta)
    torch.testing.assert_close(own_pass.attacked(other_pass, 0.4), expected)


def test_every_member_learns_in_step(data: TaskData) -> None:
    batch, trainer, defense = toy_batch(), trainer_of(built_toy(data.train)), Ensemble(members=3)
    before = [member.model.state_dict()["out.weight"].clone() for member in siblings(trainer, 2)]
    for _ in range(2):
        trainer.advance(defense, batch)
    assert len(defense._others) == 2
    for member, start in zip(defense._others, before, strict=True):
        assert not torch.equal(member.model.state_dict()["out.weight"], start)
        assert member.context.step == trainer.context.step
        assert member.schedule.get_last_lr() == trainer.schedule.get_last_lr()


def test_sources_rotate_among_the_others(data: TaskData, monkeypatch: pytest.MonkeyPatch) -> None:
    batch, trainer, defense = toy_batch(), trainer_of(built_toy(data.train)), Ensemble(members=3)
    pairs: list[tuple[int, int]] = []
    inside = CleanPass.attacked

    def watch(self: CleanPass, source: CleanPass, radius: float) -> torch.Tensor:
        models = [trainer.model, *(member.model for member in defense._others)]
        number = {id(model): i for i, model in enumerate(models)}
        pairs.append((number[id(self.encoded.model)], number[id(source.encoded.model)]))
        return inside(self, source, radius)

    monkeypatch.setattr(CleanPass, "attacked", watch)
    for _ in range(2):
        trainer.advance(defense, batch)
    assert sorted(pairs[:3]) == [(0, 2), (1, 0), (2, 1)]  # step 15
    assert sorted(pairs[3:]) == [(0, 1), (1, 2), (2, 0)]


def test_one_member_is_fgm() -> None:
    model, batch = toy_model(), toy_batch()
    for progress in (0.0, 0.15, 0.75):
        torch.testing.assert_close(
            gradients_of(Ensemble(members=1), model, batch, progress),
            gradients_of(FGM(), model, batch, progress),
            rtol=1e-4,
            atol=1e-7,
        )


def test_a_new_training_has_new_siblings_and_serving_drops_them(data: TaskData) -> None:
    batch, defense = toy_batch(), Ensemble(members=2)
    trainer_of(built_toy(data.train)).advance(defense, batch)
    (old,) = defense._others
    model = built_toy(data.train)
    trainer_of(model).advance(defense, batch)
    assert defense._others[0] is not old
    assert defense.wrap(model) is model
    assert defense._others == []


def test_a_model_without_an_origin_has_no_siblings() -> None:
    with pytest.raises(PluginError, match="built by its constructor"):
        trainer_of(toy_model()).advance(Ensemble(), toy_batch())


def test_the_served_model_scores_a_batch_twice_a_step(data: TaskData) -> None:
    batch, trainer = toy_batch(), trainer_of(built_toy(data.train))
    with count_passes(trainer.model) as passes:
        trainer.advance(Ensemble(members=2), batch)
    assert (passes.forwards, passes.backwards) == (2 * len(batch), 3 * len(batch))

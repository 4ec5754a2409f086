from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from small_data import small_data
from torch import Tensor
from toy_recommender import ToyRecommender

from recgauntlet.core.batch import Batch
from recgauntlet.core.dataset import Catalog, Pairs, TaskData, TrainingPeriod
from recgauntlet.core.errors import PluginError
from recgauntlet.core.recommender import Origin, Recommender, TrainingRecipe
from recgauntlet.core.rng import Randomness
from recgauntlet.data.batches import pairs_to_batch
from recgauntlet.training.checkpoint import weights_hash
from recgauntlet.training.defense import Defense, TrainingContext
from recgauntlet.training.trainer import AdamWTrainer, Trained, train, validate
from recgauntlet_baselines.defenses.fgm import FGM
from recgauntlet_baselines.defenses.pgd import PGD
from recgauntlet_baselines.defenses.standard import Standard

RECIPE = TrainingRecipe(epochs=4, batch_size=16, learning_rate=2e-2, patience=9, least_steps=1)


@pytest.fixture(scope="module")
def data() -> TaskData:
    return small_data(train=160)


def run(
    data: TaskData, defense: Defense, seed: int = 0, recipe: TrainingRecipe = RECIPE, precision: str = "fp32"
) -> tuple[ToyRecommender, Trained]:
    torch.manual_seed(seed)
    model = ToyRecommender(data.catalog)
    model.recipe = recipe
    return model, train(model, defense, data, Randomness(seed, "training"), precision=precision)


class Watching(Standard):
    """Keeps the example ids of every batch, and the contexts."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.contexts: list[TrainingContext] = []

    def training_loss(self, model: Recommender, batch: Batch, context: TrainingContext) -> Tensor:
        self.batches.append(batch.example_ids.tolist())
        self.contexts.append(context)
        return super().training_loss(model, batch, context)


def test_progress_shows_the_loss_and_the_auc_of_the_last_epoch(data: TaskData) -> None:
    told: list[str] = []
    model = ToyRecommender(data.catalog)
    model.recipe = RECIPE
    trained = train(model, Standard(), data, Randomness(0, "training"), progress=lambda what, share: told.append(what))
    steps = len(told) // RECIPE.epochs
    for number, epoch in enumerate(trained.epochs, start=1):
        last = told[number * steps - 1]
        assert last.startswith(f"training, epoch {number} of {RECIPE.epochs}, loss {epoch.loss:.3f}")
        before = "" if number == 1 else f", AUC {trained.epochs[number - 2].valid_auc:.3f}"
        assert last.endswith(f"{epoch.loss:.3f}{before}")


def test_training_learns(data: TaskData) -> None:
    model, trained = run(data, Standard())
    assert max(epoch.valid_auc for epoch in trained.epochs) > 0.8
    assert not model.training


@pytest.mark.parametrize("defense", [Standard(), FGM(warmup=0.25), PGD(warmup=0.25)])
def test_one_seed_gives_one_model_bit_for_bit(data: TaskData, defense: Defense) -> None:
    first, told = run(data, defense)
    second, again = run(data, defense)
    assert weights_hash(first) == weights_hash(second)
    assert told.epochs == again.epochs
    assert weights_hash(run(data, defense, seed=1)[0]) != weights_hash(first)


def test_best_weights_are_restored(data: TaskData, monkeypatch: pytest.MonkeyPatch) -> None:
    hashes: list[str] = []
    scripted = iter([0.6, 0.9, 0.7, 0.8])

    def script(model: Recommender, pairs: Pairs) -> float:
        hashes.append(weights_hash(model))
        return next(scripted)

    monkeypatch.setattr("recgauntlet.training.trainer.validate", script)
    model, trained = run(data, Standard())
    assert [epoch.kept for epoch in trained.epochs] == [True, True, False, False]
    assert len(set(hashes)) == 4
    assert weights_hash(model) == hashes[1]


def test_training_stops_when_nothing_gets_better(data: TaskData, monkeypatch: pytest.MonkeyPatch) -> None:
    scripted = iter([0.6, 0.5, 0.5, 0.9])
    monkeypatch.setattr("recgauntlet.training.trainer.validate", lambda model, pairs: next(scripted))
    _, trained = run(data, Standard(), recipe=dataclasses.replace(RECIPE, patience=2))
    assert len(trained.epochs) == 3
    assert trained.steps == 3 * 10


def test_weights_before_the_defense_is_ready_are_not_kept(data: TaskData, monkeypatch: pytest.MonkeyPatch) -> None:
    scripted = iter([0.9, 0.5, 0.4, 0.6])
    monkeypatch.setattr("recgauntlet.training.trainer.validate", lambda model, pairs: next(scripted))
    _, trained = run(data, FGM(warmup=0.5), recipe=dataclasses.replace(RECIPE, patience=1 + 1))
    assert [epoch.kept for epoch in trained.epochs] == [False, True, False, True]


def test_batches_are_the_same_under_every_defense(data: TaskData) -> None:
    class WatchingFGM(FGM):
        def training_loss(self, model: Recommender, batch: Batch, context: TrainingContext) -> Tensor:
            seen.append(batch.example_ids.tolist())
            return super().training_loss(model, batch, context)

    seen: list[list[int]] = []
    watching = Watching()
    run(data, watching)
    run(data, WatchingFGM())
    assert watching.batches == seen
    one_epoch = [i for ids in seen[:10] for i in ids]
    assert sorted(one_epoch) == list(range(2 * len(data.train))), "every pair once an epoch"
    assert seen[:10] != seen[10:20], "another order each epoch"


def test_progress_runs_from_zero_to_below_one(data: TaskData) -> None:
    watching = Watching()
    run(data, watching)
    progress = [context.progress for context in watching.contexts]
    assert progress == pytest.approx([i / 40 for i in range(40)])
    assert [context.step for context in watching.contexts] == list(range(40))


class Lossy(Standard):
    def __init__(self, kind: str) -> None:
        self.kind = kind

    def training_loss(self, model: Recommender, batch: Batch, context: TrainingContext) -> Tensor:
        loss = super().training_loss(model, batch, context)
        return {
            "nan": loss * float("nan"),
            "infinite": loss * float("inf"),
            "detached": loss.detach(),
            "vector": loss.expand(3),
        }[self.kind]


@pytest.mark.parametrize(
    ("kind", "words"),
    [("nan", "is nan at step 0"), ("infinite", "is inf"), ("detached", "no gradient"), ("vector", r"shape \(3,\)")],
)
def test_a_broken_loss_is_named_with_a_remedy(data: TaskData, kind: str, words: str) -> None:
    with pytest.raises(PluginError, match=words) as caught:
        run(data, Lossy(kind))
    assert caught.value.field == "training_loss"
    assert caught.value.remedy


def test_a_filter_that_leaves_nothing_is_named(data: TaskData) -> None:
    class Greedy(Standard):
        def filter(self, pairs: Pairs) -> Pairs:
            return pairs.select(slice(0))

    with pytest.raises(PluginError) as caught:
        run(data, Greedy())
    assert caught.value.field == "filter"


def test_a_filter_decides_what_is_learned_from(data: TaskData) -> None:
    class Half(Watching):
        def filter(self, pairs: Pairs) -> Pairs:
            return pairs.select(slice(80))

    half = Half()
    _, trained = run(data, half)
    assert trained.steps == 4 * 5
    assert max(max(ids) for ids in half.batches) < 160


def test_wrong_scores_are_named(data: TaskData) -> None:
    class Wide(ToyRecommender):
        def score(self, *arguments: object) -> Tensor:  # type: ignore[override]
            return super().score(*arguments)[:, None]  # type: ignore[arg-type]

    with pytest.raises(PluginError) as caught:
        validate(Wide(data.catalog), data.valid)
    assert caught.value.field == "score"


def test_scores_that_are_no_numbers_are_worth_nothing(data: TaskData) -> None:
    assert validate(ToyRecommender(data.catalog, bias=float("nan")), data.valid) == 0.0


def test_few_pairs_still_get_the_least_steps() -> None:
    recipe = TrainingRecipe(epochs=1, batch_size=256, learning_rate=1e-2, least_steps=40)
    assert recipe.pairs_a_step(100_000) == 256
    assert recipe.pairs_a_step(400) == 10
    assert recipe.pairs_a_step(3) == 1


@pytest.mark.parametrize(
    ("defense", "forwards", "backwards"),
    [(Standard(), 1, 1), (FGM(warmup=0.0), 2, 2), (PGD(warmup=0.0, steps=3), 4, 4), (PGD(warmup=0.0, steps=1), 2, 2)],
)
def test_passes_are_counted_an_example(data: TaskData, defense: Defense, forwards: int, backwards: int) -> None:
    """Clean (with the first inner gradient), each further inner step, adversarial; validation draws no gradient."""
    recipe = dataclasses.replace(RECIPE, epochs=1)
    _, trained = run(data, defense, recipe=recipe)
    examples = 2 * len(data.train)
    assert trained.passes.backwards == backwards * examples
    assert trained.passes.forwards == forwards * examples + 2 * len(data.valid)


def test_flops_grow_with_the_inner_steps(data: TaskData) -> None:
    flops = [run(data, defense)[1].flops for defense in (Standard(), FGM(warmup=0.0), PGD(warmup=0.0, steps=3))]
    assert 0 < flops[0] < flops[1] < flops[2]


def test_bfloat16_learns_about_as_well(data: TaskData) -> None:
    best = [
        max(epoch.valid_auc for epoch in run(data, Standard(), precision=precision)[1].epochs)
        for precision in ("fp32", "bf16")
    ]
    assert abs(best[0] - best[1]) < 0.1


def test_a_model_of_chance_validates_at_one_half(data: TaskData) -> None:
    assert validate(ToyRecommender(data.catalog, gain=0.0), data.valid) == pytest.approx(0.5)
    assert np.isfinite(validate(ToyRecommender(data.catalog), data.valid))


class Penalized(ToyRecommender):
    """Pulls a weight of its own to 3 and nothing else, and keeps what it drew."""

    def __init__(self, catalog: Catalog) -> None:
        super().__init__(catalog)
        self.pulled = torch.nn.Parameter(torch.zeros(()))
        self.drawn: list[float] = []

    def click_loss(self, scores: Tensor, batch: Batch) -> Tensor:
        return scores.sum() * 0.0

    def auxiliary_loss(self, batch: Batch, generator: torch.Generator) -> Tensor | None:
        self.drawn.append(float(torch.rand((), generator=generator)))
        return (self.pulled - 3.0) ** 2


@pytest.mark.parametrize("defense", [Standard(), FGM(warmup=0.25)])
def test_a_model_may_have_a_loss_of_its_own_and_a_further_one_under_every_defense(
    data: TaskData, defense: Defense
) -> None:
    model = Penalized(data.catalog)
    model.recipe = dataclasses.replace(RECIPE, learning_rate=0.2)
    others = {name: value.clone() for name, value in model.state_dict().items() if name != "pulled"}
    train(model, defense, data, Randomness(0, "training"))
    assert float(model.pulled.detach()) > 1.0  # the first epoch's weights are kept: their AUC is as good as any
    assert all(torch.equal(others[name], value) for name, value in model.state_dict().items() if name != "pulled")
    assert len(set(model.drawn)) == len(model.drawn)


def test_the_further_loss_draws_the_same_under_every_defense(data: TaskData) -> None:
    drawn = []
    for defense in (Standard(), FGM(warmup=0.25)):
        model = Penalized(data.catalog)
        model.recipe = RECIPE
        train(model, defense, data, Randomness(0, "training"))
        drawn.append(model.drawn[:8])
    assert drawn[0] == drawn[1]


class Knowing(ToyRecommender):
    """Has a row a user."""

    def prepare(self, training: TrainingPeriod) -> None:
        self.rows = torch.nn.Parameter(torch.randn(training.user_count, 2))


def test_a_sibling_is_the_same_model_with_other_first_weights(data: TaskData) -> None:
    origin = Origin(data.catalog, 12, {}, TrainingPeriod(data.train, data.user_count))
    before = torch.random.get_rng_state()
    model = Knowing.build(origin, 7)
    other = model.sibling(8)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert weights_hash(model.sibling(7)) == weights_hash(model) != weights_hash(other)
    assert other.rows.shape == (data.user_count, 2)


def test_a_model_of_unknown_origin_has_no_sibling(data: TaskData) -> None:
    with pytest.raises(PluginError, match="a sibling cannot be"):
        ToyRecommender(data.catalog).sibling(0)


@pytest.mark.parametrize("kind", [ToyRecommender, Penalized])
def test_gradients_that_are_applied_as_they_are_do_what_minimizing_does(
    data: TaskData, kind: type[ToyRecommender]
) -> None:
    class ByGradients(Standard):
        def step(self, trainer: AdamWTrainer, batch: Batch) -> Tensor:
            loss = self.training_loss(trainer.model, batch, trainer.context)
            trainer.apply(trainer.gradients(loss))
            return loss.detach()

    followed = []
    for defense in (Standard(), ByGradients()):
        torch.manual_seed(0)
        trainer = AdamWTrainer(kind(data.catalog), 9, Randomness(0, "t"), "fp32")
        trainer.advance(defense, pairs_to_batch(data.train, np.arange(16)))
        followed.append([parameter.grad for parameter in trainer.parameters])
    assert any(gradient is not None and gradient.any() for gradient in followed[0])
    torch.testing.assert_close(followed[1], followed[0])


def test_gradients_of_a_loss_that_is_no_number_are_refused(data: TaskData) -> None:
    trainer = AdamWTrainer(ToyRecommender(data.catalog), 1, Randomness(0, "t"), "fp32")
    with pytest.raises(PluginError, match="nan at step 0"):
        trainer.gradients(trainer.parameters[0].sum() * torch.nan)

"""Randomized smoothing: what training deletes, what is served, and that nothing is left of it without deletions."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from small_data import small_data
from toy_recommender import (
    ToyRecommender,
    embedding_threat,
    headline_threat,
    history_threat,
    make_batch,
    stuffing_threat,
    train,
)

from recgauntlet.core.batch import Batch
from recgauntlet.core.card import Threat
from recgauntlet.core.errors import PluginError
from recgauntlet.core.rng import Randomness
from recgauntlet.core.types import PAD
from recgauntlet.threats.smoothing import DeletionSmoothed
from recgauntlet.training.cost import count_passes
from recgauntlet.training.defense import TrainingContext
from recgauntlet_baselines.defenses.randomized_smoothing import RandomizedSmoothing
from recgauntlet_baselines.defenses.standard import Standard


@pytest.fixture(scope="module")
def model() -> ToyRecommender:
    torch.manual_seed(0)
    return train(ToyRecommender(small_data().catalog), steps=40)


@pytest.fixture(scope="module")
def batch(model: ToyRecommender) -> Batch:
    return make_batch(model.catalog, users=200, seed=5)


def at(step: int, seed: int = 0) -> TrainingContext:
    return TrainingContext(step, 0.5, Randomness(seed, "test"))


def prepared(model: ToyRecommender, *threats: Threat, p_delete: float = 0.7, votes: int = 10) -> RandomizedSmoothing:
    defense = RandomizedSmoothing(p_delete=p_delete, votes=votes)
    defense.prepare(threats, model.catalog)
    return defense


def is_subsequence(part: list[object], whole: list[object]) -> bool:
    rest = iter(whole)
    return all(element in rest for element in part)


def test_items_are_deleted_with_the_probability_and_the_rest_moves_together(
    model: ToyRecommender, batch: Batch
) -> None:
    noisy = prepared(model, history_threat()).deleted(batch, at(0))
    assert noisy.texts is None
    assert torch.equal(noisy.rows, batch.rows), "both candidates of a user are shown to one noisy history"
    kept = 0
    for before, after in zip(batch.users.histories.tolist(), noisy.users.histories.tolist(), strict=True):
        left = [item for item in after if item != PAD]
        assert after == [PAD] * (len(after) - len(left)) + left
        assert is_subsequence(left, before)
        kept += len(left)
    assert kept / int((batch.users.histories != PAD).sum()) == pytest.approx(0.3, abs=0.05)


def test_words_are_deleted_with_the_probability_and_keep_their_order(model: ToyRecommender, batch: Batch) -> None:
    noisy = prepared(model, headline_threat()).deleted(batch, at(0))
    assert noisy.users is batch.users
    assert noisy.texts is not None
    kept = total = 0
    for item, text in zip(batch.items.tolist(), noisy.texts, strict=True):
        words = list(model.catalog.texts[item].split())
        assert is_subsequence(list(text.split()), list(words))
        kept, total = kept + len(text.split()), total + len(words)
    assert kept / total == pytest.approx(0.3, abs=0.05)
    longer = batch.with_texts(["boat ship harbor"] * len(batch))
    shown = prepared(model, headline_threat()).deleted(longer, at(0)).texts
    assert shown is not None
    assert {word for text in shown for word in text.split()} == {"boat", "ship", "harbor"}


def test_noise_depends_on_seed_and_step_alone(model: ToyRecommender, batch: Batch) -> None:
    defense = prepared(model, history_threat())
    histories = [defense.deleted(batch, at(*where)).users.histories for where in ((3, 0), (3, 0), (4, 0), (3, 1))]
    assert torch.equal(histories[0], histories[1])
    assert not torch.equal(histories[0], histories[2])
    assert not torch.equal(histories[0], histories[3])


def history_only(model: ToyRecommender) -> RandomizedSmoothing:
    return prepared(model, history_threat(), p_delete=1e-12)


def words_only(model: ToyRecommender) -> RandomizedSmoothing:
    return prepared(model, headline_threat(), p_delete=1e-12)


@pytest.mark.parametrize("made", [history_only, words_only])
def test_without_deletions_it_is_plain_training(
    model: ToyRecommender, batch: Batch, made: Callable[[ToyRecommender], RandomizedSmoothing]
) -> None:
    plain = Standard().training_loss(model, batch, at(0))
    torch.testing.assert_close(made(model).training_loss(model, batch, at(0)), plain)
    noisy = prepared(model, history_threat()).training_loss(model, batch, at(0))
    assert bool(noisy > plain)


def test_a_step_takes_one_pass(model: ToyRecommender, batch: Batch) -> None:
    with count_passes(model) as passes:
        prepared(model, history_threat()).training_loss(model, batch, at(0))
    assert passes.forwards == len(batch)


@pytest.mark.parametrize(
    ("threats", "surface"),
    [
        ((embedding_threat(), history_threat()), "history"),
        ((stuffing_threat(), history_threat()), "candidate-text"),
        ((stuffing_threat().model_copy(update={"ranked": False}), history_threat()), "history"),
        ((headline_threat().model_copy(update={"ranked": False}), embedding_threat()), "candidate-text"),
    ],
)
def test_what_the_first_ranked_threat_changes_is_deleted(
    model: ToyRecommender, threats: tuple[Threat, ...], surface: str
) -> None:
    served = prepared(model, *threats).wrap(model)
    assert isinstance(served, DeletionSmoothed)
    assert served.surface == surface
    assert served.inner is model


def test_a_task_without_words_or_items_to_delete_is_refused(model: ToyRecommender) -> None:
    with pytest.raises(PluginError, match="no threat to texts or histories"):
        prepared(model, embedding_threat())


def test_a_model_that_does_not_read_what_would_be_deleted_is_served_as_it_is(model: ToyRecommender) -> None:
    blind = ToyRecommender(model.catalog)
    blind.surfaces = frozenset({"history"})  # type: ignore[misc]
    assert prepared(model, headline_threat()).wrap(blind) is blind


@pytest.mark.parametrize(("p_delete", "votes", "kept"), [(0.9, 12, 1), (0.7, 10, 3), (0.5, 10, 5), (0.99, 8, 1)])
def test_votes_see_the_share_that_training_keeps(model: ToyRecommender, p_delete: float, votes: int, kept: int) -> None:
    served = prepared(model, history_threat(), p_delete=p_delete, votes=votes).wrap(model)
    assert isinstance(served, DeletionSmoothed)
    assert (served.votes, served.kept) == (votes, kept)
    assert int(served.seen.sum(dim=1).max()) == kept
    assert not served.training


@pytest.mark.parametrize("options", [{"p_delete": 0.0}, {"p_delete": 1.0}, {"votes": 1}, {"sharpness": 0.0}])
def test_values_that_delete_nothing_or_all_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(PluginError, match="do not fit"):
        RandomizedSmoothing(**options)  # type: ignore[arg-type]

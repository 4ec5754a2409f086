from __future__ import annotations

import sys
from typing import Any

import pytest
import torch
from small_data import small_data
from toy_recommender import ToyRecommender, embedding_threat, train

from recgauntlet.core.batch import Batch, Candidates, UserState
from recgauntlet.core.dataset import TaskData
from recgauntlet.core.rng import Randomness
from recgauntlet.evaluation.judge import (
    fresh_copy,
    judged_scores,
    largest_difference,
    score_in_chunks,
    sealed_scores,
)
from recgauntlet.evaluation.robustness import run_threat
from recgauntlet.evaluation.sanity_checks.behaviour import fresh_scores
from recgauntlet.evaluation.setup import Trial
from recgauntlet.testing.audit import zoo
from recgauntlet.threats.knowledge import AttackerKnowledge

RNG = Randomness(0, "test")


@pytest.fixture(scope="module")
def data() -> TaskData:
    return small_data(test=20)


class Watched(ToyRecommender):
    """Notes how many candidates it is asked about at a time, and what its callers know."""

    def score(self, user: UserState, candidates: Candidates, embeddings: Any = None) -> torch.Tensor:
        frame: Any = sys._getframe()
        while frame is not None:
            batch = frame.f_locals.get("batch")
            if isinstance(batch, Batch):
                self.known.append(bool(batch.labels.any()) or bool(batch.example_ids.any()))
            frame = frame.f_back
        self.sizes.append(len(candidates))
        return super().score(user, candidates, embeddings)

    def clear(self) -> None:
        self.known: list[bool] = []
        self.sizes: list[int] = []


@pytest.fixture
def watched(data: TaskData) -> Watched:
    model = Watched(data.catalog)
    model.clear()
    return model


@pytest.fixture
def clean(watched: Watched, data: TaskData) -> Batch:
    batch = Trial.of(watched, data, AttackerKnowledge(data.catalog)).batch
    watched.clear()
    return batch


def perturbed_forms(model: ToyRecommender, clean: Batch) -> list[tuple[Batch, Batch]]:
    """Clean and perturbed inputs of the three kinds."""
    listings = clean.as_new_listings([model.catalog.texts[i] for i in clean.items.tolist()])
    delta = torch.randn(model.embed(model.candidates(clean.items)).shape, generator=torch.Generator().manual_seed(0))
    return [
        (listings, listings.with_texts([f"new {text}" for text in listings.texts or ()])),
        (clean, clean.with_histories(clean.histories().roll(1, dims=0))),
        (clean, clean.with_delta(delta)),
    ]


def test_scores_do_not_depend_on_order_company_or_repeats(watched: Watched, clean: Batch) -> None:
    for before, after in perturbed_forms(watched, clean):
        plain = score_in_chunks(watched, after)
        for seed in range(3):
            judged = judged_scores(watched, after, before, Randomness(seed, "judge"))
            torch.testing.assert_close(judged, plain, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(judged_scores(watched, after, None, RNG), plain, rtol=1e-4, atol=1e-5)


def test_perturbed_inputs_are_asked_for_among_others_and_in_batches_of_many_sizes(
    watched: Watched, clean: Batch
) -> None:
    before, after = perturbed_forms(watched, clean)[1]
    for seed in range(40):
        judged_scores(watched, after, before, Randomness(seed, "judge"))
    assert sum(watched.sizes) > 40 * 1.2 * len(after)
    assert len(set(watched.sizes)) > 3


def test_no_caller_of_the_model_holds_labels_or_example_ids(watched: Watched, clean: Batch) -> None:
    sealed_scores(watched, clean)
    score_in_chunks(watched, clean, chunk=7)
    judged_scores(watched, clean, clean, RNG)
    assert watched.known
    assert not any(watched.known)


def test_an_error_of_the_model_reaches_the_evaluator(watched: Watched, clean: Batch) -> None:
    del watched.sizes
    with pytest.raises(AttributeError, match="sizes"):
        sealed_scores(watched, clean)


def test_a_fresh_copy_has_weights_and_state_of_its_own(watched: Watched, clean: Batch) -> None:
    copied = fresh_copy(watched)
    assert copied.catalog is watched.catalog
    before = score_in_chunks(copied, clean)
    with torch.no_grad():
        watched.words.weight.zero_()
    torch.testing.assert_close(score_in_chunks(copied, clean), before)
    assert watched.sizes == []


def test_the_difference_is_relative_and_infinite_where_one_alone_is_no_number() -> None:
    first, nan = torch.tensor([1.0, 2.0]), torch.tensor([1.0, torch.nan])
    assert largest_difference(first, torch.tensor([1.0, 2.5]), 2.0) == pytest.approx(0.25)
    assert largest_difference(nan, nan, 1.0) == 0.0
    assert largest_difference(first, nan, 1.0) == float("inf")


@pytest.mark.parametrize(("fake", "passes"), [("", True), ("repeated-answers", False), ("bounded-drift", False)])
def test_a_model_that_remembers_is_scored_otherwise_by_a_fresh_copy(fake: str, passes: bool, data: TaskData) -> None:
    torch.manual_seed(0)
    honest = train(ToyRecommender(data.catalog), steps=60).requires_grad_(False)
    model = zoo([fake])[0](honest, data) if fake else honest
    trial = Trial.of(model, data, AttackerKnowledge(data.catalog))
    result = run_threat(trial, embedding_threat(), RNG)
    assert fresh_scores(trial, result).passed is passes


def test_a_model_that_cannot_be_copied_fails_the_check(data: TaskData) -> None:
    class Single(ToyRecommender):
        def __deepcopy__(self, memo: object) -> Single:
            raise TypeError("there is one of me")

    trial = Trial.of(Single(data.catalog), data, AttackerKnowledge(data.catalog))
    result = run_threat(trial, embedding_threat(), RNG)
    gate = fresh_scores(trial, result)
    assert not gate.passed
    assert "cannot be copied" in gate.explanation

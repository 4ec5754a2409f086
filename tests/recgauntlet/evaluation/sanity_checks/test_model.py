from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch import Tensor
from toy_recommender import ToyRecommender

from recgauntlet.core.batch import Candidates, UserState
from recgauntlet.core.dataset import TaskData
from recgauntlet.evaluation.sanity_checks import failed
from recgauntlet.evaluation.sanity_checks.behaviour import inference_checks, padding_independence
from recgauntlet.evaluation.sanity_checks.model import clean_score_checks, embedding_inflation, memorization
from recgauntlet.evaluation.setup import Trial
from recgauntlet.threats.embedding_scale import EmbeddingScale


def names(trial: Trial) -> set[str]:
    gates = (*clean_score_checks(trial), *inference_checks(trial), padding_independence(trial))
    return {gate.name for gate in failed(gates)}


class Changed(ToyRecommender):
    """Its scores are changed by a function."""

    def change(self, scores: Tensor, candidates: Candidates) -> Tensor:
        return scores

    def score(self, user: UserState, candidates: Candidates, embeddings: Tensor | None = None) -> Tensor:
        return self.change(super().score(user, candidates, embeddings), candidates)


class Noisy(Changed):
    def change(self, scores: Tensor, candidates: Candidates) -> Tensor:
        return scores + 0.1 * torch.randn_like(scores)


class Broken(Changed):
    def change(self, scores: Tensor, candidates: Candidates) -> Tensor:
        return torch.where(candidates.items % 4 == 0, torch.nan, scores)


class Loud(Changed):
    def change(self, scores: Tensor, candidates: Candidates) -> Tensor:
        return 1000 * scores


class ReadsPadding(ToyRecommender):
    """Its texts are the sum over all places."""

    def pool(self, embeddings: Tensor, mask: Tensor) -> Tensor:
        return super().pool(embeddings, mask) + 0.1 * (embeddings * ~mask.unsqueeze(-1)).sum(dim=1)


class Silent(Changed):
    def change(self, scores: Tensor, candidates: Candidates) -> Tensor:
        return 0 * scores


class Shifted(Changed):
    """In order, but 0 does not divide it: almost everything is above."""

    def change(self, scores: Tensor, candidates: Candidates) -> Tensor:
        return scores - scores.min() + 0.01


class LooksAtNeighbours(Changed):
    def change(self, scores: Tensor, candidates: Candidates) -> Tensor:
        return scores - scores.mean()


class Optimizes(ToyRecommender):
    def score(self, user: UserState, candidates: Candidates, embeddings: Tensor | None = None) -> Tensor:
        with torch.enable_grad():
            handle = (self.embed(candidates) if embeddings is None else embeddings).detach().requires_grad_(True)
            (step,) = torch.autograd.grad(super().score(user, candidates, handle).sum(), handle)
        return super().score(user, candidates, handle.detach() - 0.0 * step)


class Counts(ToyRecommender):
    """Keeps a buffer of how often it was asked."""

    def score(self, user: UserState, candidates: Candidates, embeddings: Tensor | None = None) -> Tensor:
        with torch.no_grad():
            self.bias.add_(1e-6)
        return super().score(user, candidates, embeddings)


def test_an_honest_model_passes_all(try_: object, data: TaskData) -> None:
    trial = try_()  # type: ignore[operator]
    gates = (
        *clean_score_checks(trial),
        *inference_checks(trial),
        memorization(trial, data),
        embedding_inflation(trial, trial.scale),
    )
    assert [(gate.name, gate.value) for gate in failed(gates)] == []
    assert all(gate.explanation and gate.remedy for gate in gates)


@pytest.mark.parametrize(
    ("kind", "flags"),
    [
        (Noisy, {"deterministic"}),
        (Broken, {"finite-scores", "better-than-chance", "deterministic"}),
        (Loud, {"logits-of-usual-size"}),
        (Silent, {"better-than-chance", "decides-better-than-chance", "not-constant"}),
        (LooksAtNeighbours, {"scores-each-by-itself"}),
        (Optimizes, {"no-optimization-at-inference"}),
        (Counts, {"unchanged-by-scoring"}),
        (ReadsPadding, {"padding-is-not-read", "scores-each-by-itself"}),
    ],
)
def test_a_model_that_misbehaves_is_flagged_for_it(try_: object, kind: type[ToyRecommender], flags: set[str]) -> None:
    found = names(try_(kind))  # type: ignore[operator]
    assert flags <= found
    if kind is not Broken:
        assert found == flags


def test_a_constant_model_is_flagged(try_: object) -> None:
    found = names(try_(bias=torch.tensor(100.0)))  # type: ignore[operator]
    assert {"not-constant", "decides-better-than-chance"} <= found


def test_a_model_whose_order_is_good_but_whose_boundary_is_not_is_flagged(try_: object) -> None:
    found = names(try_(Shifted))  # type: ignore[operator]
    assert "decides-better-than-chance" in found
    assert "better-than-chance" not in found


def test_a_random_model_is_scored_by_the_mean_of_many_passes(try_: object) -> None:
    assert try_(Noisy).samples == try_(Noisy).victim.samples == 8  # type: ignore[operator]
    assert try_().samples == 1  # type: ignore[operator]


@pytest.mark.parametrize("factor", [0.1, 10.0])
def test_embeddings_of_another_size_than_the_twins_are_flagged(try_: object, factor: float) -> None:
    trial = try_()  # type: ignore[operator]
    twin = EmbeddingScale(trial.scale.norm * factor, trial.scale.rms * factor)
    assert not embedding_inflation(trial, twin).passed
    assert not embedding_inflation(trial, EmbeddingScale(0.0, 0.0)).passed


def test_a_model_that_knows_the_test_examples_is_flagged(try_: object, data: TaskData) -> None:
    trial = try_()  # type: ignore[operator]
    knows = dataclasses.replace(trial, right=torch.ones_like(trial.right))
    forgets = dataclasses.replace(data, valid=_swapped(data))
    assert not memorization(knows, forgets).passed


def _swapped(data: TaskData) -> object:
    """Validation pairs whose clicked and unclicked candidates have changed places: a good model errs on them."""
    valid = data.valid
    return dataclasses.replace(valid, clicked=np.array(valid.unclicked), unclicked=np.array(valid.clicked))

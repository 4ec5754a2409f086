"""The parts of the benchmarks: a peer sees the model as it is and is judged as we are, and sides do the same work."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from bench_collaborative import Split, quality, random_split
from bench_subject import Subject, survivors, untrained_subject
from bench_training import Course
from bench_view import PeerView

from recgauntlet.evaluation.setup import Trial
from recgauntlet.testing.tiny import tiny_data
from recgauntlet.threats.budget import Budget
from recgauntlet.training.cost import count_passes
from recgauntlet.training.defense import Defense

SMALL = {"word_size": 8, "heads": 2, "head_size": 4, "attention_size": 8}


@pytest.fixture(scope="module")
def small() -> Subject:
    return untrained_subject("nrms", SMALL)


@pytest.fixture(scope="module")
def trial(small: Subject) -> Trial:
    return small.trial(20)


@pytest.fixture(scope="module")
def view(small: Subject, trial: Trial) -> PeerView:
    return PeerView(trial, torch.arange(3, len(trial.batch)), Budget.of(small.threat("embedding"), "high"))


def test_a_view_scores_as_the_model_does_in_any_order(view: PeerView, trial: Trial) -> None:
    order = torch.randperm(len(view.inputs), generator=torch.Generator().manual_seed(0))[:17]
    with torch.no_grad():
        logits = view(view.inputs[order])
    assert torch.allclose(logits[:, 1] - logits[:, 0], trial.scores[3:][order], atol=1e-5)
    assert trial.scores.std() > 1e-3


def test_no_step_inside_the_radius_turns_an_example_into_another(view: PeerView) -> None:
    flat = view.inputs.flatten(1)
    bits = flat[:, view.shape.numel() :]
    assert set(bits.unique().tolist()) == {0.0, 1.0}
    assert view.radius < 0.5
    assert flat[:, : view.shape.numel()].min() >= view.radius - 1e-6
    assert flat[:, : view.shape.numel()].max() <= 1 - view.radius + 1e-6
    x = view.inputs.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(view(x)[:, 1].sum(), x)
    assert gradient.flatten(1)[:, view.shape.numel() :].abs().max() == 0
    assert gradient.abs().max() > 0


def test_a_peer_is_believed_inside_the_ball_and_not_beyond(view: PeerView) -> None:
    x = view.inputs.clone().requires_grad_(True)
    wrong = 1.0 - 2.0 * view.labels
    (gradient,) = torch.autograd.grad(((view(x)[:, 1] - view(x)[:, 0]) * wrong).sum(), x)
    step = gradient / gradient.flatten(1).norm(dim=1)[:, None, None, None]
    inside = view.found(view.inputs + view.radius * 0.999 * step)
    beyond = view.found(view.inputs + view.radius * 1.01 * step)
    assert inside.illegal == 0
    assert beyond.illegal == len(view.inputs)
    assert inside.broken.any()
    assert not beyond.broken.any()


def test_a_peer_cannot_switch_dropout_on(view: PeerView) -> None:
    view.train()
    assert not view.model.training


def test_the_suite_runs_as_the_harness_runs_it(small: Subject, trial: Trial) -> None:
    standing = survivors(trial, small.threat("embedding"), "high")
    assert not (standing & ~trial.right).any()
    assert standing.sum() < trial.right.sum()


def test_the_bare_loop_ends_at_the_weights_of_the_harness() -> None:
    """So it does the same work."""
    ended = []
    for bare in (True, False):
        course = Course.of("nrms", SMALL, 4, size=8)
        torch.manual_seed(0)
        if bare:
            course.bare()
        else:
            course.harness(Defense())
        ended.append(torch.cat([value.detach().flatten() for value in course.model.parameters()]))
    assert torch.equal(*ended)


def test_the_floor_of_pgd_takes_one_pass_and_one_for_each_step() -> None:
    course = Course.of("nrms", SMALL, 2, size=8)
    with count_passes(course.model) as passes:
        course.bare(gradients=3)
    assert (passes.forwards, passes.backwards) == (4 * 2 * 2 * 8,) * 2


def test_the_split_keeps_its_parts_apart_and_no_unclicked_item_was_taken() -> None:
    split = small_split()
    parts = [set(map(tuple, part.T.tolist())) for part in (split.train, split.valid, split.test)]
    assert not parts[0] & parts[1]
    assert not (parts[0] | parts[1]) & parts[2]
    taken = set().union(*parts)
    for pairs in (split.data.train, split.data.valid, split.data.test):
        for user, history, clicked, unclicked in zip(
            pairs.users, pairs.histories, pairs.clicked, pairs.unclicked, strict=True
        ):
            assert (user, unclicked) not in taken
            assert all((user, item) in parts[0] and item != clicked for item in history[history >= 0])


def test_perfect_scores_are_worth_1_and_reversed_ones_0() -> None:
    split = small_split()
    scores = np.zeros((split.data.user_count, len(split.data.catalog)))
    scores[split.test[0], split.test[1]] = 1.0
    best, worst = quality(scores, 0.0, split), quality(-scores, 0.0, split)
    assert (best.auc.value, best.ndcg.value) == (1.0, 1.0)
    assert (worst.auc.value, worst.ndcg.value) == (0.0, 0.0)


def small_split() -> Split:
    taken = np.stack([np.repeat(np.arange(5), 12), np.tile(np.arange(12), 5) * 3 % 40])
    return random_split(tiny_data(), taken)

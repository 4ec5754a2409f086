"""What the benchmarks stand on: peers see the model as it is, are judged as we are, and figures are told rightly."""

from __future__ import annotations

from pathlib import Path

import bench_figures
import pytest
import torch
from bench_figures import Figure
from bench_subject import Subject, survivors, untrained_subject
from bench_view import PeerView

from recgauntlet.evaluation.setup import Trial
from recgauntlet.threats.budget import Budget


@pytest.fixture(scope="module")
def small() -> Subject:
    return untrained_subject("nrms", {"word_size": 8, "heads": 2, "head_size": 4, "attention_size": 8})


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


@pytest.mark.parametrize(
    ("figure", "told"),
    [
        (Figure("a", 1.1, "why", at_most=1.2), "a: 1.1 (promised: at most 1.2) ok; why"),
        (Figure("a", 1.3, "why", at_most=1.2), "a: 1.3 (promised: at most 1.2) MISSED; why"),
        (Figure("a", 1.3, "why", at_least=1.5), "a: 1.3 (promised: at least 1.5) MISSED; why"),
        (Figure("a", 1.3, "why"), "a: 1.3 (reported); why"),
        (Figure("a", None, "foolbox is not installed", at_most=1), "a: skipped: foolbox is not installed"),
    ],
)
def test_a_figure_says_what_was_promised(figure: Figure, told: str) -> None:
    assert figure.line() == told


def test_a_skipped_figure_gives_way_to_a_measured_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_figures, "FIGURES", tmp_path / "figures.json")
    bench_figures.keep([Figure("a", None, "not installed"), Figure("b", None, "not installed")])
    bench_figures.keep([Figure("a", 2.0, "", subject="nrms")])
    bench_figures.keep([Figure("a", None, "not installed")])
    kept = [(figure.name, figure.measured) for figure in bench_figures.load().values()]
    assert kept == [("b", None), ("a", 2.0)]

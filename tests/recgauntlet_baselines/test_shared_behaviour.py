"""What many defenses have in common: neutral settings are plain training, radii rise, and passes are counted."""

from __future__ import annotations

import pytest
import torch
from toy_problem import at, gradients_of, passes_of, toy_batch, toy_model

from recgauntlet.training.defense import Defense
from recgauntlet_baselines.defenses._adversarial import RisingRadius, l2_clip, l2_unit
from recgauntlet_baselines.defenses.apr import APR
from recgauntlet_baselines.defenses.awp import AWP
from recgauntlet_baselines.defenses.ensemble import Ensemble
from recgauntlet_baselines.defenses.fgm import FGM
from recgauntlet_baselines.defenses.fgsm import FGSM
from recgauntlet_baselines.defenses.free import FreeAT
from recgauntlet_baselines.defenses.freelb import FreeLB
from recgauntlet_baselines.defenses.gradient_scaling import GradientScaling
from recgauntlet_baselines.defenses.history_dropout import HistoryDropout
from recgauntlet_baselines.defenses.label_smoothing import LabelSmoothing
from recgauntlet_baselines.defenses.layer_wise import LayerWise
from recgauntlet_baselines.defenses.loss_truncation import LossTruncation
from recgauntlet_baselines.defenses.mart import MART
from recgauntlet_baselines.defenses.pgd import PGD
from recgauntlet_baselines.defenses.smart import SMART
from recgauntlet_baselines.defenses.trades import TRADES
from recgauntlet_baselines.defenses.vat import VAT
from recgauntlet_baselines.defenses.vulnerability_aware import VulnerabilityAware
from recgauntlet_baselines.defenses.word_dropout import WordDropout

NEUTRAL: list[Defense] = [
    *(kind(epsilon=0.0) for kind in (FGSM, FGM, PGD, TRADES, VAT, FreeLB)),
    TRADES(beta=0.0),
    SMART(epsilon=0.0, mu=0.0),
    GradientScaling(lam=0.0),
    WordDropout(rate=0.0),
    HistoryDropout(rate=0.0),
    LabelSmoothing(smoothing=0.0),
    LossTruncation(rate=0.0),
]
WARMING_UP = [PGD(), TRADES(), FreeLB(), AWP(), GradientScaling(), LayerWise(), LossTruncation()]


@pytest.mark.parametrize(
    ("defense", "progress"),
    [*((defense, 0.75) for defense in NEUTRAL), *((defense, 0.0) for defense in WARMING_UP)],
    ids=lambda value: type(value).__name__ if isinstance(value, Defense) else str(value),
)
def test_neutral_settings_and_the_first_step_of_a_warm_up_are_plain_training(defense: Defense, progress: float) -> None:
    model, batch = toy_model(), toy_batch()
    plain = gradients_of(Defense(), model, batch)
    torch.testing.assert_close(gradients_of(defense, model, batch, progress), plain, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize(
    ("defense", "passes"),
    [
        (FGM(), (2, 2, 1)),
        (PGD(steps=3), (4, 4, 1)),  # the clean pass gives the first inner step its gradient
        (GradientScaling(steps=3), (4, 4, 1)),
        (FreeLB(steps=3), (3, 3, 1)),  # no clean pass
        (TRADES(steps=4), (6, 6, 1)),
        (MART(steps=3), (5, 5, 1)),
        (VAT(), (3, 3, 1)),
        (SMART(steps=2), (5, 4, 2)),  # the teacher scores the batch, too
        (APR(), (2, 3, 1)),  # no forward pass for the perturbation
        (VulnerabilityAware(), (2, 3, 1)),
        (AWP(steps=2), (5, 5, 2)),  # users are encoded anew with the moved weights
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Defense) else "",
)
def test_a_step_takes_as_many_passes_as_the_method_needs(defense: Defense, passes: tuple[int, int, int]) -> None:
    """Candidates scored and gradients drawn, an example; and users encoded."""
    assert passes_of(defense) == passes


@pytest.mark.parametrize("kind", [FGSM, FGM, PGD, APR, FreeAT, FreeLB, TRADES, Ensemble])
def test_the_radius_rises_over_the_warm_up_and_weights_are_kept_after_it(kind: type[RisingRadius]) -> None:
    defense = kind(epsilon=0.4, warmup=0.5)  # type: ignore[call-arg]
    assert [defense.ready(at(p)) for p in (0.0, 0.49, 0.5, 1.0)] == [False, False, True, True]
    assert [defense.radius(at(p)) for p in (0.0, 0.25, 0.5, 1.0)] == pytest.approx([0.0, 0.2, 0.4, 0.4])


def test_hyperparameters_are_all_constructor_arguments_in_their_order() -> None:
    expected = {"epsilon": 0.25, "lam": 1.0, "warmup": 0.3, "steps": 5, "step_size": 0.3}
    assert list(PGD(steps=5, step_size=0.3).hyperparameters().items()) == list(expected.items())
    assert Defense().hyperparameters() == {}


@pytest.mark.parametrize("size", [1e-30, 1e-24, 1e-12, 1.0, 1e6])
def test_a_unit_step_has_length_one_however_small_the_gradient_is(size: float) -> None:
    assert l2_unit(torch.full((1, 2, 3), size)).norm().item() == pytest.approx(1.0, rel=1e-4)


def test_unit_and_clip_work_an_example_at_a_time_and_leave_zeros() -> None:
    tensor = torch.stack([torch.zeros(2, 3), torch.full((2, 3), 0.01), torch.full((2, 3), 9.0)])
    torch.testing.assert_close(l2_unit(tensor).flatten(1).norm(dim=1), torch.tensor([0.0, 1.0, 1.0]))
    clipped = l2_clip(tensor, torch.tensor(0.5))
    assert torch.equal(clipped[:2], tensor[:2])
    assert float(clipped[2].norm()) == pytest.approx(0.5)

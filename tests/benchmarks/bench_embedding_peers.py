"""The attacks of other libraries on continuous inputs, each called as its documentation says, on one view of a model.

All get the same examples (those that the model has right), the same L2 ball, and about a hundred gradients an
example, as they come. Parameters of the model ask for no gradient, so peers pay for the input's alone.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from bench_view import PeerView
from torch import Tensor


@dataclass(frozen=True)
class Peer:
    """An attack of another library: the module it comes from, its distribution, and how it is called."""

    name: str
    module: str
    distribution: str
    call: Callable[[PeerView], Tensor]

    @property
    def installed(self) -> bool:
        return find_spec(self.module) is not None

    def run(self, view: PeerView) -> Tensor:
        """The perturbed inputs, `[n, 1, 1, N]`; the same draws every time."""
        torch.manual_seed(0)
        np.random.seed(0)  # ART draws from the global generator
        return self.call(view).detach()


def _foolbox_pgd(view: PeerView) -> Tensor:
    import foolbox

    attack = foolbox.attacks.L2PGD(steps=50, rel_stepsize=0.1)
    return _foolbox(attack, view)


def _foolbox_ddn(view: PeerView) -> Tensor:
    import foolbox

    return _foolbox(foolbox.attacks.DDNAttack(steps=100), view)


def _foolbox(attack: Any, view: PeerView) -> Tensor:
    import foolbox

    _, clipped, _ = attack(
        foolbox.PyTorchModel(view, bounds=(0, 1), device="cpu"), view.inputs, view.labels, epsilons=view.radius
    )
    found: Tensor = clipped
    return found


def _torchattacks_apgd(view: PeerView) -> Tensor:
    import torchattacks

    found: Tensor = torchattacks.APGD(view, norm="L2", eps=view.radius, steps=100)(view.inputs, view.labels)
    return found


def _adv_lib_apgd(view: PeerView) -> Tensor:
    with _stubs():
        from adv_lib.attacks import apgd

    found: Tensor = apgd(view, view.inputs, view.labels, eps=view.radius, norm=2, loss_function="ce")
    return found


def _adv_lib_fmn(view: PeerView) -> Tensor:
    with _stubs():
        from adv_lib.attacks import fmn

    found: Tensor = fmn(view, view.inputs, view.labels, norm=2, steps=100)
    return found


def _pyautoattack(view: PeerView) -> Tensor:
    from pyautoattack import AutoAttack

    attack = AutoAttack(view, norm="L2", eps=view.radius, version="custom", attacks=["apgd-ce"], seed=0)
    found = attack.run_standard_evaluation(view.inputs, view.labels, batch_size=len(view.inputs))
    return found if isinstance(found, Tensor) else found[0]


def _art_apgd(view: PeerView) -> Tensor:
    from art.attacks.evasion import AutoProjectedGradientDescent
    from art.estimators.classification import PyTorchClassifier

    classifier = PyTorchClassifier(
        model=view,
        loss=torch.nn.CrossEntropyLoss(),
        input_shape=tuple(view.inputs.shape[1:]),
        nb_classes=2,
        clip_values=(0.0, 1.0),
        device_type="cpu",
    )
    attack = AutoProjectedGradientDescent(
        classifier,
        norm=2,
        eps=view.radius,
        eps_step=view.radius,
        max_iter=100,
        nb_random_init=1,
        batch_size=len(view.inputs),
        loss_type="cross_entropy",
        verbose=False,
    )
    return torch.from_numpy(attack.generate(view.inputs.numpy(), view.labels.numpy()))


@contextmanager
def _stubs() -> Iterator[None]:
    """adv-lib imports visdom (plots) and torchvision (a perceptual distance) though neither attack uses them: empty
    modules stand in for those that are not there."""
    wanted = {"visdom": ("Visdom",), "torchvision": ("models",), "torchvision.models": (), "torchvision.utils": ()}
    made = []
    for name, attributes in wanted.items():
        parent = name.split(".", maxsplit=1)[0]
        if name in sys.modules or (parent not in made and find_spec(parent) is not None):
            continue
        module = types.ModuleType(name)
        for attribute in attributes:
            setattr(module, attribute, None)
        sys.modules[name] = module
        made.append(name)
    try:
        yield
    finally:
        for name in made:
            del sys.modules[name]


PEERS = (
    Peer("foolbox L2PGD", "foolbox", "foolbox", _foolbox_pgd),
    Peer("foolbox DDN", "foolbox", "foolbox", _foolbox_ddn),
    Peer("torchattacks APGD", "torchattacks", "torchattacks", _torchattacks_apgd),
    Peer("adv-lib APGD", "adv_lib", "adv-lib", _adv_lib_apgd),
    Peer("adv-lib FMN", "adv_lib", "adv-lib", _adv_lib_fmn),
    Peer("pyautoattack APGD-CE", "pyautoattack", "pyautoattack", _pyautoattack),
    Peer("ART AutoPGD", "art", "adversarial-robustness-toolbox", _art_apgd),
)

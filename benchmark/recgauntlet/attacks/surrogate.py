"""Adversarial examples of the surrogate (the undefended twin), found once and cached for all defenses of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from recgauntlet.attacks.base import Attack
from recgauntlet.attacks.common import wrong_way
from recgauntlet.core.batch import Batch
from recgauntlet.core.dataset import Catalog
from recgauntlet.core.errors import OutputError
from recgauntlet.core.files import write_atomically
from recgauntlet.core.protocol import DEEP
from recgauntlet.core.rng import Randomness
from recgauntlet.threats.base import ThreatModel
from recgauntlet.threats.budget import Budget
from recgauntlet.threats.queries import Effort
from recgauntlet.threats.registry import threat_model
from recgauntlet.threats.victim import Victim


@dataclass(frozen=True)
class Variant:
    """What one attack made of the twin's clean batch of `B` examples; `tried [B]` are those it was given."""

    attack: str
    tried: Tensor
    perturbed: Batch


@dataclass(frozen=True)
class SurrogateInputs:
    """The perturbed inputs of one twin, kept in `directory` (None: nowhere) under a hash of all that they depend on.

    `identity` says which weights, data and suite they belong to.
    """

    victim: Victim
    identity: tuple[str, ...]
    rng: Randomness
    directory: Path | None = None

    def on(self, clean: Batch, rng: Randomness) -> SurrogateInputs:
        """The same twin's inputs for other clean examples, kept apart by the purpose of `rng`."""
        twin = self.victim
        victim = Victim(twin.model, twin.world, twin.scale, clean, half=twin.half)
        return SurrogateInputs(victim, (*self.identity, rng.purpose), rng, self.directory)

    def found(self, attacks: Sequence[Attack], budget: Budget) -> tuple[tuple[Variant, ...], Effort]:
        """What `attacks` make of the clean batch, one after the other, each on the examples that the twin still gets
        right, and what that took (also where it was done before)."""
        path = self._path(attacks, budget)
        model = threat_model(budget.threat)
        kept = None if path is None else _read(path, self.victim.clean, model)
        if kept is None:
            kept = self._search(attacks, budget)
            if path is not None:
                _write(path, *kept, model, self.victim.world.catalog)
        return kept

    def _search(self, attacks: Sequence[Attack], budget: Budget) -> tuple[tuple[Variant, ...], Effort]:
        victim, clean, effort = self.victim, self.victim.clean, Effort()
        standing = torch.ones_like(clean.labels, dtype=torch.bool)
        if budget.threat.goal == "promote":
            standing = clean.labels < 0.5
        model, catalog, variants = threat_model(budget.threat), victim.world.catalog, []
        for attack in attacks:
            index = torch.nonzero(standing).flatten()
            if not attack.supports(budget) or not len(index):
                continue
            victim.reset(budget.queries)
            rng = self.rng.child(f"{budget.threat.id}/{budget.tier}/{attack.name}")
            perturbed = attack.perturb(victim, clean.select(index), budget, rng)
            effort.add(victim.effort)
            victim.reset(None)
            tried = torch.zeros_like(standing)
            tried[index] = True
            variants.append(Variant(attack.name, tried, model.put(catalog, clean, index, perturbed)))
            standing[index] = wrong_way(perturbed) * victim.scores(perturbed) <= DEEP
        return tuple(variants), effort

    def _path(self, attacks: Sequence[Attack], budget: Budget) -> Path | None:
        if self.directory is None:
            return None
        parts = [*self.identity, str(self.rng.seed), budget.threat.model_dump_json(exclude={"source"}), budget.tier]
        parts.append(json.dumps([budget.amount, budget.characters, budget.queries]))
        parts += [json.dumps([attack.name, attack.hyperparameters()], sort_keys=True) for attack in attacks]
        parts.append(hashlib.sha256(self.victim.clean.example_ids.cpu().numpy().tobytes()).hexdigest())
        return self.directory / f"{hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]}.safetensors"


def _write(path: Path, variants: Sequence[Variant], effort: Effort, model: ThreatModel[Any], catalog: Catalog) -> None:
    tensors: dict[str, Tensor] = {}
    for number, variant in enumerate(variants):
        tensors[f"{number}.tried"] = variant.tried.cpu()
        tensors[f"{number}.perturbed"] = model.to_tensor(catalog, variant.perturbed).cpu().contiguous()
    about = {"attacks": json.dumps([v.attack for v in variants]), "effort": json.dumps(asdict(effort))}
    with suppress(OutputError):  # a cache that cannot be written costs time, nothing else
        write_atomically(path, save(tensors, metadata=about))


def _read(path: Path, clean: Batch, model: ThreatModel[Any]) -> tuple[tuple[Variant, ...], Effort] | None:
    """What is kept, or None where nothing is or the file is broken."""
    if not path.exists():
        return None
    device = clean.items.device
    try:
        with safe_open(path, framework="pt") as file:
            about = file.metadata()
            tensors = {name: file.get_tensor(name).to(device) for name in file.keys()}  # noqa: SIM118
        variants = [
            Variant(name, tensors[f"{number}.tried"], model.from_tensor(clean, tensors[f"{number}.perturbed"]))
            for number, name in enumerate(json.loads(about["attacks"]))
        ]
        return tuple(variants), Effort(**json.loads(about["effort"]))
    except (OSError, SafetensorError, KeyError, TypeError, ValueError):
        return None

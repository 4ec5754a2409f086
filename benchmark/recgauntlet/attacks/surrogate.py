"""Adversarial examples of the surrogate (the undefended twin), found once and cached for all defenses of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from recgauntlet.attacks.base import Attack
from recgauntlet.attacks.common import wrong_way
from recgauntlet.core.batch import Batch
from recgauntlet.core.errors import OutputError
from recgauntlet.core.files import write_atomically
from recgauntlet.core.protocol import DEEP
from recgauntlet.core.rng import Randomness
from recgauntlet.threats.budget import Budget
from recgauntlet.threats.queries import Effort
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

    def found(self, attacks: Sequence[Attack], budget: Budget) -> tuple[tuple[Variant, ...], Effort]:
        """What `attacks` make of the clean batch, one after the other, each on the examples that the twin still gets
        right, and what that took (also where it was done before)."""
        path = self._path(attacks, budget)
        kept = None if path is None else _read(path, self.victim.clean)
        if kept is None:
            kept = self._search(attacks, budget)
            if path is not None:
                _write(path, *kept)
        return kept

    def _search(self, attacks: Sequence[Attack], budget: Budget) -> tuple[tuple[Variant, ...], Effort]:
        victim, clean, effort = self.victim, self.victim.clean, Effort()
        standing = torch.ones(len(clean), dtype=torch.bool, device=clean.items.device)
        if budget.threat.goal == "promote":
            standing = clean.labels < 0.5
        variants = []
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
            variants.append(Variant(attack.name, tried, _spread(victim, index, perturbed)))
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


def _spread(victim: Victim, index: Tensor, perturbed: Batch) -> Batch:
    """The victim's clean batch with the examples at `index [K]` as `perturbed` has them."""
    clean = victim.clean
    if perturbed.delta is not None:
        delta = perturbed.delta.new_zeros((len(clean), *perturbed.delta.shape[1:]))
        delta[index] = perturbed.delta
        return clean.with_delta(delta)
    if perturbed.texts is not None:
        texts = list(clean.texts or (victim.world.catalog.texts[item] for item in clean.items.tolist()))
        for b, text in zip(index.tolist(), perturbed.texts, strict=True):
            texts[b] = text
        return clean.with_texts(texts)
    if perturbed.users is not clean.users:
        histories = clean.histories().clone()
        histories[index] = perturbed.histories()
        return clean.with_histories(histories)
    return clean


def _write(path: Path, variants: Sequence[Variant], effort: Effort) -> None:
    tensors: dict[str, Tensor] = {}
    for number, variant in enumerate(variants):
        tensors[f"{number}.tried"] = variant.tried.cpu()
        if variant.perturbed.delta is not None:
            tensors[f"{number}.delta"] = variant.perturbed.delta.cpu().contiguous()
        elif variant.perturbed.texts is not None:
            coded = json.dumps(variant.perturbed.texts).encode()
            tensors[f"{number}.texts"] = torch.from_numpy(np.frombuffer(coded, dtype=np.uint8).copy())
        else:
            tensors[f"{number}.histories"] = variant.perturbed.histories().cpu().contiguous()
    about = {"attacks": json.dumps([v.attack for v in variants]), "effort": json.dumps(asdict(effort))}
    try:
        write_atomically(path, save(tensors, metadata=about))
    except OutputError:  # a cache that cannot be written costs time, nothing else
        return


def _read(path: Path, clean: Batch) -> tuple[tuple[Variant, ...], Effort] | None:
    """What is kept, or None where nothing is or the file is broken."""
    if not path.exists():
        return None
    device = clean.items.device
    try:
        with safe_open(path, framework="pt") as file:
            about = file.metadata()
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        names: list[str] = json.loads(about["attacks"])
        effort = Effort(**json.loads(about["effort"]))
        variants = []
        for number, name in enumerate(names):
            if f"{number}.delta" in tensors:
                perturbed = clean.with_delta(tensors[f"{number}.delta"].to(device))
            elif f"{number}.texts" in tensors:
                perturbed = clean.with_texts(json.loads(tensors[f"{number}.texts"].numpy().tobytes()))
            else:
                perturbed = clean.with_histories(tensors[f"{number}.histories"].to(device))
            variants.append(Variant(name, tensors[f"{number}.tried"].to(device), perturbed))
    except (OSError, SafetensorError, KeyError, TypeError, ValueError):
        return None
    return tuple(variants), effort

"""Trains a toy model in as many processes as asked for, connected by accelerate, and writes what each saw.

A program of its own, because accelerate's state lasts as long as a process: python train_in_parallel.py SIZE DIRECTORY
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from small_data import small_data
from toy_recommender import ToyRecommender

from recgauntlet.core.recommender import TrainingRecipe
from recgauntlet.core.rng import Randomness
from recgauntlet.data.batches import pairs_to_batch
from recgauntlet.training.checkpoint import weights_hash
from recgauntlet.training.defense import Defense
from recgauntlet.training.parallel import ALONE, Team, join
from recgauntlet.training.trainer import AdamWTrainer, train
from recgauntlet_baselines.defenses.awp import AWP
from recgauntlet_baselines.defenses.fgm import FGM
from recgauntlet_baselines.defenses.gradient_scaling import GradientScaling
from recgauntlet_baselines.defenses.standard import Standard

DEFENSES: dict[str, Defense] = {
    "standard": Standard(),
    "fgm": FGM(warmup=0.0),
    "awp": AWP(warmup=0.0),
    "gradient-scaling": GradientScaling(warmup=0.0),
}
BATCHES = {"even": 16, "uneven": 7, "too small": 1}
RECIPE = TrainingRecipe(epochs=3, batch_size=16, learning_rate=2e-2, patience=9, least_steps=1)


def step_of(defense: Defense, pairs: int, team: Team) -> dict[str, Any]:
    """One step on a batch: the gradients that the optimizer took, and the weights afterwards."""
    data = small_data(train=160)
    torch.manual_seed(0)
    trainer = AdamWTrainer(ToyRecommender(data.catalog).train(), 9, Randomness(0, "test"), "fp32", team)
    trainer.context = type(trainer.context)(4, 0.5, trainer.context.rng)
    rows = team.part(np.arange(pairs))
    trainer.advance(defense, pairs_to_batch(data.train, rows))
    found = [torch.zeros(0) if p.grad is None else p.grad for p in trainer.parameters]
    return {
        "rows": rows.tolist(),
        "share": team.share,
        "gradient": torch.cat([one.reshape(-1) for one in found]).tolist(),
        "weights": weights_hash(trainer.model),
    }


def steps(team: Team) -> dict[str, Any]:
    return {
        f"{name}, {kind}": step_of(defense, pairs, team)
        for name, defense in DEFENSES.items()
        for kind, pairs in BATCHES.items()
    }


def training(team: Team) -> dict[str, Any]:
    data = small_data(train=150)
    torch.manual_seed(0)
    model = ToyRecommender(data.catalog)
    model.recipe = RECIPE
    trained = train(model, FGM(warmup=0.25), data, Randomness(0, "training"), team=team)
    return {
        "weights": weights_hash(model),
        "epochs": [epoch.model_dump() for epoch in trained.epochs],
        "passes": [trained.passes.forwards, trained.passes.backwards],
        "steps": trained.steps,
        "flops": trained.flops,
        "devices": trained.devices,
    }


if __name__ == "__main__":
    size, place = int(sys.argv[1]), Path(sys.argv[2])
    torch.set_num_threads(1)
    rank = next((number for number in range(1, size) if os.fork() == 0), 0)
    team = join(rank, size, torch.device("cpu"), place)
    written = {"steps": steps(team), "training": training(team)}
    if team.is_first:
        written["alone"] = {"steps": steps(ALONE), "training": training(ALONE)}
    (place / f"{rank}.json").write_text(json.dumps(written))
    team.sum([0.0])  # none leaves before the others are done

"""Training pairs of honest users and of planted fake ones, for the tests of defenses that look for these."""

from __future__ import annotations

import numpy as np

from recgauntlet.core.dataset import Pairs
from recgauntlet.core.types import PAD

HONEST, FAKE, ITEMS, TARGET = 380, 20, 300, 299


def poisoned(seed: int = 0, fakes: int = FAKE, fillers: int = 40, tastes: int = 6) -> Pairs:
    """Honest users take items of their taste, by popularity; fake ones take the target and some of the
    `fillers` most popular items."""
    generator = np.random.default_rng(seed)
    popularity = 1.0 / np.arange(1, ITEMS + 1) ** 0.8
    taste = generator.integers(0, tastes, size=ITEMS)
    histories, clicked = [], []
    for _ in range(HONEST):
        chance = popularity * np.where(taste == generator.integers(0, tastes), 8.0, 1.0)
        taken = generator.choice(ITEMS, size=int(generator.integers(4, 13)), replace=False, p=chance / chance.sum())
        histories.append([PAD] * (12 - len(taken) + 1) + taken[1:].tolist())
        clicked.append(int(taken[0]))
    for _ in range(fakes):
        taken = generator.choice(fillers, size=9, replace=False)
        histories.append([PAD] * 3 + taken.tolist())
        clicked.append(TARGET)
    users = np.arange(HONEST + fakes)
    unclicked = generator.integers(0, ITEMS, size=len(users))
    order = generator.permutation(np.repeat(users, 2))  # two pairs a user
    return Pairs(order, np.array(histories)[order], np.array(clicked)[order], unclicked[order])

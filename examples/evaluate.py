"""Evaluate a model of your own from a notebook: train it with any loop, then send it through the gauntlet.

python examples/evaluate.py                        # the demo track of video-watch
python examples/evaluate.py PATH/TO/CARD.toml standard
"""

from __future__ import annotations

import sys
from typing import Literal

import torch

import recgauntlet
from recgauntlet_baselines.models.nrms import NRMS


def main(task: str = "video-watch", track: Literal["standard", "demo"] = "demo", steps: int = 200) -> None:
    """Train a small NRMS with plain PyTorch and print its robustness."""
    torch.manual_seed(0)
    data = recgauntlet.load_data(task, track)
    model = NRMS(data.catalog, token_length=16)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(steps):
        batch = recgauntlet.pairs_to_batch(data.train, torch.randint(len(data.train), (64,)).numpy())
        scores = recgauntlet.model_scores(model, batch)
        optimizer.zero_grad()
        recgauntlet.click_loss(scores, batch).backward()
        optimizer.step()
    record = recgauntlet.evaluate(model, task, track=track, seed=0)
    record.summary()


if __name__ == "__main__":
    main(*sys.argv[1:])

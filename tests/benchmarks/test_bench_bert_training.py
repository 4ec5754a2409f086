"""Training the cross-encoder beside transformers' Trainer: the same encoder, pairs and epochs; seconds and AUC."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from bench_bert_training import INSTALLED, TrainerBert
from bench_figures import Figure, release
from bench_subject import WORKPLACE, untrained_subject
from bench_timing import side_by_side

from recgauntlet.core.dataset import Pairs
from recgauntlet.core.recommender import Recommender
from recgauntlet.core.rng import Randomness
from recgauntlet.training.defense import Defense
from recgauntlet.training.trainer import train, validate

PAIRS, EPOCHS, ROUNDS = 6000, 2, 1
"""On fewer pairs both stay near chance, and then equal accuracy says nothing."""
SIZE = {"layers": 1, "max_length": 128, "history_items": 5}
FASTER = "seconds of transformers' Trainer over those of training bert"
AS_GOOD = "validation AUC of bert less that of transformers' Trainer"
pytestmark = [pytest.mark.measures, pytest.mark.timeout(7200), pytest.mark.filterwarnings("ignore")]


def test_bert_trains_faster_than_by_trainer_and_no_worse(benchmark: Any, book: Callable[[Figure], None]) -> None:
    if not INSTALLED:
        for name in (FASTER, AS_GOOD):
            book(Figure(name, None, "accelerate is not installed"))
        pytest.skip("accelerate is not installed, which transformers' Trainer needs")
    subject = untrained_subject("bert", SIZE, task="video-watch", track="standard")
    data = replace(subject.data, train=first(subject.data.train, PAIRS))
    models: list[Recommender] = []
    peers: list[TrainerBert] = []

    def ours() -> None:
        model = untrained_subject("bert", SIZE, task="video-watch", track="standard").model.requires_grad_(True)
        model.recipe = replace(model.recipe, epochs=EPOCHS)
        models.append(model)
        train(model, Defense(), data, Randomness(0, "benchmark"))

    def theirs() -> None:
        peer = TrainerBert(data, **SIZE)
        peers.append(peer)
        peer.train(peer.examples(data.train), EPOCHS, WORKPLACE / "trainer")

    sides = side_by_side(benchmark, theirs, ours, rounds=ROUNDS, warm=False)
    mine, others = validate(models[-1], data.valid), peers[-1].auc(data.valid, WORKPLACE / "trainer")
    said = f"{sides.first:.0f} s against {sides.second:.0f} s for {PAIRS} pairs, {EPOCHS} epochs"
    name = f"bert of {SIZE['layers']} layer on video-watch (standard)"
    book(
        Figure(
            FASTER,
            sides.ratio,
            f"{said}; transformers {release('transformers')}, batches of 8 examples",
            at_least=1.5,
            subject=name,
        )
    )
    book(Figure(AS_GOOD, mine - others, f"{mine:.3f} against {others:.3f}", at_least=0.0, subject=name))


def first(pairs: Pairs, count: int) -> Pairs:
    return Pairs(pairs.users[:count], pairs.histories[:count], pairs.clicked[:count], pairs.unclicked[:count])

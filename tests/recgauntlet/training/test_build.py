"""The hook at which a threat may change the training data."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from recgauntlet.core.card import TextThreat, Tier
from recgauntlet.core.dataset import Pairs, TaskData
from recgauntlet.core.rng import Randomness
from recgauntlet.testing.tiny import tiny_data, tiny_threats
from recgauntlet.threats.registry import threat_model
from recgauntlet.threats.text import TextThreatModel
from recgauntlet.training.build import attacked_training_data

(CARD, *_) = (threat for threat in tiny_threats() if isinstance(threat, TextThreat))


@pytest.fixture(scope="module")
def data() -> TaskData:
    return tiny_data()


def first(pairs: Pairs, count: int) -> Pairs:
    return pairs.select(slice(count))


class Forgetting(TextThreatModel):
    """A toy threat on training data: it keeps a random number of pairs, and empties the test pairs, which it may
    not."""

    def training_data(self, data: TaskData, tier: Tier, rng: Randomness) -> TaskData:
        kept = int(rng.numpy().integers(1, len(data.train)))
        return replace(data, train=first(data.train, kept), test=first(data.test, 0))


def test_a_threat_on_training_data_changes_the_training_pairs_and_nothing_else(data: TaskData) -> None:
    changed = attacked_training_data(Forgetting(CARD), "standard", data, seed=0)
    assert 0 < len(changed.train) < len(data.train)
    assert changed.test is data.test
    assert changed.valid is data.valid
    assert changed.catalog is data.catalog


def test_what_a_threat_draws_depends_on_seed_and_tier(data: TaskData) -> None:
    sizes = [
        len(attacked_training_data(Forgetting(CARD), tier, data, seed).train)
        for tier in ("low", "high")  # type: ignore[arg-type]
        for seed in (0, 0, 1)
    ]
    assert sizes[0] == sizes[1]
    assert len(set(sizes)) > 2


def test_threats_on_inputs_leave_the_training_data_as_it_is(data: TaskData) -> None:
    for threat in tiny_threats():
        changed = attacked_training_data(threat_model(threat), "high", data, seed=0)
        assert np.array_equal(changed.train.clicked, data.train.clicked)
        assert changed.user_count == data.user_count

"""Harmless new accounts follow every rule of fake ones, hold no target, and take what one genuine reader takes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from poison_task import make_store, write_ordered_task, write_task

from recgauntlet.attacks.poisoning.newcomers import LEAST_NEWCOMERS, draw_newcomers
from recgauntlet.core.rng import Randomness
from recgauntlet.threats.training_data import DAY


@pytest.mark.parametrize("write", [write_task, write_ordered_task])
def test_newcomers_take_what_genuine_readers_take(write: object, tmp_path: Path) -> None:
    store, _ = make_store(tmp_path, write)  # type: ignore[arg-type]
    genuine, targets = store.genuine, store.verifier.targets
    found = draw_newcomers(genuine, targets, store.threat, Randomness(0, "newcomers"))
    assert found.count == LEAST_NEWCOMERS
    assert not np.isin(found.items, targets.items).any()
    training = genuine.training
    readers = [set(training.items[training.users == user].tolist()) for user in np.unique(training.users)]
    for account in range(found.count):
        items, times = (part[found.accounts == account] for part in (found.items, found.times))
        assert 2 <= len(items) == len(set(items.tolist())) <= genuine.median_profile
        assert any(set(items.tolist()) < reader for reader in readers)
        if genuine.has_clock:
            assert np.isin(times // DAY, training.times // DAY).all()
            assert times.max() < genuine.training_end
        else:
            assert times.tolist() == list(range(len(items)))


def test_another_plugin_gets_other_newcomers(tmp_path: Path) -> None:
    store, _ = make_store(tmp_path)
    one, other = (
        draw_newcomers(store.genuine, store.verifier.targets, store.threat, Randomness(0, name)) for name in ("a", "b")
    )
    assert one.items.tolist() != other.items.tolist()

"""The most popular items, whose answers under poisoning are known in closed form."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import poison_task
import torch
from small_data import small_data

from recgauntlet.core.dataset import TrainingPeriod
from recgauntlet.core.recommender import Origin
from recgauntlet.core.scoring import score_batch
from recgauntlet.data.batches import pairs_to_batch
from recgauntlet.data.poisoned import with_accounts
from recgauntlet.evaluation.poisoning import Audience, measure_exposure
from recgauntlet_baselines.models.most_popular import MostPopular


def built(data: object) -> MostPopular:
    period = TrainingPeriod(data.train, data.user_count)  # type: ignore[attr-defined]
    return MostPopular.build(Origin(data.catalog, 8, {}, period), 0)  # type: ignore[attr-defined]


def takers(data: object, item: int) -> int:
    """The users of an item, counted without numpy."""
    pairs = data.train  # type: ignore[attr-defined]
    rows = zip(pairs.users.tolist(), pairs.histories.tolist(), pairs.clicked.tolist(), strict=True)
    return len({user for user, history, clicked in rows if item in (*history, clicked)})


def test_items_are_ordered_by_their_users() -> None:
    data = small_data()
    model = built(data)
    counts = [takers(data, item) for item in range(len(data.catalog))]
    scores = model.popularity.tolist()
    for first in range(len(counts)):
        for second in range(len(counts)):
            assert (counts[first] > counts[second]) == (scores[first] > scores[second])


def test_every_user_gets_the_same_list() -> None:
    data = small_data()
    batch = pairs_to_batch(data.test, np.arange(len(data.test)))
    scores = score_batch(built(data), batch)
    for item in batch.items.unique():
        assert len(scores[batch.items == item].unique()) == 1


def test_fakes_lift_a_target_by_their_number(tmp_path: Path) -> None:
    """The rank of every item after poisoning follows from the counts alone: `n_i` + its accounts."""
    store, data = poison_task.make_store(tmp_path)
    accounts = store.tables(poison_task.RandomProfiles())["high"].accounts
    audience = Audience.of(data, store.genuine, store.verifier.targets)
    poisoned = with_accounts(data, store.genuine, accounts, store.card.track("standard"))
    found = measure_exposure(built(poisoned.data), poisoned.data, audience)
    clean = measure_exposure(built(data), data, audience)
    counts = np.array([takers(poisoned.data, item) for item in range(len(data.catalog))])
    for place, taken in enumerate(audience.taken):
        for column, target in enumerate(audience.targets.tolist()):
            rivals = counts[[item for item in np.flatnonzero(~taken) if item != target]]
            assert found.above[place, column] == (rivals > counts[target]).sum()
            assert found.tied[place, column] == (rivals == counts[target]).sum()
    lifted = np.nanmean(found.win_rate(), axis=0) - np.nanmean(clean.win_rate(), axis=0)
    assert (lifted[:2] > 0.2).all()  # the tail


def test_one_epoch_finds_the_boundary() -> None:
    from recgauntlet.core.rng import Randomness
    from recgauntlet.training.trainer import train
    from recgauntlet_baselines.defenses.standard import Standard

    data = small_data(train=2000)
    model = built(data)
    train(model, Standard(), data, Randomness(0, "test"))
    batch = pairs_to_batch(data.train, np.arange(len(data.train)))
    mean = float(torch.sigmoid(score_batch(model, batch)).mean())
    assert abs(mean - 0.5) < 0.03

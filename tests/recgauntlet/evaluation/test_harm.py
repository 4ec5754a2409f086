"""The harm check: named items rise, a higher tier never does less for the searching users, and texts are legal."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from small_data import small_data
from toy_recommender import ToyRecommender, stuffing_threat, train

from recgauntlet.core.card import TIERS
from recgauntlet.core.dataset import Taken, TaskData
from recgauntlet.core.errors import DataError
from recgauntlet.core.rng import Randomness
from recgauntlet.evaluation.harm import HarmCheck, check_harm
from recgauntlet.evaluation.setup import Trial
from recgauntlet.threats.budget import Budget
from recgauntlet.threats.knowledge import AttackerKnowledge
from recgauntlet.threats.text import text_fault

RNG = Randomness(0, "test")
ITEMS = (1, 5, 9, 13, 17, 21, 25, 29, 33, 37, 2, 6)
"""More than are searched at once."""


@pytest.fixture(scope="module")
def data() -> TaskData:
    """Its test users all like the sea."""
    whole = small_data(test=120)
    sailors = [p for p, item in enumerate(whole.test.clicked) if whole.catalog.categories[item] == "sea"]
    return replace(whole, test=whole.test.select(np.array(sailors)))


@pytest.fixture(scope="module")
def trial(data: TaskData) -> Trial:
    torch.manual_seed(0)
    return Trial.of(train(ToyRecommender(data.catalog), steps=60), data, AttackerKnowledge(data.catalog))


@pytest.fixture(scope="module")
def found(trial: Trial, data: TaskData) -> HarmCheck:
    return check_harm(trial, data, stuffing_threat(100), ITEMS, RNG)


def test_named_items_rise_and_more_words_lift_them_further(found: HarmCheck) -> None:
    assert found.items == ITEMS
    assert [pushed.tier for pushed in found.pushed] == list(TIERS)
    assert found.rivals == 40 - len(ITEMS)
    for pushed in found.pushed:
        assert pushed.before.shape == pushed.after.shape == (len(ITEMS), found.users)
        assert (pushed.before == found.pushed[0].before).all()
        assert pushed.after.max() <= found.rivals + 1
    low, _, high = (pushed.after.mean() for pushed in found.pushed)
    assert high < low < found.pushed[0].before.mean()
    top = [(pushed.after <= 10).mean() for pushed in found.pushed]
    assert top[-1] > (found.pushed[0].before <= 10).mean()


def test_every_text_is_legal_in_its_tier(found: HarmCheck, trial: Trial) -> None:
    threat, clean = stuffing_threat(100), [trial.world.catalog.texts[item] for item in ITEMS]
    for pushed in found.pushed:
        budget = Budget.of(threat, pushed.tier)
        clean = [trial.world.catalog.texts[item] for item in ITEMS]
        faults = [
            text_fault(trial.world.lexicon, threat, budget, *pair) for pair in zip(clean, pushed.texts, strict=True)
        ]
        assert faults == [""] * len(ITEMS)
    assert any(text != trial.world.catalog.texts[item] for item, text in zip(ITEMS, found.pushed[0].texts, strict=True))


def test_where_it_is_known_what_users_took_ranks_are_among_all_other_items(trial: Trial, data: TaskData) -> None:
    nothing = Taken(np.zeros(0, dtype=np.int64), np.zeros(data.user_count + 1, dtype=np.int64))
    found = check_harm(trial, replace(data, taken=nothing), stuffing_threat(100), ITEMS[:3], RNG)
    assert found.rivals is None
    assert found.pushed[0].before.shape == (3, found.users)
    assert found.pushed[0].before.max() > 40 - 3


def test_items_without_rivals_are_refused(trial: Trial, data: TaskData) -> None:
    with pytest.raises(DataError, match="no rivals"):
        check_harm(trial, data, stuffing_threat(100), range(40), RNG)

"""Trimmed raters: what agreement is, what is trimmed, and that fakes among an item's users stop counting."""

from __future__ import annotations

import numpy as np
import pytest
from planted_fakes import HONEST, ITEMS, TARGET, poisoned
from scipy import sparse

from recgauntlet.core.dataset import Pairs
from recgauntlet.core.types import PAD
from recgauntlet_baselines._profiles import profiles
from recgauntlet_baselines.defenses.trimmed_raters import TrimmedRaters, agreements


def interactions(pairs: Pairs) -> set[tuple[int, int]]:
    users, taken = profiles(pairs)
    rows = np.repeat(users, np.diff(taken.indptr))
    return set(zip(rows.tolist(), taken.indices.tolist(), strict=True))


def test_agreement_is_with_the_other_users_and_without_the_item() -> None:
    generator = np.random.default_rng(0)
    dense = (generator.random((12, 7)) < 0.5).astype(float)
    dense[:, 0] = 1.0
    unit = dense / np.linalg.norm(dense, axis=1, keepdims=True)
    expected = []
    for user, item in zip(*np.nonzero(dense), strict=True):
        others = [v for v in np.flatnonzero(dense[:, item]) if v != user]
        rest = np.arange(7) != item
        expected.append(sum(unit[user, rest] @ unit[v, rest] for v in others))
    assert agreements(sparse.csr_array(dense)) == pytest.approx(expected)


def test_as_many_are_trimmed_at_both_ends_of_each_item() -> None:
    _, taken = profiles(poisoned(tastes=2))
    counts = TrimmedRaters(share=0.2).in_the_middle(taken)
    agreement = agreements(taken)
    for item in range(ITEMS):
        here = taken.indices == item
        n = int(here.sum())
        assert int(counts[here].sum()) == n - 2 * int(0.2 * n + 1e-9)
        if counts[here].any() and not counts[here].all():
            inside, outside = agreement[here][counts[here]], agreement[here][~counts[here]]
            assert (outside <= inside.min()).sum() >= int(0.2 * n)
            assert (outside >= inside.max()).sum() >= int(0.2 * n)


def test_what_does_not_count_leaves_clicks_and_histories_and_the_rest_stays() -> None:
    pairs = poisoned(tastes=2)
    users, taken = profiles(pairs)
    counts = TrimmedRaters(share=0.2).in_the_middle(taken)
    rows = np.repeat(users, np.diff(taken.indptr))
    counted = set(zip(rows[counts].tolist(), taken.indices[counts].tolist(), strict=True))
    kept = TrimmedRaters(share=0.2).filter(pairs)
    assert interactions(kept) <= counted
    clicks = [p for p in range(len(pairs)) if (int(pairs.users[p]), int(pairs.clicked[p])) in counted]
    assert np.array_equal(kept.users, pairs.users[clicks])
    assert np.array_equal(kept.unclicked, pairs.unclicked[clicks])
    for before, after, user in zip(pairs.histories[clicks], kept.histories, kept.users, strict=True):
        left = [item for item in before.tolist() if item != PAD and (int(user), item) in counted]
        assert after.tolist() == [PAD] * (len(before) - len(left)) + left


def test_fakes_of_one_recipe_stop_counting_for_an_item_that_has_genuine_users_too() -> None:
    pairs = poisoned(seed=1, fillers=9, tastes=2)
    pairs.clicked[pairs.users < 40] = TARGET  # about twice as many genuine users as fakes
    before, after = interactions(pairs), interactions(TrimmedRaters(share=0.3).filter(pairs))

    def share_of_fakes(found: set[tuple[int, int]]) -> float:
        having = [user for user, item in found if item == TARGET]
        return float(np.mean([user >= HONEST for user in having]))

    assert share_of_fakes(before) > 0.3
    assert share_of_fakes(after) < 0.15


def test_without_a_share_everything_counts() -> None:
    pairs = poisoned()
    kept = TrimmedRaters(share=0.0).filter(pairs)
    for name in ("users", "histories", "clicked", "unclicked"):
        assert np.array_equal(getattr(kept, name), getattr(pairs, name))

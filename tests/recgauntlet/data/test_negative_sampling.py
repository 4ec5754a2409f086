from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recgauntlet.core.errors import DataError
from recgauntlet.data.negative_sampling import contains, unseen, unseen_by_popularity


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 4), st.integers(0, 5))
def test_what_is_drawn_is_distinct_and_was_never_taken(seed: int, size: int, taken_each: int) -> None:
    rng = np.random.default_rng(seed)
    items = 10
    taken = np.unique([user * items + item for user in range(3) for item in rng.permutation(items)[:taken_each]])
    users = rng.integers(0, 3, size=20)
    drawn = unseen(users, taken.astype(np.int64), items, size, rng, where="toys")
    assert drawn.shape == (20, size)
    assert all(len(set(row)) == size for row in drawn.tolist())
    assert not contains(taken.astype(np.int64), users[:, None] * items + drawn).any()


def test_the_draw_is_uniform_over_what_is_left() -> None:
    taken = np.array([0, 1, 2], dtype=np.int64)
    drawn = unseen(np.zeros(20_000, dtype=np.int64), taken, 8, 2, np.random.default_rng(0), where="toys")
    counts = np.bincount(drawn.reshape(-1), minlength=8)
    assert counts[:3].sum() == 0
    assert np.abs(counts[3:] / 8_000 - 1).max() < 0.05


def test_a_user_who_took_nearly_everything_is_named_an_error() -> None:
    taken = np.arange(9, dtype=np.int64)
    with pytest.raises(DataError, match="fewer than 2 are left"):
        unseen(np.zeros(1, dtype=np.int64), taken, 10, 2, np.random.default_rng(0), where="toys")


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 4))
def test_popular_draws_are_distinct_had_clicks_and_were_never_taken(seed: int, size: int) -> None:
    rng = np.random.default_rng(seed)
    items = 12
    clicks = rng.permutation(np.r_[np.zeros(3, dtype=np.int64), rng.integers(1, 50, size=items - 3)])
    taken = np.unique([user * items + item for user in range(3) for item in rng.permutation(items)[:5]])
    users = rng.integers(0, 3, size=20)
    drawn = unseen_by_popularity(users, taken, clicks, size, rng, where="toys")
    assert drawn.shape == (20, size)
    assert all(len(set(row)) == size for row in drawn.tolist())
    assert not contains(taken, users[:, None] * items + drawn).any()
    assert (clicks[drawn] > 0).all()


def test_popular_draws_follow_the_clicks_of_what_is_left_one_after_the_other() -> None:
    taken, clicks = np.array([0, 4], dtype=np.int64), np.array([90, 6, 3, 1, 40, 0])
    users = np.zeros(20_000, dtype=np.int64)
    drawn = unseen_by_popularity(users, taken, clicks, 2, np.random.default_rng(0), where="toys")
    shares = np.array([0, 0.6, 0.3, 0.1, 0, 0])
    first, second = (np.bincount(drawn[:, place], minlength=6) / len(users) for place in (0, 1))
    assert np.abs(first - shares).max() < 0.015
    # The second: what is left after each first, in proportion.
    left = shares / (1 - shares)
    assert np.abs(second - shares * (left.sum() - left)).max() < 0.015


def test_a_user_who_took_nearly_everything_popular_is_an_error_with_a_remedy() -> None:
    taken, clicks = np.array([10, 11, 12], dtype=np.int64), np.r_[np.full(4, 7), np.zeros(6, dtype=np.int64)]
    with pytest.raises(DataError, match="1 are left to draw, where an impression needs 2") as caught:
        unseen_by_popularity(np.array([0, 1]), taken, clicks, 2, np.random.default_rng(0), where="toys")
    assert caught.value.field == "negatives.popular_per_click"
    assert "popular_per_click" in (caught.value.remedy or "")

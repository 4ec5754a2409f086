from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recgauntlet.core.errors import DataError
from recgauntlet.data.negative_sampling import contains, unseen


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

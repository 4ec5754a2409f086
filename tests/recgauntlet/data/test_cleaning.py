from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from recgauntlet.core.dataset import INTERACTIONS, ITEMS
from recgauntlet.data.cleaning import first_takes, k_core, mentioned, sample_by_hash, table_of

takes = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6), st.integers(0, 3)), max_size=60)


@settings(deadline=None)
@given(takes, st.integers(1, 3), st.integers(1, 3))
def test_the_core_keeps_its_promise_and_is_the_largest(
    rows: list[tuple[int, int, int]], users: int, items: int
) -> None:
    named = [(f"u{user}", f"i{item}", time) for user, item, time in rows]
    core = k_core(table_of(named, INTERACTIONS), users, items).to_pylist()
    pairs = {(row["user"], row["item"]) for row in core}
    assert all(count >= users for count in Counter(user for user, _ in pairs).values())
    assert all(count >= items for count in Counter(item for _, item in pairs).values())
    # By hand: drop one offender at a time until there is none.
    left = {(user, item) for user, item, _ in named}
    while True:
        by_user, by_item = Counter(user for user, _ in left), Counter(item for _, item in left)
        bad = next((pair for pair in sorted(left) if by_user[pair[0]] < users or by_item[pair[1]] < items), None)
        if bad is None:
            break
        left.discard(bad)
    assert pairs == left
    assert len(core) == sum((user, item) in left for user, item, _ in named)


def test_the_first_take_counts() -> None:
    rows = [("u", "a", 5), ("u", "a", 2), ("u", "b", 9)]
    assert sorted(tuple(row.values()) for row in first_takes(table_of(rows, INTERACTIONS)).to_pylist()) == [
        ("u", "a", 2),
        ("u", "b", 9),
    ]


def test_items_that_nobody_mentions_are_left_out() -> None:
    items = table_of([("a", "x", ""), ("b", "y", "")], ITEMS)
    used = table_of([("u", "b", 1), ("v", "b", 1)], INTERACTIONS)["item"]
    assert mentioned(items, used)["id"].to_pylist() == ["b"]


def test_a_sample_by_hash_does_not_depend_on_the_order_and_grows() -> None:
    ids = [str(n) for n in range(100)]
    small = sample_by_hash(ids, 10)
    assert small == sample_by_hash(reversed(ids), 10)
    assert len(small) == 10
    assert small < sample_by_hash(ids, 20)

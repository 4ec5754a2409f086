from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from recgauntlet.core.card import Split, TaskCard
from recgauntlet.core.dataset import Pairs, Tables, TaskData
from recgauntlet.core.errors import CardError, DataError
from recgauntlet.core.types import PAD
from recgauntlet.data.cache import content_hash
from recgauntlet.data.examples import boundaries, from_impressions, from_interactions
from recgauntlet.data.examples import periods as split_periods
from recgauntlet.data.prepare import build

Make = Callable[..., TaskCard]
TIMES = np.arange(100, dtype=np.int64)[::-1].copy()


def built(tables: Tables, card: TaskCard) -> TaskData:
    track = card.track("standard")
    if tables.interactions is not None:
        return from_interactions(tables.items, tables.interactions, track, "f" * 64, "toys")
    assert tables.impressions is not None
    return from_impressions(tables.items, tables.impressions, track, "f" * 64, "toys")


def first_times(tables: Tables, data: TaskData) -> dict[int, dict[int, int]]:
    """For each user index, when each item index was first taken: counted here without numpy."""
    assert tables.interactions is not None
    rows = tables.interactions.to_pylist()
    users = {user: index for index, user in enumerate(sorted({row["user"] for row in rows}))}
    items = {item: index for index, item in enumerate(data.catalog.ids)}
    times: dict[int, dict[int, int]] = defaultdict(dict)
    for row in rows:
        user, item = users[row["user"]], items[row["item"]]
        times[user][item] = min(row["time"], times[user].get(item, row["time"]))
    return times


def periods(tables: Tables, card: TaskCard, data: TaskData) -> dict[str, tuple[int, int]]:
    times = first_times(tables, data)
    every = np.array([time for of_user in times.values() for time in of_user.values()])
    valid, test = boundaries(card.track("standard").split, every, "toys")
    return {"train": (0, valid), "valid": (valid, test), "test": (test, 2**40)}


@pytest.mark.parametrize("name", ["train", "valid", "test"])
def test_a_history_is_what_the_user_took_in_an_earlier_second(toys: Tables, make_card: Make, name: str) -> None:
    card = make_card()
    data = built(toys, card)
    times = first_times(toys, data)
    begin, end = periods(toys, card, data)[name]
    pairs: Pairs = getattr(data, name)
    for user, history, item in zip(pairs.users.tolist(), pairs.histories.tolist(), pairs.clicked.tolist(), strict=True):
        moment = times[user][item]
        assert begin <= moment < end
        earlier = sorted((time, other) for other, time in times[user].items() if time < moment)
        expected = [other for _, other in earlier][-4:]
        assert expected
        assert history == [PAD] * (4 - len(expected)) + expected


def test_training_excludes_only_what_was_taken_before_validation(toys: Tables, make_card: Make) -> None:
    card = make_card(train_pairs=140)
    data = built(toys, card)
    times = first_times(toys, data)
    begin = periods(toys, card, data)["valid"][0]
    later = 0
    for user, item in zip(data.train.users.tolist(), data.train.unclicked.tolist(), strict=True):
        assert times[user].get(item, begin) >= begin
        later += item in times[user]
    # What a user takes later must be drawable, or training would know the future.
    assert later > 0


def test_evaluation_calls_nothing_unclicked_that_the_user_ever_took(toys: Tables, make_card: Make) -> None:
    data = built(toys, make_card())
    times = first_times(toys, data)
    for pairs in (data.valid, data.test):
        assert all(item not in times[user] for user, item in zip(pairs.users, pairs.unclicked, strict=True))
    lists = data.impressions
    for row, user in enumerate(lists.users.tolist()):
        part = slice(lists.offsets[row], lists.offsets[row + 1])
        items, labels = lists.items[part], lists.labels[part]
        assert labels.sum() == 1
        assert len(set(items.tolist())) == 6
        assert all((item in times[user]) == label for item, label in zip(items.tolist(), labels.tolist(), strict=True))


POPULAR = {"rule": "uniform-unseen", "train_per_click": 2, "eval_per_click": 5, "popular_per_click": 4}


def test_popular_impressions_have_the_same_clicks_and_no_other_part_changes(toys: Tables, make_card: Make) -> None:
    plain, card = built(toys, make_card()), make_card(negatives=POPULAR)
    data = built(toys, card)
    lists = data.popular_impressions
    assert lists is not None
    assert plain.popular_impressions is None
    assert content_hash(replace(data, popular_impressions=None)) == content_hash(plain)
    assert content_hash(built(toys, card)) == content_hash(data) != content_hash(plain)
    items, labels = lists.items.reshape(-1, 5), lists.labels.reshape(-1, 5)
    assert lists.users.tolist() == data.impressions.users.tolist()
    assert lists.histories.tolist() == data.impressions.histories.tolist()
    assert items[labels].tolist() == data.impressions.items[data.impressions.labels].tolist()
    assert len(set(labels.argmax(axis=1).tolist())) > 1
    times, before = first_times(toys, data), periods(toys, card, data)["train"][1]
    trained = {item for of_user in times.values() for item, time in of_user.items() if time < before}
    for user, row, marks in zip(lists.users.tolist(), items, labels, strict=True):
        assert len(set(row.tolist())) == 5
        assert not set(row[~marks].tolist()) & set(times[user])
        assert set(row[~marks].tolist()) <= trained


def test_what_each_user_ever_took_is_known(toys: Tables, make_card: Make) -> None:
    data = built(toys, make_card())
    assert data.taken is not None
    times = first_times(toys, data)
    assert {user: data.taken.of(user).tolist() for user in range(data.user_count)} == {
        user: sorted(items) for user, items in times.items()
    }


def test_what_was_taken_after_training_does_not_count_as_popularity(toys: Tables, make_card: Make) -> None:
    assert toys.interactions is not None
    rows = toys.interactions.to_pylist()
    # All users but one take a new item at the end: it is the most taken, and has no click in training.
    late = [{"user": f"u{user}", "item": "late", "time": max(row["time"] for row in rows)} for user in range(1, 30)]
    tables = Tables(
        pa.concat_tables([toys.items, pa.table({"id": ["late"], "text": ["late"], "category": ["toys"]})]),
        pa.Table.from_pylist([*rows, *late], schema=toys.interactions.schema),
    )
    data = built(tables, make_card(negatives=POPULAR | {"popular_per_click": 25}, test_impressions=40))
    assert data.popular_impressions is not None
    unclicked = data.popular_impressions.items[~data.popular_impressions.labels]
    assert 0 in data.popular_impressions.users
    assert data.catalog.ids.index("late") not in unclicked


def test_the_clicked_candidate_has_no_fixed_place(toys: Tables, make_card: Make) -> None:
    lists = built(toys, make_card()).impressions
    assert len(set(lists.labels.reshape(-1, 6).argmax(axis=1).tolist())) > 1


def test_test_pairs_are_clicks_of_the_test_impressions(toys: Tables, make_card: Make) -> None:
    data = built(toys, make_card())
    lists = data.impressions
    clicked = lists.items.reshape(-1, 6)[lists.labels.reshape(-1, 6)]
    assert data.test.clicked.tolist() == clicked[:10].tolist()
    assert all(item in row for item, row in zip(data.test.unclicked, lists.items.reshape(-1, 6)[:10], strict=True))


def test_a_click_stands_beside_as_many_unclicked_as_the_card_says(toys: Tables, make_card: Make) -> None:
    data = built(toys, make_card(train_pairs=61))
    assert len(data.train) == 61
    assert data.train.clicked[0] == data.train.clicked[1]
    assert data.train.unclicked[0] != data.train.unclicked[1]


@pytest.mark.parametrize("kind", ["toys", "shows"])
def test_the_order_of_rows_does_not_change_the_examples(
    request: pytest.FixtureRequest, make_card: Make, kind: str
) -> None:
    tables: Tables = request.getfixturevalue(kind)
    rule = {"rule": "uniform-unseen" if kind == "toys" else "impression", "train_per_click": 2}
    card = make_card(negatives=rule)
    rng = np.random.default_rng(5)
    shuffled = {
        name: None if table is None else table.take(pa.array(rng.permutation(table.num_rows)))
        for name, table in vars(tables).items()
    }
    assert content_hash(built(tables, card)) == content_hash(built(Tables(**shuffled), card))


def test_another_sampling_seed_draws_other_examples(toys: Tables, make_card: Make) -> None:
    first, second = (content_hash(built(toys, make_card(sampling_seed=seed))) for seed in (0, 1))
    assert first != second


@pytest.mark.parametrize("size", ["train_pairs", "valid_pairs", "test_pairs", "test_impressions"])
@pytest.mark.parametrize("kind", ["toys", "shows"])
def test_a_period_with_too_few_examples_says_how_many_there_are(
    request: pytest.FixtureRequest, make_card: Make, size: str, kind: str
) -> None:
    rule = {"rule": "uniform-unseen" if kind == "toys" else "impression", "train_per_click": 1, "eval_per_click": 5}
    with pytest.raises(DataError, match=r"period gives \d+ .*the card asks for 5000") as caught:
        built(request.getfixturevalue(kind), make_card(negatives=rule, **{size: 5000}))
    assert size in str(caught.value.field)


def test_impressions_are_paired_within_themselves(shows: Tables, make_card: Make) -> None:
    card = make_card(negatives={"rule": "impression", "train_per_click": 3})
    data = built(shows, card)
    assert shows.impressions is not None
    rows = shows.impressions.to_pylist()
    index = {item: place for place, item in enumerate(data.catalog.ids)}
    known = {
        (tuple(index[item] for item in row["history"][-4:]), index[yes], index[no])
        for row in rows
        for yes, clicked in zip(row["shown"], row["clicked"], strict=True)
        for no, other in zip(row["shown"], row["clicked"], strict=True)
        if clicked and not other
    }
    for pairs in (data.train, data.valid, data.test):
        for history, yes, no in zip(pairs.histories.tolist(), pairs.clicked, pairs.unclicked, strict=True):
            assert (tuple(item for item in history if item != PAD), yes, no) in known


def test_impressions_keep_their_candidates_and_have_both_kinds(shows: Tables, make_card: Make) -> None:
    data = built(shows, make_card(negatives={"rule": "impression", "train_per_click": 3}))
    lists = data.impressions
    assert len(lists) == 12
    assert shows.impressions is not None
    shown = {tuple(row["shown"]) for row in shows.impressions.to_pylist()}
    for row in range(len(lists)):
        part = slice(lists.offsets[row], lists.offsets[row + 1])
        assert 0 < lists.labels[part].sum() < len(lists.labels[part])
        assert tuple(data.catalog.ids[item] for item in lists.items[part]) in shown


def test_a_share_is_a_time_that_at_most_this_share_lies_before() -> None:
    valid, test = boundaries(Split(valid_from="0.8", test_from="0.9"), TIMES, "toys")
    assert ((valid > TIMES).mean(), (test > TIMES).mean()) == (0.8, 0.9)


def test_a_date_is_midnight_utc() -> None:
    split = Split(valid_from="2019-11-13", test_from="2019-11-14T00:00:00+01:00")
    assert boundaries(split, TIMES, "toys") == (1573603200, 1573686000)


@pytest.mark.parametrize(
    ("valid", "test", "field"),
    [("0.9", "0.8", "split.test_from"), ("0.8", "0.8", "split.test_from"), ("soon", "0.8", "split.valid_from"),
     ("0.8", "1.2", "split.test_from"), ("0", "0.5", "split.valid_from")],
)  # fmt: skip
def test_a_contradictory_split_is_refused(valid: str, test: str, field: str) -> None:
    with pytest.raises(CardError) as caught:
        boundaries(Split(valid_from=valid, test_from=test), TIMES, "toys")
    assert caught.value.field == field


EACH = Split(rule="per-user", valid_from="0.7", test_from="0.8")


def divided(places: list[list[int]]) -> list[tuple[str, ...]]:
    """For each user the period of each interaction, given the places in the users' own orders."""
    users = np.repeat(np.arange(len(places)), [len(of_user) for of_user in places])
    masks = np.stack(split_periods(EACH, users, np.array([place for of_user in places for place in of_user]), "toys"))
    assert (masks.sum(axis=0) == 1).all()
    named = np.array(["train", "valid", "test"])[masks.argmax(axis=0)]
    return [tuple(named[users == user].tolist()) for user in range(len(places))]


def test_each_user_has_boundaries_of_their_own() -> None:
    early, late = list(range(10)), list(range(5_000, 5_010))
    expected = ("train",) * 7 + ("valid", "test", "test")
    assert divided([early, late]) == [expected, expected]
    assert divided([late[::-1]]) == [expected[::-1]]


def test_a_share_of_a_user_is_counted_in_whole_numbers() -> None:
    assert divided([list(range(90))])[0].count("train") == 63  # 0.7 * 90 < 63 as floats
    assert divided([[1, 2, 3, 4], [1, 2]]) == [("train", "train", "valid", "test"), ("train", "test")]


def test_what_a_user_took_at_once_lies_in_one_period() -> None:
    assert divided([[0, 0, 0, 0, 0, 0, 0, 7, 7, 7]]) == [("train",) * 7 + ("test",) * 3]


def test_histories_of_a_split_for_each_user_are_what_precedes(toys: Tables, make_card: Make) -> None:
    card = make_card(split={"rule": "per-user", "valid_from": "0.6", "test_from": "0.8"})
    data = built(toys, card)
    times = first_times(toys, data)
    first_test: dict[int, int] = {}
    for name in ("train", "valid", "test"):
        pairs: Pairs = getattr(data, name)
        assert len(set(pairs.users.tolist())) > 5
        for user, history, item in zip(pairs.users.tolist(), pairs.histories, pairs.clicked.tolist(), strict=True):
            earlier = sorted((time, other) for other, time in times[user].items() if time < times[user][item])
            assert [other for _, other in earlier][-4:] == history[history != PAD].tolist()
            if name == "test":
                first_test[user] = min(first_test.get(user, 2**40), times[user][item])
    late = [
        (user, item)
        for user, item in zip(data.train.users.tolist(), data.train.clicked.tolist(), strict=True)
        if times[user][item] >= first_test.get(user, 2**40)
    ]
    assert not late
    # Others' training may be later: this is what the rule leaks, and the protocol says so.
    assert max(times[u][i] for u, i in zip(data.train.users, data.train.clicked, strict=True)) > min(
        first_test.values()
    )


def test_impressions_are_not_split_for_each_user(shows: Tables, make_card: Make) -> None:
    card = make_card(
        split={"rule": "per-user", "valid_from": "0.6", "test_from": "0.8"},
        negatives={"rule": "impression", "train_per_click": 2},
    )
    with pytest.raises(CardError, match="contradicts the data, which has impressions") as caught:
        build(card.track("standard"), shows, "f" * 64, "shows")
    assert caught.value.field == "split.rule"

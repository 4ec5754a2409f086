"""Windows of time: their periods do not meet, none of their examples lies outside, and a bad date is told."""

from __future__ import annotations

import numpy as np
import pytest
from tiny_task import write_task

from recgauntlet.core.card import Split
from recgauntlet.core.dataset import Pairs, Tables
from recgauntlet.core.errors import CardError, DataError
from recgauntlet.core.task import SourceOptions, Task
from recgauntlet.data.custom import find_task_or_card
from recgauntlet.data.examples import periods
from recgauntlet.data.prepare import prepare
from recgauntlet.data.windows import Window, next_window, windowed


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Task:
    return find_task_or_card(str(write_task(tmp_path_factory.mktemp("windows"))))


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> SourceOptions:
    return SourceOptions(directory=None, cache=tmp_path_factory.mktemp("cache"), offline=True)


@pytest.fixture(scope="module")
def tables(task: Task, source: SourceOptions) -> Tables:
    return task.load(task.card, "standard", source)


def times_of(tables: Tables, pairs: Pairs) -> list[int]:
    """When each pair's user took the clicked item: looked up in the table."""
    assert tables.interactions is not None
    rows = tables.interactions.to_pylist()
    users = sorted({row["user"] for row in rows})
    items = sorted(tables.items["id"].to_pylist())
    when = {(users.index(row["user"]), items.index(row["item"])): row["time"] for row in rows}
    return [when[user, item] for user, item in zip(pairs.users.tolist(), pairs.clicked.tolist(), strict=True)]


def seconds(text: str) -> float:
    return np.datetime64(text.removesuffix("+00:00")).astype("datetime64[s]").astype(int)


def test_examples_of_a_window_lie_in_its_periods(task: Task, tables: Tables, source: SourceOptions) -> None:
    window = next_window(task.card, "standard", tables, "2020-12-25")
    data = prepare(windowed(task, "standard", window), "standard", source)
    begin, valid, until, end = map(seconds, (window.begin, window.valid_from, window.until, window.end))
    for pairs, first, last in ((data.train, begin, valid), (data.valid, valid, until), (data.test, until, end)):
        times = times_of(tables, pairs)
        assert len(times) >= 20
        assert first <= min(times)
        assert max(times) < last
    assert until == seconds("2020-12-25T00:00:00")


def test_a_window_goes_on_where_the_last_one_ended(task: Task, tables: Tables) -> None:
    first = next_window(task.card, "standard", tables, "2020-12-20")
    second = next_window(task.card, "standard", tables, "2020-12-28", begin=first.until)
    assert second.begin == first.until
    assert second.end > first.end


def test_a_history_reaches_back_before_the_window(task: Task, tables: Tables, source: SourceOptions) -> None:
    window = next_window(task.card, "standard", tables, "2020-12-25")
    data = prepare(windowed(task, "standard", window), "standard", source)
    assert (data.train.histories >= 0).sum(axis=1).max() == task.card.track("standard").history_length


def test_items_and_users_keep_their_numbers(task: Task, tables: Tables, source: SourceOptions) -> None:
    window = next_window(task.card, "standard", tables, "2020-12-25")
    whole, part = prepare(task, "standard", source), prepare(windowed(task, "standard", window), "standard", source)
    assert whole.catalog == part.catalog
    assert whole.user_count == part.user_count
    assert whole.fingerprint == part.fingerprint


@pytest.mark.parametrize(
    ("until", "problem"),
    [
        ("2020-10-01", "is not between the end of the training so far"),
        ("2031-01-01", "is not between"),
        ("2020-12-06", "clicks with a history"),
        ("soon", "neither an ISO date nor a share"),
    ],
)
def test_a_date_that_leaves_no_window_is_told(task: Task, tables: Tables, until: str, problem: str) -> None:
    with pytest.raises((DataError, CardError), match=problem):
        next_window(task.card, "standard", tables, until)


def test_a_split_per_user_has_no_next_window(task: Task, tables: Tables) -> None:
    track = task.card.track("standard")
    split = Split(rule="per-user", valid_from="0.7", test_from="0.8")
    tracks = {"standard": track.model_copy(update={"split": split})}
    with pytest.raises(CardError, match="splits each user's clicks"):
        next_window(task.card.model_copy(update={"tracks": tracks}), "standard", tables, "2020-12-25")


def test_a_split_without_ends_is_as_before() -> None:
    """Cards without the two fields keep their hash, and every click lies in one period."""
    split = Split(valid_from="0.5", test_from="0.8")
    assert set(split.model_dump()) == {"valid_from", "test_from"}
    times = np.arange(100, dtype=np.int64)
    train, valid, test = periods(split, np.zeros(100, dtype=np.int64), times, "here")
    assert (train.astype(int) + valid + test == 1).all()
    assert (train.sum(), valid.sum(), test.sum()) == (50, 30, 20)


def test_ends_that_lie_inside_the_periods_are_refused() -> None:
    times = np.arange(100, dtype=np.int64)
    for more in ({"train_from": "0.6"}, {"test_until": "0.7"}):
        split = Split(valid_from="0.5", test_from="0.8", **more)
        with pytest.raises(CardError, match="leave no period"):
            periods(split, np.zeros(100, dtype=np.int64), times, "here")
    with pytest.raises(ValueError, match="no train_from"):
        Split(rule="per-user", valid_from="0.5", test_from="0.8", train_from="0.1")


def test_a_window_is_read_back_as_it_was_written(task: Task, tables: Tables) -> None:
    window = next_window(task.card, "standard", tables, "2020-12-25")
    assert Window.model_validate_json(window.model_dump_json()) == window


def test_the_periods_are_part_of_the_hash_of_a_card(task: Task) -> None:
    """The periods stand in the hash that weights and caches belong to."""
    window = Window(
        begin="2020-12-01",
        valid_from="2020-12-10",
        until="2020-12-12",
        end="2020-12-20",
        train_pairs=1,
        valid_pairs=1,
        test_pairs=1,
        test_impressions=1,
    )
    card = windowed(task, "standard", window).card
    assert card.fingerprint("standard") != task.card.fingerprint("standard")

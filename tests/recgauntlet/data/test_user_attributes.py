"""Attributes of users: read once, kept apart from the prepared data, checked."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from recgauntlet.core.card import TaskCard
from recgauntlet.core.dataset import Tables, UserAttribute
from recgauntlet.core.errors import DataError
from recgauntlet.core.task import SourceOptions, Task
from recgauntlet.data import cache as store
from recgauntlet.data.prepare import prepare
from recgauntlet.data.user_attributes import user_attributes

Make = Callable[..., TaskCard]
AGE = UserAttribute("age", ("young", "old"), {"u1": 1, "u10": 0, "u2": 1, "elsewhere": 0})


def made(toys: Tables, card: TaskCard, *found: UserAttribute) -> tuple[Task, list[SourceOptions]]:
    """A task with these attributes, and what they were asked for with."""
    asked: list[SourceOptions] = []

    def attributes(options: SourceOptions) -> tuple[UserAttribute, ...]:
        asked.append(options)
        return found

    return Task(card, lambda *_: toys, attributes), asked


def test_codes_stand_at_the_indices_of_the_prepared_users(
    toys: Tables, make_card: Make, options: SourceOptions
) -> None:
    task, asked = made(toys, make_card(), AGE)
    data = prepare(task, "standard", options)
    (found,), (again,) = (user_attributes(task, "standard", data, options) for _ in range(2))
    assert asked == [options]
    assert (found.name, found.labels) == (again.name, again.labels) == ("age", ("young", "old"))
    np.testing.assert_array_equal(found.codes, again.codes)
    ids = sorted(f"u{n}" for n in range(data.user_count))
    assert {ids[index]: code for index, code in enumerate(found.codes.tolist()) if code >= 0} == {
        "u1": 1,
        "u10": 0,
        "u2": 1,
    }
    assert toys.interactions is not None
    rows = toys.interactions.to_pylist()
    for user, click in zip(data.test.users.tolist(), data.test.clicked.tolist(), strict=True):
        assert any(row["user"] == ids[user] and row["item"] == data.catalog.ids[click] for row in rows)


def test_impressions_have_users_too(shows: Tables, make_card: Make, options: SourceOptions) -> None:
    card = make_card(negatives={"rule": "impression", "train_per_click": 2})
    task, _ = made(shows, card, AGE)
    data = prepare(task, "standard", options)
    (found,) = user_attributes(task, "standard", data, options)
    assert (found.codes >= 0).sum() == 3
    assert len(found.codes) == data.user_count


def test_the_prepared_data_and_its_file_stay_as_they_are(toys: Tables, make_card: Make, options: SourceOptions) -> None:
    plain = Task(make_card(), lambda *_: toys)
    data = prepare(plain, "standard", options)
    (path,) = (options.cache / "prepared").glob("*.npz")
    before = hashlib.sha256(path.read_bytes()).hexdigest()
    task, _ = made(toys, make_card(), AGE)
    again = prepare(task, "standard", options)
    assert user_attributes(task, "standard", again, options)
    assert (again.fingerprint, store.content_hash(again)) == (data.fingerprint, store.content_hash(data))
    assert hashlib.sha256(path.read_bytes()).hexdigest() == before


def test_a_task_or_source_without_has_none(toys: Tables, make_card: Make, options: SourceOptions) -> None:
    plain = Task(make_card(), lambda *_: toys)
    data = prepare(plain, "standard", options)
    assert user_attributes(plain, "standard", data, options) == ()
    task, asked = made(toys, make_card())
    assert user_attributes(task, "standard", data, options) == ()
    assert len(asked) == 1
    assert len(list((options.cache / "prepared").glob("*.npz"))) == 1


@pytest.mark.parametrize(
    ("found", "problem"),
    [
        ((replace(AGE, labels=("young",)),), "2 to 10"),
        ((replace(AGE, labels=("young", "")),), "1 to 40"),
        ((replace(AGE, labels=("young", "x" * 41)),), "1 to 40"),
        ((replace(AGE, labels=("young", "young")),), "a label twice"),
        ((replace(AGE, of_user={"u1": 2}),), "no place in the labels"),
        ((AGE, AGE), "one attribute twice"),
    ],
)
def test_attributes_that_cannot_be_are_refused(
    found: tuple[UserAttribute, ...], problem: str, toys: Tables, make_card: Make, options: SourceOptions
) -> None:
    task, _ = made(toys, make_card(), *found)
    with pytest.raises(DataError, match=problem) as caught:
        user_attributes(task, "standard", prepare(task, "standard", options), options)
    assert (caught.value.where, caught.value.field) == ("toys (standard)", "user_attributes")


def test_other_tables_and_a_changed_file_are_refused(
    toys: Tables, make_card: Make, options: SourceOptions, tmp_path: Path
) -> None:
    task, _ = made(toys, make_card(), AGE)
    data = prepare(task, "standard", options)
    assert toys.interactions is not None
    fewer, _ = made(Tables(toys.items, toys.interactions.slice(1)), make_card(), AGE)
    with pytest.raises(DataError, match="other tables"):
        user_attributes(fewer, "standard", data, options)
    user_attributes(task, "standard", data, options)
    (kept,) = (options.cache / "prepared").glob("*-users-*.npz")
    with store.open_archive(kept) as stored:
        arrays = {name: stored[name] for name in stored}
    store.write_archive({**arrays, "age": 1 - arrays["age"]}, kept)
    with pytest.raises(DataError, match="changed since"):
        user_attributes(task, "standard", data, options)

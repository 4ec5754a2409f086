from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from recgauntlet.core.card import TaskCard, TextThreat, Track
from recgauntlet.core.dataset import ITEMS, Tables
from recgauntlet.core.errors import CardError, DataError, OutputError
from recgauntlet.core.task import SourceOptions, Task
from recgauntlet.data import cache as store
from recgauntlet.data.cleaning import table_of
from recgauntlet.data.fingerprint import fingerprint
from recgauntlet.data.prepare import item_vectors, prepare, prepared_at, ready

Make = Callable[..., TaskCard]


class Shop:
    """A loader that counts how often it is asked."""

    def __init__(self, tables: Tables) -> None:
        self.tables = tables
        self.asked = 0

    def load(self, card: TaskCard, track: Track, options: SourceOptions) -> Tables:
        self.asked += 1
        return self.tables


def on_card(tables: Tables) -> dict[str, object]:
    """What a card says of `tables`."""
    found = fingerprint(tables)
    return {
        "fingerprint": found.sha256,
        "tables": {name: {"rows": each.rows, "sha256": each.sha256} for name, each in found.tables.items()},
    }


def test_a_second_start_opens_no_source_and_gives_the_same(
    toys: Tables, make_card: Make, options: SourceOptions
) -> None:
    shop = Shop(toys)
    task = Task(make_card(**on_card(toys)), shop.load)
    steps: list[tuple[str, int, int]] = []
    first = prepare(task, "standard", options, progress=lambda *step: steps.append(step))
    second = prepare(task, "standard", options, progress=lambda *step: steps.append(step))
    assert shop.asked == 1
    assert [number for _, number, _ in steps] == [1, 2, 3, 4]
    assert store.content_hash(first) == store.content_hash(second)
    for name in ("train", "valid", "test", "impressions"):
        for column, made in vars(getattr(first, name)).items():
            kept = getattr(getattr(second, name), column)
            assert kept.dtype == made.dtype
            np.testing.assert_array_equal(kept, made)
    assert second.catalog == first.catalog
    assert (second.user_count, second.fingerprint) == (30, fingerprint(toys).sha256)


def test_impressions_of_different_lengths_come_back_from_the_cache(
    shows: Tables, make_card: Make, options: SourceOptions
) -> None:
    card = make_card(negatives={"rule": "impression", "train_per_click": 2}, **on_card(shows))
    task = Task(card, Shop(shows).load)
    first, second = (prepare(task, "standard", options) for _ in range(2))
    assert len(set(np.diff(first.impressions.offsets).tolist())) > 1
    assert store.content_hash(first) == store.content_hash(second)


def test_a_card_without_fingerprint_reads_its_tables_and_still_uses_the_cache(
    toys: Tables, make_card: Make, options: SourceOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = Task(make_card(), Shop(toys).load)
    made = prepare(task, "standard", options)
    assert made.fingerprint == fingerprint(toys).sha256
    assert prepared_at(task.card, "standard", options.cache) is None
    monkeypatch.setattr("recgauntlet.data.prepare.build", None)
    assert store.content_hash(prepare(task, "standard", options)) == store.content_hash(made)


def test_another_card_is_prepared_anew(toys: Tables, make_card: Make, options: SourceOptions) -> None:
    shop = Shop(toys)
    for length in (4, 5, 4):
        card = make_card(history_length=length, **on_card(toys))
        assert prepare(Task(card, shop.load), "standard", options).train.histories.shape[1] == length
    assert shop.asked == 2


def test_other_tables_than_the_card_names_are_refused_by_name(
    toys: Tables, make_card: Make, options: SourceOptions
) -> None:
    rows = [tuple(row.values()) for row in toys.items.to_pylist()]
    card = make_card(**on_card(toys))
    fewer = Tables(toys.items, None if toys.interactions is None else toys.interactions.slice(0, 350))
    with pytest.raises(DataError, match=r"interactions \(350 rows where the card has 360\) differ"):
        prepare(Task(card, Shop(fewer).load), "standard", options)
    edited = Tables(table_of([(*rows[0][:1], "edited", ""), *rows[1:]], ITEMS), toys.interactions)
    with pytest.raises(DataError, match=r"not those of the card: items \(40 rows as on the card, but other") as caught:
        prepare(Task(card, Shop(edited).load), "standard", options)
    assert caught.value.field == "fingerprint"
    assert not (options.cache / "prepared").exists()


def test_a_rule_that_contradicts_the_data_is_refused(
    toys: Tables, shows: Tables, make_card: Make, options: SourceOptions
) -> None:
    shown = make_card(negatives={"rule": "impression", "train_per_click": 1})
    with pytest.raises(CardError, match="contradicts the data, which has interactions"):
        prepare(Task(shown, Shop(toys).load), "standard", options)
    with pytest.raises(CardError, match="contradicts the data, which has impressions"):
        prepare(Task(make_card(), Shop(shows).load), "standard", options)


def test_tables_are_validated_before_anything_is_kept(toys: Tables, make_card: Make, options: SourceOptions) -> None:
    with pytest.raises(DataError, match=r"toys \(standard\) \[interactions\]: item"):
        prepare(Task(make_card(), Shop(Tables(toys.items.slice(1), toys.interactions)).load), "standard", options)


def kept(toys: Tables, make_card: Make, options: SourceOptions) -> tuple[Task, Path]:
    task = Task(make_card(**on_card(toys)), Shop(toys).load)
    prepare(task, "standard", options)
    target = prepared_at(task.card, "standard", options.cache)
    assert target is not None
    return task, target


def test_a_damaged_cache_is_an_error_with_a_remedy(toys: Tables, make_card: Make, options: SourceOptions) -> None:
    task, target = kept(toys, make_card, options)
    target.write_bytes(target.read_bytes()[:200])
    with pytest.raises(DataError, match="damaged") as caught:
        prepare(task, "standard", options)
    assert caught.value.where == str(target)
    assert "delete" in caught.value.remedy


def test_a_changed_cache_is_an_error(toys: Tables, make_card: Make, options: SourceOptions) -> None:
    task, target = kept(toys, make_card, options)
    with np.load(target) as stored:
        arrays = {**stored, "train.clicked": stored["train.clicked"] + 1}
    np.savez(target, **arrays)
    with pytest.raises(DataError, match="changed since it was written"):
        prepare(task, "standard", options)


def test_a_broken_off_write_leaves_nothing_behind(
    toys: Tables, make_card: Make, options: SourceOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = Task(make_card(**on_card(toys)), Shop(toys).load)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        with pytest.raises(OutputError, match="No space left") as caught:
            prepare(task, "standard", options)
    assert "RECGAUNTLET_CACHE" in caught.value.remedy
    assert list((options.cache / "prepared").iterdir()) == []
    assert len(prepare(task, "standard", options).train) == 60


def test_vectors_are_computed_once_a_catalog(
    toys: Tables, make_card: Make, options: SourceOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = prepare(Task(make_card(), Shop(toys).load), "standard", options)
    calls: list[int] = []

    def encode(texts: tuple[str, ...], **_: object) -> np.ndarray:  # type: ignore[type-arg]
        calls.append(len(texts))
        return np.arange(len(texts) * 3, dtype=np.float32).reshape(-1, 3)

    monkeypatch.setattr("recgauntlet.data.encoder.sentence_vectors", encode)
    first, second = (item_vectors(data, cache=options.cache) for _ in range(2))
    assert calls == [40]
    assert torch.equal(first, second)
    (file,) = (options.cache / "vectors").iterdir()
    assert torch.equal(load_file(file)["vectors"], first)
    other = replace(data, catalog=replace(data.catalog, texts=("new", *data.catalog.texts[1:])))
    item_vectors(other, cache=options.cache)
    assert calls == [40, 40]


def test_wordnet_is_fetched_where_a_threat_asks_for_synonyms_and_nowhere_else(
    toys: Tables, make_card: Make, options: SourceOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched: list[tuple[Path, bool]] = []
    monkeypatch.setattr("recgauntlet.data.prepare.make_ready", lambda cache, offline: fetched.append((cache, offline)))
    threat = {
        "id": "tampering",
        "surface": "candidate-text",
        "goal": "flip",
        "ranked": True,
        "operations": ["replace-word"],
        "words": {"low": 1, "standard": 1, "high": 1},
        "queries": {"low": 1, "standard": 1, "high": 1},
        "source": "ours",
    }
    plain = make_card(**on_card(toys))
    for rule in ("neighbours", "wordnet"):
        threats = (TextThreat.model_validate(threat | {"synonyms": rule}),)
        task = Task(plain.model_copy(update={"threats": threats}), Shop(toys).load)
        prepare(task, "standard", options)
        ready(task, "standard", options)
        assert fetched == ([] if rule == "neighbours" else [(options.cache, options.offline)] * 2)


def test_popular_candidates_are_kept_and_hidden_from_training(
    make_card: Callable[..., TaskCard], toys: Tables, options: SourceOptions
) -> None:
    negatives = {"rule": "uniform-unseen", "train_per_click": 2, "eval_per_click": 5}
    cards = [make_card(negatives=negatives | own) for own in ({}, {"popular_per_click": 0}, {"popular_per_click": 4})]
    plain, none, popular = (card.fingerprint("standard") for card in cards)
    assert plain == none != popular
    task = Task(cards[-1], lambda *_: toys)
    made = prepare(task, "standard", options)
    target = ready(task, "standard", options)
    again = store.load(target)
    assert again is not None
    assert again.popular_impressions is not None
    assert again.taken is not None
    assert store.load_training(target).taken is None
    assert store.content_hash(again) == store.content_hash(made)
    assert store.load_training(target).popular_impressions is None
    assert prepare(Task(cards[0], lambda *_: toys), "standard", options).popular_impressions is None

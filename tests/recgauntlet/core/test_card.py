from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from recgauntlet.core.card import TaskCard, load_card
from recgauntlet.core.errors import CardError

CARD = """\
id = "toys"
version = 1
title = "t"
question = "q"
description = "d"
clicked = "took"
metrics = ["auc"]
[tracks.standard]
fingerprint = ""
history_length = 4
token_length = 8
train_pairs = 60
valid_pairs = 20
test_pairs = 10
test_impressions = 12
split = { valid_from = "0.6", test_from = "0.8" }
negatives = { rule = "uniform-unseen", train_per_click = 2 }
[tracks.standard.source]
name = "toys"
url = ""
licence = "CC0"
redistributable = true
citation = ""
[[threats]]
id = "stuffing"
surface = "candidate-text"
goal = "promote"
ranked = true
source = "ours"
operations = ["insert-word"]
queries = { low = 1, standard = 2, high = 3 }
words = { low = 1, standard = 2, high = 4 }
[[threats]]
id = "past"
surface = "history"
goal = "flip"
ranked = true
source = "ours"
operations = ["replace"]
queries = { low = 1, standard = 2, high = 3 }
edits = { low = 1, standard = 2, high = 4 }
window = 4
min_cosine = 0.5
"""
POPULAR = "tracks.standard.negatives.popular_per_click"
SPLIT = "tracks.standard.split"


def load(tmp_path: Path, text: str) -> TaskCard:
    path = tmp_path / "card.toml"
    path.write_text(text, encoding="utf-8")
    return load_card(path)


def test_a_whole_card_is_read(tmp_path: Path) -> None:
    card = load(tmp_path, CARD)
    assert [threat.id for threat in card.threats] == ["stuffing", "past"]
    assert card.threats[0].queries.at("high") == 3


@pytest.mark.parametrize(
    ("old", "new", "field", "words"),
    [
        ('licence = "CC0"\n', "", "tracks.standard.source.licence", "required"),
        ("version = 1", "version = 1\nnovelty = 2", "novelty", "not permitted"),
        ("words = { low = 1, standard = 2", "words = { low = 3, standard = 2", "threats", "must not fall"),
        ('id = "past"', 'id = "stuffing"', None, "two threats of one id"),
        ("redistributable = true", "redistributable = true\nsimulated = true", None, "simulated"),
        ('"insert-word"]', '"insert-word"]\ncharacters = { low = 1, standard = 1, high = 1 }', "threats", "characters"),
        ('["insert-word"]', '["insert-word", "replace-character"]', "threats", "replace-character"),
        ("[tracks.standard]", "[tracks.demo]", None, "source"),
        ("window = 4", "window = 0", "threats", "window"),
        ('surface = "history"', 'surface = "price"', "threats", "surface"),
        ("history_length = 4", 'history_length = "four"', "tracks.standard.history_length", "integer"),
        ("version = 1", "version = 0", "version", "greater"),
        ('"uniform-unseen", train', '"impression", popular_per_click = 3, train', POPULAR, "needs interactions"),
        ('"uniform-unseen", train', '"uniform-unseen", popular_per_click = -1, train', POPULAR, "greater"),
        ("split = { ", 'split = { rule = "by-mood", ', "tracks.standard.split.rule", "per-user"),
        ('split = { valid_from = "0.6"', 'split = { rule = "per-user", valid_from = "0.8"', SPLIT, "rise"),
        ('split = { valid_from = "0.6"', 'split = { rule = "per-user", valid_from = "2019-11-13"', SPLIT, "as text"),
        ('test_from = "0.8"', 'test_from = "1.2", rule = "per-user"', SPLIT, "as text"),
    ],
)
def test_a_wrong_card_is_refused_by_field(tmp_path: Path, old: str, new: str, field: str | None, words: str) -> None:
    assert CARD.count(old) >= 1
    with pytest.raises(CardError) as caught:
        load(tmp_path, CARD.replace(old, new, 1))
    assert caught.value.where == str(tmp_path / "card.toml")
    assert words in str(caught.value)
    assert (caught.value.field or "").startswith(field or "")
    assert caught.value.remedy


def test_a_card_without_a_standard_track_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CardError, match=r"tracks\.standard.*missing"):
        load(tmp_path, CARD.replace("tracks.standard", "tracks.demo"))


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(CardError, match=r"(?s)version.*token_length"):
        load(tmp_path, CARD.replace("version = 1", "version = 0").replace("token_length = 8", "token_length = 1"))


def test_bad_toml_and_bad_bytes_and_no_file_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(CardError, match=r"is not TOML.*line 1"):
        load(tmp_path, "id = \n")
    (tmp_path / "card.toml").write_bytes(b'id = "\xff"')
    with pytest.raises(CardError, match="not UTF-8 text"):
        load_card(tmp_path / "card.toml")
    with pytest.raises(CardError, match="cannot be read"):
        load_card(tmp_path / "none.toml")


def test_a_track_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(CardError) as caught:
        load(tmp_path, CARD).track("demo")
    assert "standard" in caught.value.remedy


@pytest.mark.parametrize(
    ("path", "value", "moves"),
    [
        (("version",), 2, True),
        (("threats", 0, "words", "high"), 5, True),
        (("threats", 1, "min_cosine"), 0.4, True),
        (("tracks", "standard", "test_pairs"), 11, True),
        (("tracks", "standard", "sampling_seed"), 1, True),
        (("tracks", "standard", "split", "test_from"), "0.9", True),
        (("title",), "another", False),
        (("description",), "another", False),
        (("threats", 0, "source"), "a paper", False),
        (("tracks", "standard", "source", "citation"), "@misc{x}", False),
    ],
)
def test_a_number_moves_the_fingerprint_and_prose_does_not(
    tmp_path: Path, path: tuple[str | int, ...], value: Any, *, moves: bool
) -> None:
    card = load(tmp_path, CARD)
    content = card.model_dump(mode="json")
    part: Any = content
    for key in path[:-1]:
        part = part[key]
    assert part[path[-1]] != value
    part[path[-1]] = value
    assert (TaskCard.model_validate(content).fingerprint("standard") != card.fingerprint("standard")) is moves


def test_a_split_by_time_has_the_hash_that_it_had_before_there_was_another_rule(tmp_path: Path) -> None:
    card = load(tmp_path, CARD)
    assert card.model_dump(mode="json")["tracks"]["standard"]["split"] == {"valid_from": "0.6", "test_from": "0.8"}
    named = load(tmp_path, CARD.replace("split = { ", 'split = { rule = "time", '))
    each = load(tmp_path, CARD.replace("split = { ", 'split = { rule = "per-user", '))
    assert card.fingerprint("standard") == named.fingerprint("standard") != each.fingerprint("standard")
    assert TaskCard.model_validate_json(each.model_dump_json()) == each


POISONING = """
[[poisoning]]
id = "brushing"
surface = "training-data"
goal = "promote"
active = ACTIVE
ranked = false
accounts = { low = 0.005, medium = 0.01, high = 0.03 }
target_sets = ["tail", "middle", "head"]
targets = 5
attacks = ["bandwagon"]
source = "ours"
"""


def poisoned(tmp_path: Path, active: bool = False, text: str = CARD, counted: str = '["bandwagon"]') -> TaskCard:
    path = tmp_path / "poisoned.toml"
    path.write_text(
        text + POISONING.replace("ACTIVE", str(active).lower()).replace('["bandwagon"]', counted), encoding="utf-8"
    )
    return load_card(path)


def test_a_threat_to_training_data_moves_the_fingerprint_only_where_it_is_active(tmp_path: Path) -> None:
    plain = tmp_path / "plain.toml"
    plain.write_text(CARD, encoding="utf-8")
    before = load_card(plain).fingerprint("standard")
    assert poisoned(tmp_path).fingerprint("standard") == before
    active = poisoned(tmp_path, active=True)
    assert active.fingerprint("standard") != before
    (threat,) = active.poisoning
    more = active.model_copy(update={"poisoning": (threat.model_copy(update={"targets": 6}),)})
    assert more.fingerprint("standard") != active.fingerprint("standard")


def test_an_active_threat_to_training_data_names_the_attacks_that_count(tmp_path: Path) -> None:
    with pytest.raises(CardError, match='"attacks" is missing'):
        poisoned(tmp_path, active=True, counted="[]")


def test_a_threat_to_training_data_is_none_to_inputs(tmp_path: Path) -> None:
    assert [threat.id for threat in poisoned(tmp_path).threats] == ["stuffing", "past"]


def test_impressions_cannot_be_poisoned(tmp_path: Path) -> None:
    with pytest.raises(CardError, match=r"tracks.standard.negatives.rule"):
        poisoned(tmp_path, text=CARD.replace("uniform-unseen", "impression"))


def test_two_threats_of_one_id_are_refused_whatever_they_attack(tmp_path: Path) -> None:
    with pytest.raises(CardError, match="two threats of one id"):
        poisoned(tmp_path, text=CARD.replace('id = "stuffing"', 'id = "brushing"'))


INSERTIONS = "insertions = { low = 0.0005, medium = 0.001, high = 0.003 }\ncollective = 0.1"


@pytest.mark.parametrize(
    ("budget", "split", "problem"),
    [
        (INSERTIONS, "time", '"insertions" need data with an order alone: "tracks.standard.split.rule"'),
        ("", "per-user", 'give one of "accounts"'),
        (f"accounts = {{ low = 0.1, medium = 0.1, high = 0.1 }}\n{INSERTIONS}", "per-user", 'give one of "accounts"'),
        (INSERTIONS.partition("\n")[0], "per-user", '"collective" and "insertions" are given together'),
        ("accounts = { low = 0.1, medium = 0.1, high = 0.1 }\ncollective = 0.1", "per-user", "are given together"),
        (INSERTIONS.replace("= 0.1", "= 1.0"), "per-user", "collective"),
    ],
)
def test_a_threat_to_training_data_has_one_budget(tmp_path: Path, budget: str, split: str, problem: str) -> None:
    accounts = next(line for line in POISONING.splitlines() if line.startswith("accounts"))
    card = CARD.replace("split = { ", f'split = {{ rule = "{split}", ') + POISONING.replace("ACTIVE", "false")
    path = tmp_path / "card.toml"
    path.write_text(card.replace(accounts, budget), encoding="utf-8")
    with pytest.raises(CardError, match=re.escape(problem)):
        load_card(path)


def test_plays_may_be_put_into_accounts_of_data_without_a_clock(tmp_path: Path) -> None:
    accounts = next(line for line in POISONING.splitlines() if line.startswith("accounts"))
    card = CARD.replace("split = { ", 'split = { rule = "per-user", ') + POISONING.replace("ACTIVE", "true")
    path = tmp_path / "card.toml"
    path.write_text(card.replace(accounts, INSERTIONS), encoding="utf-8")
    (threat,) = load_card(path).poisoning
    assert threat.accounts is None
    assert "accounts" not in threat.model_dump()
    assert TaskCard.model_validate_json(load_card(path).model_dump_json()).poisoning == (threat,)

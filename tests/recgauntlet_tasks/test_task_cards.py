from __future__ import annotations

import json
from pathlib import Path

import pytest

from recgauntlet.attacks.poisoning.suite import chosen_attacks
from recgauntlet.core.card import TIERS, EmbeddingThreat, HistoryThreat, TextThreat, load_card
from recgauntlet.core.plugins import names
from recgauntlet.core.task import SourceOptions, find_task
from recgauntlet.data.fingerprint import fingerprint
from recgauntlet_tasks import news_click

TASKS = ("ecommerce-purchase", "music-listen", "news-click", "video-watch")


def test_the_tasks_register_by_entry_point() -> None:
    assert set(TASKS) <= set(names("tasks"))
    assert [find_task(name).card.id for name in TASKS] == list(TASKS)


@pytest.mark.parametrize("name", TASKS)
def test_every_track_says_where_its_data_is_from_and_what_it_is(name: str) -> None:
    card = find_task(name).card
    assert set(card.tracks) == {"standard", "demo"}
    for track in card.tracks.values():
        assert track.fingerprint
        assert len(track.tables) == 2
        assert track.source.licence
        assert track.source.citation.strip().startswith("@")
    assert not card.track("standard").source.simulated
    assert set(card.metrics) == {"accuracy", "auc", "gauc", "mrr", "ndcg@5", "ndcg@10"}


@pytest.mark.parametrize("name", TASKS)
def test_standard_tracks_test_on_enough_examples(name: str) -> None:
    track = find_task(name).card.track("standard")
    assert (track.test_pairs, track.test_impressions) == (1500, 1000)


def test_popular_candidates_are_those_of_the_shop() -> None:
    counts = {name: find_task(name).card.track("standard").negatives.popular_per_click for name in TASKS}
    assert counts == {"ecommerce-purchase": 19, "music-listen": 0, "news-click": 0, "video-watch": 0}


def test_simulated_data_is_marked() -> None:
    marks = {name: find_task(name).card.track("demo").source.simulated for name in TASKS}
    assert marks == {
        "ecommerce-purchase": True,
        "music-listen": True,
        "news-click": True,
        "video-watch": False,
    }


def test_no_data_that_may_not_be_passed_on_is_marked_so() -> None:
    assert not find_task("music-listen").card.track("standard").source.redistributable
    assert not find_task("news-click").card.track("standard").source.redistributable
    assert not any(track.source.redistributable for track in find_task("video-watch").card.tracks.values())


def budgets(name: str) -> dict[str, tuple[object, ...]]:
    out: dict[str, tuple[object, ...]] = {}
    for threat in find_task(name).card.threats:
        queries = tuple(threat.queries.at(tier) for tier in TIERS)
        if isinstance(threat, EmbeddingThreat):
            amounts: tuple[object, ...] = tuple(threat.radius.at(tier) for tier in TIERS)
        elif isinstance(threat, HistoryThreat):
            amounts = tuple(threat.edits.at(tier) for tier in TIERS)
        else:
            characters = threat.characters
            amounts = tuple(threat.words.at(tier) for tier in TIERS)
            amounts += tuple(characters.at(tier) for tier in TIERS) if characters else ()
        out[threat.id] = (threat.surface, threat.goal, threat.ranked, amounts, queries)
    return out


EMBEDDING = {
    "embedding": ("embedding", "flip", False, (0.1, 0.25, 0.5), (200, 200, 200)),
    "embedding-linf": ("embedding", "flip", False, (0.02, 0.05, 0.1), (200, 200, 200)),
}


def test_the_budgets_are_the_published_ones() -> None:
    title = ("candidate-text", "promote", True, (1, 2, 4), (100, 500, 2000))
    assert budgets("ecommerce-purchase") == {
        "title-stuffing": title,
        "title-stuffing-flip": (title[0], "flip", False, *title[3:]),
        **EMBEDDING,
    }
    assert budgets("news-click") == {
        "headline-tampering": ("candidate-text", "flip", True, (1, 2, 4, 0, 1, 2), (200, 500, 2000)),
        **EMBEDDING,
    }
    for name, edits in (("video-watch", (1, 2, 5)), ("music-listen", (1, 3, 6))):
        history = ("history", "flip", True, edits, (100, 500, 2000))
        assert budgets(name) == {"history-perturbation": history, **EMBEDDING}


PILOT = Path(__file__).resolve().parents[2] / "docs" / "reference" / "pilot.json"


@pytest.mark.parametrize("name", ["ecommerce-purchase", "news-click", "video-watch", "music-listen"])
def test_the_pilot_tried_the_budget_of_the_card_and_it_separates(name: str) -> None:
    (threat,) = (threat for threat in find_task(name).card.threats if threat.ranked)
    budget = threat.model_dump(mode="json", exclude={"source"})
    runs = json.loads(PILOT.read_text(encoding="utf-8"))
    found = {run["defense"]: run for run in runs if run["task"] == name and run["threat"] == budget}
    plain = found.pop("none")
    assert 0.1 <= 1 - plain["lost"]["standard"] <= 0.75
    assert max(run["robust"]["standard"] for run in found.values()) >= plain["robust"]["standard"] + 0.1


def test_streams_are_farmed_with_the_budget_of_brushing_for_one_label() -> None:
    (brushing,) = find_task("ecommerce-purchase").card.poisoning
    farming, insertion = find_task("music-listen").card.poisoning
    assert farming.accounts == brushing.accounts
    assert insertion.insertions is not None
    assert insertion.insertions.standard == 0.001
    assert insertion.target_sets == farming.target_sets
    assert (farming.target_sets, farming.targets) == (("label",), 5)
    assert "one invented label" in farming.source


@pytest.mark.parametrize("name", TASKS)
def test_attacks_on_training_data_that_a_card_names_exist_for_its_threat(name: str) -> None:
    for threat in find_task(name).card.poisoning:
        if threat.attacks:
            assert tuple(attack.name for attack in chosen_attacks(threat, threat.attacks)) == threat.attacks


def test_ads_are_measured_alike_and_said_to_be_simulated() -> None:
    films, music = (find_task(name).card.ads for name in ("video-watch", "music-listen"))
    assert films is not None
    assert music is not None
    assert films.model_dump(exclude={"source"}) == music.model_dump(exclude={"source"})
    for ads in (films, music):
        assert "simulated" in ads.source
        for left_out in ("where in a list ads may stand", "bids and prices", "a button that skips", "react to ads"):
            assert left_out in ads.source.partition("Not modelled: ")[2]


def test_the_rules_of_texts_are_the_published_ones() -> None:
    for threat in find_task("ecommerce-purchase").card.threats[:2]:
        assert isinstance(threat, TextThreat)
        assert threat.operations == ("insert-word",)
        assert threat.nearest_items is not None
        assert [threat.nearest_items.at(tier) for tier in TIERS] == [5, 20, 10000]
        assert (threat.max_length, threat.max_repeats, threat.keep_numbers) == (200, 2, True)
        assert set(threat.banned_characters) == set("!$?_{}^¬¦")
    headline = find_task("news-click").card.threats[0]
    assert isinstance(headline, TextThreat)
    assert (headline.max_changed_share, headline.keep_numbers, headline.keep_names) == (0.3, True, True)


@pytest.mark.parametrize("name", TASKS)
def test_every_budget_says_where_it_comes_from(name: str) -> None:
    assert all("ours" in threat.source for threat in find_task(name).card.threats)


def test_the_simulated_track_is_the_one_on_the_card(here: SourceOptions) -> None:
    task = news_click.task
    track = task.card.track("demo")
    found = fingerprint(task.load(task.card, "demo", here))
    assert found.sha256 == track.fingerprint
    assert {name: each.sha256 for name, each in found.tables.items()} == {
        name: each.sha256 for name, each in track.tables.items()
    }


def test_prose_may_change_and_numbers_may_not() -> None:
    card = find_task("video-watch").card
    prose = json.loads(card.model_dump_json())
    prose["tracks"]["standard"]["source"]["note"] = "another note"
    prose["threats"][0]["source"] = "another source"
    number = json.loads(card.model_dump_json())
    number["tracks"]["standard"]["history_length"] = 49
    same, other = (type(card).model_validate(content) for content in (prose, number))
    assert same.fingerprint("standard") == card.fingerprint("standard") != other.fingerprint("standard")


def test_cards_are_found_beside_their_modules() -> None:
    from importlib.resources import files

    for name in TASKS:
        path = files("recgauntlet_tasks") / f"{name.replace('-', '_')}.toml"
        assert load_card(path) == find_task(name).card  # type: ignore[arg-type]

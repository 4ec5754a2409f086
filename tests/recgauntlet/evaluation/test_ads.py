from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from toy_recommender import ToyRecommender, make_catalog, train

from recgauntlet.attacks.common import BestSoFar
from recgauntlet.attacks.history.ads import DodgingGradient, FolkRule, ListExposure, dodging_attacks
from recgauntlet.core.card import TIERS, AdThreat, Tier
from recgauntlet.core.dataset import AdLists, TaskData
from recgauntlet.core.rng import Randomness
from recgauntlet.core.types import PAD
from recgauntlet.evaluation import ads
from recgauntlet.evaluation.ads import dodge_ads
from recgauntlet.evaluation.setup import Trial
from recgauntlet.metrics.ranking import Scores
from recgauntlet.testing.tiny import tiny_data
from recgauntlet.threats.ads import fitted_offset, history_rules, judge_edits, shown_ads, utility
from recgauntlet.threats.budget import Budget
from recgauntlet.threats.knowledge import AttackerKnowledge

CATALOG, ORGANIC, SPONSORED, WIDTH, USERS = 160, 12, 5, 6, 12


def ad_threat(queries: float = 30, **changes: object) -> AdThreat:
    content = {
        "id": "ad-dodging",
        "surface": "history",
        "goal": "suppress-set",
        "operations": ("insert", "delete"),
        "edits": {"low": 1, "standard": 2, "high": 3},
        "window": 50,
        "queries": {"low": queries, "standard": 2 * queries, "high": 3 * queries},
        "utility": 0.95,
        "share": 0.1,
        "shown": 0.2,
        "organic": ORGANIC,
        "sponsored": SPONSORED,
        "relevant": 3,
        "lists": {"standard": USERS},
        "source": "ours",
    }
    return AdThreat.model_validate(content | changes)


def made_lists(seed: int, relevant: int = 1) -> AdLists:
    draw = np.random.default_rng(seed)
    histories = np.stack([draw.permutation(CATALOG)[:WIDTH] for _ in range(USERS)])
    histories[: USERS // 2, 0] = PAD
    candidates = [
        [draw.permutation(np.setdiff1d(np.arange(CATALOG), row))[: ORGANIC + SPONSORED] for row in histories]
        for _ in range(2)
    ]
    taken = np.zeros((2, USERS, ORGANIC + SPONSORED), dtype=np.bool_)
    taken[:, :, :relevant] = True
    return AdLists(np.arange(USERS), histories, np.array(candidates), taken)


@cache
def problem() -> tuple[Trial, TaskData]:
    catalog = make_catalog(CATALOG)
    torch.manual_seed(0)
    model = train(ToyRecommender(catalog), steps=40).requires_grad_(False)
    data = replace(tiny_data(), catalog=catalog, valid_ads=made_lists(1), test_ads=made_lists(2))
    return Trial.of(model, data, AttackerKnowledge(catalog)), data


def test_the_offset_makes_the_wanted_share_of_places_sponsored() -> None:
    scores = np.random.default_rng(0).normal(size=(50, 50)).astype(np.float32)
    for share in (0.1, 0.2, 0.5):
        shown = shown_ads(scores, 40, fitted_offset(scores, 40, share))
        assert shown.sum() == round(share * 500)
    scores[3, 4] = np.nan
    with pytest.raises(ValueError, match="not a number"):
        fitted_offset(scores, 40, 0.2)


def test_a_list_with_a_score_that_is_no_number_shows_no_ad_and_is_of_no_use() -> None:
    scores = np.array([[3.0, 2.0, 1.0] + [0.0] * 8 + [9.0], [3.0, np.nan, 1.0] + [0.0] * 8 + [9.0]])
    taken = np.zeros_like(scores, dtype=np.bool_)
    taken[:, 0] = True
    assert shown_ads(scores, 11, 0.0).tolist() == [[True], [False]]
    assert utility(scores, taken, 11).tolist() == [1.0, 0.0]


def test_equal_ranks_keep_the_order_of_the_list() -> None:
    assert not shown_ads(np.zeros((1, 14)), 11, 0.0).any()
    assert shown_ads(np.zeros((1, 14)), 9, 0.0).tolist() == [[True, False, False, False, False]]


def verdict(new: Sequence[int], after: Scores, *, edits: Tier = "low") -> str:
    old = np.array([[PAD, 1, 2, 3]])
    items = np.arange(20, 20 + ORGANIC + SPONSORED)[None]
    taken = np.arange(ORGANIC + SPONSORED)[None] == 0
    before = np.linspace(5, 1, ORGANIC + SPONSORED)[None]
    judged = judge_edits(
        ad_threat(),
        edits,
        CATALOG,
        0.0,
        items,
        taken,
        (old, before),
        (np.array([new]), after[None]),
    )
    return judged.reasons[0]


def test_the_verifier_refuses_what_the_rules_forbid() -> None:
    same = np.linspace(5, 1, ORGANIC + SPONSORED)
    worse = same.copy()
    worse[0] = same[1] - 0.01  # what the user wants falls to the second place
    assert verdict([PAD, 1, 2, 3], worse) == "", "an unchanged history is legal whatever the scores"
    assert verdict([PAD, PAD, 1, 2], same) == ""
    assert verdict([1, 2, 3, 50], same) == ""
    assert "nDCG@10" in verdict([1, 2, 3, 50], worse)
    assert "candidate of the list" in verdict([1, 2, 3, 25], same)
    assert "not within 1 edits" in verdict([PAD, 1, 50, 3], same), "a replacement takes two edits"
    assert verdict([PAD, 1, 50, 3], same, edits="standard") == ""
    assert "not in the catalog" in verdict([1, 2, 3, CATALOG], same)
    assert "not within" in verdict([PAD, 2, 1, 3], same)


def fewest_ads(stage: ads._Stage) -> int:
    """The fewest ads that the first list shows after any legal edit, by brute force."""
    histories = np.array(one_edit(stage.histories[0].tolist()))
    count = len(histories)
    items, taken = np.repeat(stage.items[:1], count, axis=0), np.repeat(stage.taken[:1], count, axis=0)
    clean = np.repeat(stage.scores[:1], count, axis=0)
    scores = ads._scored(stage.trial, np.repeat(stage.users[:1], count), histories, items)
    old = np.repeat(stage.histories[:1], count, axis=0)
    judged = judge_edits(stage.threat, "low", CATALOG, stage.offset, items, taken, (old, clean), (histories, scores))
    return int(judged.ads.sum(axis=1)[judged.legal].min())


def one_edit(history: Sequence[int]) -> list[list[int]]:
    own = [item for item in history if item != PAD]
    after = [own[:n] + own[n + 1 :] for n in range(len(own))]
    after += [[*own[: n + 1], item, *own[n + 1 :]] for n in range(len(own)) for item in range(CATALOG)]
    return [([PAD] * len(history) + row)[-len(history) :] for row in after]


def test_the_beam_finds_what_exhaustive_search_finds_for_one_edit() -> None:
    trial, data = problem()
    assert data.valid_ads is not None
    assert data.test_ads is not None
    threat, test = ad_threat(queries=400), data.test_ads
    whole = ads._Stage.of(trial, data.valid_ads, test, threat, 0)
    hidden = 0
    for row in np.argsort(-whole.shown.sum(axis=1), kind="stable")[:2].tolist():
        alone = AdLists(test.users[[row]], test.histories[[row]], test.items[:, [row]], test.taken[:, [row]])
        stage = ads._Stage.of(trial, data.valid_ads, alone, threat, 0)
        attack = DodgingGradient(moves=400, beam=2, stop_when_fallen=False)
        budget = Budget.of(history_rules(threat), "low")
        result = ads._attack(stage, stage.victim, trial.model, attack, budget, Randomness(0, "a"))
        assert result.error == ""
        assert result.ads.sum() == fewest_ads(stage)
        hidden += int(stage.shown.sum() - result.ads.sum())
    assert hidden > 0


def test_ads_are_hidden_more_by_search_than_by_chance_and_more_edits_hide_more() -> None:
    trial, data = problem()
    measured, control = dodge_ads(trial, data, ad_threat(), Randomness(0, "x"))
    assert [tier.tier for tier in measured.tiers] == list(TIERS)
    assert all(check.passed for check in measured.checks), measured.checks
    left = {a.name: [next(b for b in t.attacks if b.name == a.name).ads.sum() for t in measured.tiers]
            for a in measured.tiers[0].attacks}  # fmt: skip
    assert set(left) == {attack.name for attack in dodging_attacks()}
    assert left["dodging-gradient"][2] < left["random"][2] <= measured.shown.sum()
    assert left["dodging-gradient"][2] < left["dodging-gradient"][0]
    assert not any(attack.error or attack.violations > 2 for tier in measured.tiers for attack in tier.attacks)
    assert control.draw == 1
    assert [tier.tier for tier in control.tiers] == ["standard"]
    assert not np.array_equal(control.shown, measured.shown)


def test_a_model_that_does_not_read_histories_is_not_applicable() -> None:
    trial, data = problem()

    class Unread(ToyRecommender):
        surfaces = frozenset({"candidate-text"})

    model = Unread(data.catalog)
    model.load_state_dict(trial.model.state_dict())
    (result,) = dodge_ads(replace(trial, model=model.eval()), data, ad_threat(), Randomness(0, "x"))
    assert result.tiers == ()
    assert not result.to_record().applicable


def test_an_attack_that_cheats_or_fails_hides_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    trial, data = problem()

    class Cheat(FolkRule):
        def perturb(self, victim, batch, budget, rng):  # type: ignore[no-untyped-def]
            return batch.with_histories(torch.flip(batch.histories(), dims=[1]))

    class Crash(FolkRule):
        def perturb(self, victim, batch, budget, rng):  # type: ignore[no-untyped-def]
            raise ZeroDivisionError

    for attack, violations, error in ((Cheat(), True, ""), (Crash(), False, "ZeroDivisionError")):
        monkeypatch.setattr(ads, "dodging_attacks", lambda attack=attack: (attack,))
        monkeypatch.setattr(ads, "CONTROL", attack.name)
        result = dodge_ads(trial, data, ad_threat(draws=1), Randomness(0, "x"))[0]
        (found,) = result.tiers[0].attacks
        assert bool(found.violations) == violations
        assert error in found.error
        assert np.array_equal(found.ads, result.shown)


def test_a_list_below_zero_shows_no_ad() -> None:
    trial, data = problem()
    assert data.valid_ads is not None
    assert data.test_ads is not None
    stage = ads._Stage.of(trial, data.valid_ads, data.test_ads, ad_threat(), 0)
    victim = stage.victim
    assert isinstance(victim.model, ListExposure)
    scores = victim.scores(victim.clean).numpy()
    assert np.array_equal(np.round(scores + 0.5).astype(int), stage.shown.sum(axis=1))
    assert np.array_equal(scores > 0, stage.shown.any(axis=1))
    assert not BestSoFar(victim.clean).fallen().any()

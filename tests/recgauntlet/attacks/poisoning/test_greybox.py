"""The grey box keeps the accounts that do most harm to its surrogates, and names the attack that made them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from poison_task import make_store

from recgauntlet.attacks.poisoning.base import Poisoning, PoisoningKnowledge
from recgauntlet.attacks.poisoning.greybox import GreyBox, _win_rate, single_attacks
from recgauntlet.attacks.poisoning.profiles import RandomProfiles
from recgauntlet.attacks.poisoning.suite import poisoning_attacks
from recgauntlet.attacks.poisoning.tables import PoisonStore
from recgauntlet.core.poison import FakeAccounts
from recgauntlet.core.rng import Randomness
from recgauntlet.data.poison_tables import read_table
from recgauntlet.threats.training_data import PoisonBudget

RNG = Randomness(0, "test")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> PoisonStore:
    return make_store(tmp_path_factory.mktemp("poison"))[0]


def test_tables_name_the_choice_of_each_tier(store: PoisonStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def rates(
        self: GreyBox, knowledge: PoisoningKnowledge, targets: Any, candidates: Mapping[str, FakeAccounts]
    ) -> dict[str, tuple[float, float]]:
        wanted = "copy" if len(knowledge.before) else "segment"
        return {name: (0.5, 0.9 if name == wanted else 0.1) for name in candidates}

    monkeypatch.setattr(GreyBox, "win_rates", rates)
    tables = store.tables(GreyBox(steps=1))
    chosen = {tier: made.table.header.chosen for tier, made in tables.items()}
    assert chosen == {"low": ("segment",), "standard": ("segment",), "high": ("segment", "copy")}
    assert tables["high"].path is not None
    assert read_table(tables["high"].path).header.chosen == ("segment", "copy")
    assert all(not made.faults for made in tables.values())


def test_the_choice_has_the_highest_mean_of_both_win_rates(store: PoisonStore) -> None:
    knowledge = PoisoningKnowledge.of(store.genuine, "training-data")
    targets, budget = store.verifier.targets, PoisonBudget.of(store.threat, "standard", store.genuine)
    greybox = GreyBox(steps=1)
    candidates = greybox.candidates(knowledge, targets, budget, RNG)
    rates = greybox.win_rates(knowledge, targets, candidates)
    found = greybox.accounts(knowledge, targets, budget, RNG)
    (name,) = found.chosen
    assert sum(rates[name]) == max(map(sum, rates.values()))
    assert np.array_equal(found.items, candidates[name].items)
    assert set(candidates) == {attack.name for attack in poisoning_attacks()} - {"greybox"}
    nobody = greybox.win_rates(knowledge, targets, {"": FakeAccounts.none()})[""]
    assert sum(rates[name]) > sum(nobody)


def test_what_was_added_before_counts_too(store: PoisonStore) -> None:
    knowledge = PoisoningKnowledge.of(store.genuine, "training-data")
    targets, budget = store.verifier.targets, PoisonBudget.of(store.threat, "standard", store.genuine)
    made = RandomProfiles().accounts(knowledge, targets, budget, RNG)
    alone = GreyBox().win_rates(knowledge, targets, {"": made})
    before = GreyBox().win_rates(knowledge.with_accounts(made), targets, {"": FakeAccounts.none()})
    assert alone[""] == pytest.approx(before[""])


def test_an_attack_of_public_knowledge_sees_no_training_data(
    store: PoisonStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, bool] = {}
    kinds: list[type[Poisoning]] = [type(attack) for attack in single_attacks()]
    for kind in kinds:

        def spied(
            self: Poisoning, knowledge: PoisoningKnowledge, *rest: Any, original: Any = kind.accounts
        ) -> FakeAccounts:
            seen[self.name] = knowledge.training is not None
            made: FakeAccounts = original(self, knowledge, *rest)
            return made

        monkeypatch.setattr(kind, "accounts", spied)
    knowledge = PoisoningKnowledge.of(store.genuine, "training-data")
    budget = replace(PoisonBudget.of(store.threat, "low", store.genuine), accounts=1)
    GreyBox(steps=1).candidates(knowledge, store.verifier.targets, budget, RNG)
    assert seen == {attack.name: attack.knowledge == "training-data" for attack in single_attacks()}


def test_the_win_rate_counts_ties_half() -> None:
    scores = np.array([[3.0, 1.0, 1.0, 0.0, 2.0], [0.0, 5.0, 1.0, 2.0, 3.0]])
    assert _win_rate(scores, np.array([1])) == pytest.approx(((0.5 + 1) / 4 + 1) / 2)
    assert _win_rate(np.zeros((2, 5)), np.array([0, 3])) == 0.5

"""What holds for every attack: it keeps to its budget, moves each example the wrong way, and judges each by itself.

Generated catalogs and threats are in `tests/recgauntlet/threats/test_verifier_properties.py`.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from toy_recommender import Run, embedding_threat, headline_threat, history_threat, stuffing_threat

from recgauntlet.attacks.base import Attack
from recgauntlet.attacks.embedding.apgd import APGD
from recgauntlet.attacks.embedding.ddn import DDN
from recgauntlet.attacks.embedding.pgd import FGM, FGSM, PGD, RandomEmbedding
from recgauntlet.attacks.embedding.smoothed import SmoothedPGD
from recgauntlet.attacks.embedding.square import Square
from recgauntlet.attacks.history.greedy import HistoryGradient, HistoryQuery, RandomHistory
from recgauntlet.attacks.text.greedy import CharacterSwap, WordGradient, WordQuery
from recgauntlet.attacks.text.keywords import Keywords
from recgauntlet.attacks.text.random import RandomText
from recgauntlet.core.batch import Batch
from recgauntlet.core.card import TIERS, Threat
from recgauntlet.core.rng import Randomness
from recgauntlet.threats.budget import Budget
from recgauntlet.threats.knowledge import AttackerKnowledge
from recgauntlet.threats.registry import threat_model
from recgauntlet.threats.verifier import verify
from recgauntlet.threats.victim import Victim

BALLS = (
    RandomEmbedding(),
    FGM(),
    FGSM(),
    PGD(),
    APGD(),
    APGD(loss="rank", start="random", name="rank"),
    DDN(),
    SmoothedPGD(),
    Square(),
)
WORDS = (RandomText(), WordQuery(), WordGradient())
CASES: list[tuple[Attack, Threat]] = [
    *((attack, embedding_threat(norm, queries=200)) for attack in BALLS for norm in ("l2", "linf")),
    *((attack, stuffing_threat()) for attack in (*WORDS, Keywords())),
    *((attack, headline_threat()) for attack in (*WORDS, CharacterSwap())),
    *((attack, history_threat()) for attack in (RandomHistory(), HistoryQuery(), HistoryGradient())),
]
cases = pytest.mark.parametrize(
    ("attack", "threat"), CASES, ids=[f"{a.name}-{getattr(t, 'norm', t.id)}" for a, t in CASES]
)


@cases
def test_inputs_stay_inside_the_budget_and_change(
    run: Run, victim: Victim, batch: Batch, world: AttackerKnowledge, attack: Attack, threat: Threat
) -> None:
    for tier in TIERS:
        budget = Budget.of(threat, tier)
        assert attack.supports(budget)
        found, _ = run(attack, budget)
        verdict = verify(world, victim.scale, budget, batch, found)
        assert verdict.legal.all(), set(verdict.reasons)
        assert threat_model(threat).changed(world.catalog, batch, found).float().mean() > 0.5


@pytest.mark.parametrize("queries", [1, 2, 3, 6])
@pytest.mark.parametrize(("attack", "threat"), [case for case in CASES if threat_model(case[1]).is_discrete])
def test_no_search_does_less_than_chance_with_as_few_queries(
    run: Run, attack: Attack, threat: Threat, queries: int
) -> None:
    budget = replace(Budget.of(threat, "high"), queries=queries)
    chance = RandomHistory(trials=queries) if threat.surface == "history" else RandomText(trials=queries)
    assert (run(attack, budget)[1] > 0).sum() >= (run(chance, budget)[1] > 0).sum()


@cases
def test_every_example_moves_to_its_wrong_side_whatever_stands_beside_it(
    run: Run, victim: Victim, batch: Batch, attack: Attack, threat: Threat
) -> None:
    clean = (1 - 2 * batch.labels) * victim.scores(batch)
    budget = Budget.of(threat, "standard")
    _, damage = run(attack, budget)
    for label in (0, 1):
        assert (damage - clean)[batch.labels == label].mean() > 0
    order = torch.randperm(len(batch), generator=torch.Generator().manual_seed(3))
    for part in (order, order[:7]):
        _, again = run(attack, budget, batch.select(part))
        assert ((again - damage[part]).abs() > 1e-3).sum() <= 1  # a tie may break otherwise by rounding


@cases
def test_a_zero_budget_returns_the_clean_input(run: Run, batch: Batch, attack: Attack, threat: Threat) -> None:
    assert run(attack, replace(Budget.of(threat, "low"), amount=0.0, characters=0))[0] is batch


@cases
@pytest.mark.parametrize("queries", [1, 3, 17])
def test_queries_stay_inside_the_budget(
    victim: Victim, batch: Batch, attack: Attack, threat: Threat, queries: int
) -> None:
    budget = replace(Budget.of(threat, "high"), queries=queries)
    victim.reset(queries)
    attack.perturb(victim, batch, budget, Randomness(0, "test"))
    assert (victim.remaining(batch.example_ids) >= 0).all()
    assert victim.effort.queries <= queries * len(batch)

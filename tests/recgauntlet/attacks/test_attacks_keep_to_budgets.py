"""Whatever the catalog and the threat: what an attack returns is legal, and asks no more than it may."""

from __future__ import annotations

import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from toy_recommender import (
    ToyRecommender,
    embedding_threat,
    headline_threat,
    history_threat,
    make_twin,
    make_victim,
    stuffing_threat,
)

from recgauntlet.attacks.base import Attack
from recgauntlet.attacks.history.greedy import HistoryGradient, HistoryQuery
from recgauntlet.attacks.suite import attacks_for, transfer_for
from recgauntlet.attacks.text.greedy import CharacterSwap, WordGradient, WordQuery
from recgauntlet.attacks.text.keywords import Keywords
from recgauntlet.core.batch import Batch, Users
from recgauntlet.core.card import Threat
from recgauntlet.core.dataset import Catalog
from recgauntlet.core.rng import Randomness
from recgauntlet.core.types import PAD
from recgauntlet.threats.budget import Budget
from recgauntlet.threats.knowledge import AttackerKnowledge
from recgauntlet.threats.verifier import verify

WORDS = st.sampled_from(
    ("boat Boat BOAT boat, ship queen's 2nd 12 (cars) car Zorblat U.S. wins! $5 é naïve 東京 - _ a the the").split()  # noqa: SIM905
)
TEXTS = st.lists(WORDS, min_size=1, max_size=9).flatmap(
    lambda words: st.sampled_from([" ", "  "]).map(lambda space: space.join(words))
)


def beams(threat: Threat) -> tuple[Attack, ...]:
    """Every search of the threat's surface with a beam."""
    if threat.surface == "history":
        return HistoryQuery(beam=3), HistoryGradient(beam=3)
    if threat.surface == "candidate-text":
        return CharacterSwap(beam=3), WordQuery(beam=3), WordGradient(beam=3), Keywords(), Keywords(beam=3)
    return ()


@st.composite
def cases(draw: st.DrawFn) -> tuple[AttackerKnowledge, Batch, Threat]:
    texts = draw(st.lists(TEXTS, min_size=2, max_size=8))
    count, width = len(texts), draw(st.integers(1, 5))
    catalog = Catalog(tuple(f"id{n}" for n in range(count)), tuple(texts), ("",) * count)
    seed = draw(st.integers(0, 10**6))
    generator = torch.Generator().manual_seed(seed)
    vectors = torch.nn.functional.normalize(torch.randn(count, 384, generator=generator), dim=1)
    users, size = 3, 5
    histories = torch.randint(0, count, (users, width), generator=generator)
    for user in range(users):
        histories[user, : draw(st.integers(0, width - 1))] = PAD
    batch = Batch(
        users=Users(torch.arange(users), histories),
        rows=torch.randint(0, users, (size,), generator=generator),
        items=torch.randint(0, count, (size,), generator=generator),
        labels=torch.randint(0, 2, (size,), generator=generator).float(),
        example_ids=torch.arange(size) + seed,
    )
    threat: Threat = draw(
        st.sampled_from(
            [
                embedding_threat("l2"),
                embedding_threat("linf"),
                stuffing_threat().model_copy(update={"max_length": draw(st.integers(1, 60))}),
                stuffing_threat().model_copy(update={"max_repeats": 1, "keep_numbers": False}),
                headline_threat().model_copy(update={"max_changed_share": draw(st.floats(0.01, 1))}),
                headline_threat().model_copy(update={"keep_names": False, "banned_characters": "-."}),
                history_threat(min_cosine=draw(st.floats(-1, 1)), window=draw(st.integers(1, 6))),
            ]
        )
    )
    return AttackerKnowledge(catalog, vectors), batch, threat


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(cases(), st.sampled_from(["low", "standard", "high"]), st.integers(1, 60))
def test_no_attack_ever_breaks_its_budget(
    case: tuple[AttackerKnowledge, Batch, Threat], tier: str, queries: int
) -> None:
    world, batch, threat = case
    budget = Budget.of(threat, tier)  # type: ignore[arg-type]
    torch.manual_seed(0)
    model = ToyRecommender(world.catalog, token_length=6).eval()
    victim, twin = make_victim(model, world, batch), make_twin(model, world, batch)
    for attack in (*attacks_for(threat), *beams(threat), transfer_for(threat, twin)):
        if attack.supports(budget):
            victim.reset(queries)
            found = attack.perturb(victim, batch, budget, Randomness(0, "test"))
            verdict = verify(world, victim.scale, budget, batch, found)
            assert verdict.legal.all(), (attack.name, verdict.reasons, found.texts)

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor
from toy_recommender import ToyRecommender, embedding_threat, headline_threat, history_threat, tiers

from recgauntlet.core.batch import Candidates, Users, UserState
from recgauntlet.core.card import Threat
from recgauntlet.core.journal import Journal
from recgauntlet.core.rng import Randomness
from recgauntlet.core.types import PAD
from recgauntlet.evaluation.gauntlet import check_threat
from recgauntlet.evaluation.results import AblationResult, ThreatResult
from recgauntlet.evaluation.sanity_checks import failed
from recgauntlet.evaluation.sanity_checks.threat import attackability, damage_grows, no_weaker
from recgauntlet.evaluation.setup import Trial
from recgauntlet.records.schema import Gate

Try = Callable[..., Trial]
THREATS = (embedding_threat(), headline_threat(200), history_threat(200))


def gates_of(trial: Trial, threat: Threat, seed: int = 0) -> tuple[Gate, ...]:
    result = check_threat(trial, ThreatResult(threat=threat), (), Randomness(seed, "gates"), Journal())
    assert len(result.subset) == len(result.ablation[0].broken)
    return result.gates


def flags(trial: Trial, threat: Threat) -> set[str]:
    return {gate.name for gate in failed(gates_of(trial, threat))}


@pytest.mark.parametrize("threat", THREATS, ids=lambda threat: threat.id)
@pytest.mark.parametrize("seed", range(3))
def test_an_honest_model_passes_all(try_: Try, threat: Threat, seed: int) -> None:
    gates = gates_of(try_(), threat, seed)
    assert [(gate.name, gate.explanation) for gate in failed(gates)] == []
    assert {gate.name for gate in gates} >= {
        "zero-budget-is-clean",
        "gradients-are-there",
        "damage-grows-with-budget",
        "attack-beats-random",
        "black-box-no-better",
    }
    assert all(gate.remedy for gate in gates)


class Detached(ToyRecommender):
    """No gradient reaches its inputs."""

    def score(self, user: UserState, candidates: Candidates, embeddings: Tensor | None = None) -> Tensor:
        fixed = UserState(tuple(tensor.detach() for tensor in user.tensors))
        return super().score(fixed, candidates, None if embeddings is None else embeddings.detach())


class Flipped(ToyRecommender):
    """Its input gradients point the wrong way."""

    def score(self, user: UserState, candidates: Candidates, embeddings: Tensor | None = None) -> Tensor:
        if embeddings is not None:
            embeddings = 2 * embeddings.detach() - embeddings
        return super().score(user, candidates, embeddings)


class Saturated(ToyRecommender):
    """Its logits go through a curve that is flat in single precision nearly everywhere."""

    def score(self, user: UserState, candidates: Candidates, embeddings: Tensor | None = None) -> Tensor:
        return torch.tanh(1000 * super().score(user, candidates, embeddings))


@pytest.mark.parametrize("threat", THREATS, ids=lambda threat: threat.id)
@pytest.mark.parametrize("kind", [Detached, Saturated])
def test_gradients_that_are_gone_are_flagged(try_: Try, kind: type[ToyRecommender], threat: Threat) -> None:
    assert "gradients-are-there" in flags(try_(kind), threat)


def test_gradients_that_lead_the_wrong_way_are_flagged(try_: Try) -> None:
    found = flags(try_(Flipped), embedding_threat())
    assert {"black-box-no-better", "falls-without-limits"} & found


class TellsEmbeddings(ToyRecommender):
    """Answers otherwise where embeddings are handed in."""

    def score(self, user: UserState, candidates: Candidates, embeddings: Tensor | None = None) -> Tensor:
        scores = super().score(user, candidates, embeddings)
        return scores if embeddings is None else scores + 1.0


class TellsHistories(ToyRecommender):
    """Answers otherwise where a user stands for one candidate alone."""

    def encode_user(self, users: Users, embeddings: Tensor | None = None) -> UserState:
        state = super().encode_user(users, embeddings).tensors[0]
        return UserState((state * (0.5 if len(torch.unique(users.ids)) < len(users.ids) else 1.0),))


@pytest.mark.parametrize(
    ("kind", "threat"),
    [(TellsEmbeddings, THREATS[0]), (TellsHistories, THREATS[2])],
)
def test_a_model_that_tells_attacked_inputs_from_clean_is_flagged(
    try_: Try, kind: type[ToyRecommender], threat: Threat
) -> None:
    assert "zero-budget-is-clean" in flags(try_(kind), threat)


BITS = np.arange(100)


def test_a_gap_counts_only_beyond_chance_and_slack() -> None:
    def gate(own: int, other: int) -> Gate:
        return no_weaker("g", THREATS[0], own > BITS, other > BITS, "{own} {other}", "mend it")

    assert gate(50, 50).passed
    assert gate(50, 40).value == pytest.approx(0.10)
    assert gate(53, 48).passed  # five examples of a hundred: 2.33 standard errors are 5.2
    assert not gate(60, 40).passed  # twenty: 10.4
    assert gate(40, 90).passed
    assert gate(60, 40).explanation == "60.0% 40.0%"


def lone(attack: str, tier: str, broken: int) -> AblationResult:
    return AblationResult(attack=attack, tier=tier, broken=broken > BITS, edits=())  # type: ignore[arg-type]


def test_damage_that_shrinks_with_the_budget_is_flagged() -> None:
    right = np.ones(100, dtype=np.bool_)
    growing = [lone("pgd", "low", 20), lone("pgd", "standard", 50), lone("pgd", "high", 80), lone("x", "standard", 99)]
    assert damage_grows(THREATS[0], growing, right).passed
    shrinking = [lone("pgd", "low", 20), lone("pgd", "standard", 60), lone("pgd", "high", 30)]
    gate = damage_grows(THREATS[0], shrinking, right)
    assert not gate.passed
    assert gate.value == pytest.approx(0.3)
    assert "80.0%, 40.0%, 70.0%" in gate.explanation


def test_a_threat_under_which_hardly_anything_is_legal_is_flagged(try_: Try) -> None:
    unlike = history_threat(200, operations=("replace", "insert"), min_cosine=0.9999)
    assert "attackable" in flags(try_(), unlike)
    wordless = headline_threat(200).model_copy(update={"synonym_cosine": 1.0, "words": tiers(0, 0, 0)})
    assert "attackable" not in flags(try_(), wordless), "every word may still be misspelt"
    trial = try_()
    index = torch.arange(len(trial.batch))
    bare = wordless.model_copy(update={"operations": ("replace-word",), "characters": None})
    assert attackability(trial, bare, index).value == 1.0
    one = attackability(trial, history_threat(200, operations=("delete",)), index)
    assert one.value == float(((trial.batch.histories() != PAD).sum(dim=1) < 2).float().mean())

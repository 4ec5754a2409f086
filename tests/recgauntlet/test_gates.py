from __future__ import annotations

import pytest
import torch
from small_data import small_data
from torch import Tensor
from toy_recommender import ToyRecommender, embedding_threat, headline_threat, history_threat, train

from recgauntlet.batch import Candidates, Users, UserState
from recgauntlet.card import TaskCard, Threat
from recgauntlet.data.tables import TaskData
from recgauntlet.evaluation import Trial
from recgauntlet.gates import failed, model_gates, threat_gates
from recgauntlet.record import Gate
from recgauntlet.rng import Randomness
from recgauntlet.world import World

QUERIES = 40


@pytest.fixture(scope="module")
def data() -> TaskData:
    return small_data()


@pytest.fixture(scope="module")
def world(data: TaskData) -> World:
    return World(data.catalog)


@pytest.fixture(scope="module")
def weights(data: TaskData) -> dict[str, Tensor]:
    torch.manual_seed(0)
    return train(ToyRecommender(data.catalog), steps=60).state_dict()


def card(*threats: Threat) -> TaskCard:
    return TaskCard.model_construct(threats=threats)


def trial_of(model: ToyRecommender, data: TaskData, world: World, weights: dict[str, Tensor] | None = None) -> Trial:
    if weights is not None:
        model.load_state_dict(weights)
    return Trial.of(model.eval(), data, world)


def names(gates: tuple[Gate, ...]) -> set[str]:
    return {gate.name for gate in failed(gates)}


def test_an_honest_model_passes_all(data: TaskData, world: World, weights: dict[str, Tensor]) -> None:
    trial = trial_of(ToyRecommender(data.catalog), data, world, weights)
    # with few queries the random search on characters does worse in wider tiers by chance, so the cards' 200 here
    threats = (embedding_threat(queries=QUERIES), headline_threat(200), history_threat(200))
    gates = (*model_gates(trial), *threat_gates(trial, card(*threats), Randomness(0, "gates")))
    assert [(gate.name, gate.threat, gate.value) for gate in failed(gates)] == []
    assert {gate.name for gate in gates} == {
        "finite-scores",
        "not-constant",
        "better-than-chance",
        "deterministic",
        "zero-budget-is-clean",
        "damage-grows-with-budget",
        "attack-beats-random",
        "pgd-at-least-fgsm",
    }
    assert all(gate.explanation for gate in gates)


def test_a_constant_model_is_flagged(data: TaskData, world: World, weights: dict[str, Tensor]) -> None:
    trial = trial_of(ToyRecommender(data.catalog), data, world, {**weights, "bias": torch.tensor(100.0)})
    assert "not-constant" in names(model_gates(trial))


def test_a_model_of_chance_is_flagged(data: TaskData, world: World) -> None:
    trial = trial_of(ToyRecommender(data.catalog, gain=0.0), data, world)
    assert "better-than-chance" in names(model_gates(trial))


class Noisy(ToyRecommender):
    def score(self, user: UserState, candidates: Candidates, embeddings: Tensor | None = None) -> Tensor:
        scores = super().score(user, candidates, embeddings)
        return scores + 0.1 * torch.randn_like(scores)


def test_randomness_at_inference_is_flagged(data: TaskData, world: World, weights: dict[str, Tensor]) -> None:
    trial = trial_of(Noisy(data.catalog), data, world, weights)
    assert names(model_gates(trial)) == {"deterministic"}


class Broken(ToyRecommender):
    def score(self, user: UserState, candidates: Candidates, embeddings: Tensor | None = None) -> Tensor:
        scores = super().score(user, candidates, embeddings)
        return torch.where(candidates.items % 4 == 0, torch.nan, scores)


def test_scores_that_are_no_numbers_are_flagged(data: TaskData, world: World, weights: dict[str, Tensor]) -> None:
    gates = model_gates(trial_of(Broken(data.catalog), data, world, weights))
    assert {"finite-scores", "better-than-chance", "deterministic"} <= names(gates)


class TellsEmbeddings(ToyRecommender):
    """Answers otherwise where embeddings are handed in."""

    def score(self, user: UserState, candidates: Candidates, embeddings: Tensor | None = None) -> Tensor:
        scores = super().score(user, candidates, embeddings)
        return scores if embeddings is None else scores + 1.0


class TellsTexts(ToyRecommender):
    """Answers otherwise where texts are handed in instead of the catalog's."""

    def candidates(self, items: Tensor, texts: object = None) -> Candidates:  # type: ignore[override]
        made = super().candidates(items, texts)  # type: ignore[arg-type]
        return made if texts is None else Candidates((made.items + 1) % 40, made.tokens)

    def score(self, user: UserState, candidates: Candidates, embeddings: Tensor | None = None) -> Tensor:
        shown = self.catalog_tokens().select(candidates.items)
        wide = min(shown.ids.shape[1], candidates.tokens.ids.shape[1])
        same = (shown.ids[:, :wide] == candidates.tokens.ids[:, :wide]).all(dim=1)
        return super().score(user, candidates, embeddings) + (~same).float()


class TellsHistories(ToyRecommender):
    """Answers otherwise where a user stands for one candidate alone."""

    def encode_user(self, users: Users, embeddings: Tensor | None = None) -> UserState:
        state = super().encode_user(users, embeddings).tensors[0]
        return UserState((state * (0.5 if len(torch.unique(users.ids)) < len(users.ids) else 1.0),))


@pytest.mark.parametrize(
    ("kind", "threat"),
    [
        (TellsEmbeddings, embedding_threat(queries=QUERIES)),
        (TellsTexts, headline_threat(QUERIES)),
        (TellsHistories, history_threat(QUERIES)),
    ],
)
def test_a_model_that_tells_attacked_inputs_from_clean_is_flagged(
    data: TaskData, world: World, weights: dict[str, Tensor], kind: type[ToyRecommender], threat: Threat
) -> None:
    trial = trial_of(kind(data.catalog), data, world, weights)
    assert "zero-budget-is-clean" in names(threat_gates(trial, card(threat), Randomness(0, "gates")))
    honest = trial_of(ToyRecommender(data.catalog), data, world, weights)
    assert "zero-budget-is-clean" not in names(threat_gates(honest, card(threat), Randomness(0, "gates")))


def test_a_surface_that_is_not_read_has_no_gates(data: TaskData, world: World) -> None:
    class Blind(ToyRecommender):
        surfaces = frozenset({"candidate-text"})

    trial = trial_of(Blind(data.catalog), data, world)
    assert threat_gates(trial, card(history_threat(QUERIES)), Randomness(0, "gates")) == ()

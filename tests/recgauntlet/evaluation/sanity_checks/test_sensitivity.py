"""Which checks of sensitivity a model fails that knows the clean inputs, and that an honest one passes all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from difflib import get_close_matches

import numpy as np
import pytest
import torch
from torch import Tensor
from toy_recommender import embedding_threat, headline_threat, history_threat, stuffing_threat

from recgauntlet.attacks.suite import attacks_for
from recgauntlet.core.batch import Candidates
from recgauntlet.core.card import Threat
from recgauntlet.core.dataset import TaskData
from recgauntlet.core.recommender import Recommender
from recgauntlet.core.rng import Randomness
from recgauntlet.core.types import PAD, Edit
from recgauntlet.evaluation.ablation import subset_of
from recgauntlet.evaluation.results import AttackResult, TierResult
from recgauntlet.evaluation.sanity_checks import failed
from recgauntlet.evaluation.sanity_checks.sensitivity import sensitivity_checks, unmoved_by_attacks
from recgauntlet.evaluation.setup import Trial
from recgauntlet.records.parts import AttackEffort
from recgauntlet.records.schema import Gate
from recgauntlet.testing.audit import Fake, zoo
from recgauntlet.testing.audit.originals import NearestTexts
from recgauntlet.threats.embedding_scale import embedding_scale
from recgauntlet.threats.knowledge import AttackerKnowledge
from recgauntlet.threats.registry import THREAT_MODELS
from recgauntlet.threats.victim import Victim

Try = Callable[..., Trial]
GatesOf = Callable[[str | type[Fake], Threat], tuple[Gate, ...]]
RNG = Randomness(0, "test")


@pytest.fixture
def gates_of(try_: Try, data: TaskData, toy_world: AttackerKnowledge) -> GatesOf:
    """The checks of a fake (empty: of the model inside), whose twin is the model inside."""

    def gates(fake: str | type[Fake], threat: Threat) -> tuple[Gate, ...]:
        twin = try_().model
        model: Recommender = twin
        if fake:
            kind = zoo([fake])[0] if isinstance(fake, str) else fake
            model = kind(twin, data)
        trial = Trial.of(model, data, toy_world).under(threat)
        (random,) = (attack for attack in attacks_for(threat) if attack.is_random)
        beside = Victim(twin, toy_world, embedding_scale(twin, data.catalog), trial.batch)
        return sensitivity_checks(trial, threat, random, subset_of(trial, threat), RNG, beside)

    return gates


@pytest.mark.parametrize(
    ("threat", "count"),
    [(headline_threat(), 4), (stuffing_threat(), 4), (history_threat(), 3), (embedding_threat(), 3)],
    ids=["headlines", "stuffing", "history", "embedding"],
)
def test_an_honest_model_passes_all(threat: Threat, count: int, gates_of: GatesOf) -> None:
    gates = gates_of("", threat)
    assert len(gates) == count
    assert failed(gates) == ()


@pytest.mark.parametrize(
    ("fake", "threat", "check"),
    [
        ("nearest-texts", headline_threat(), "changes-count-as-elsewhere"),
        ("nearest-texts", headline_threat(), "moves-beside-its-twin"),
        ("refused-edits", headline_threat(), "changes-count-as-elsewhere"),
        ("refused-edits", stuffing_threat(), "edits-are-not-refused"),
        ("trusted-histories", history_threat(), "moves-beside-its-twin"),
        ("shared-memory", history_threat(), "moves-beside-its-twin"),
        ("shared-memory", headline_threat(), "moves-beside-its-twin"),
        ("shrunken-changes", embedding_threat(), "embeddings-count-in-full"),
        ("deaf-embeddings", embedding_threat(), "embeddings-count-in-full"),
        ("original-histories", history_threat(), "changes-are-felt"),
        ("shared-memory-of-some", headline_threat(), "changes-are-felt"),
    ],
)
def test_a_model_that_knows_the_clean_inputs_fails(fake: str, threat: Threat, check: str, gates_of: GatesOf) -> None:
    assert check in {gate.name for gate in failed(gates_of(fake, threat))}


class NearestOfSome(NearestTexts):
    """Goes back to the catalog's text for a quarter of the catalog, so that no median shows it."""

    name = "nearest-of-some"

    def originals(self, candidates: Candidates) -> Tensor:
        originals = super().originals(candidates)
        return torch.where(originals % 4 == 0, originals, PAD)


class Mends(Fake):
    """An honest repair: in a third of the vocabulary, a word that is written wrong is read as the one that it is
    nearest to, wherever it stands."""

    name = "mends"

    def candidates(self, items: Tensor, texts: Sequence[str] | None = None) -> Candidates:
        words = sorted({word for text in self.inner.catalog.texts for word in text.split()})
        mended = words[::3]

        def mend(word: str) -> str:
            near = get_close_matches(word, mended, n=1, cutoff=0.7)
            return near[0] if near and word not in words else word

        read = None if texts is None else [" ".join(map(mend, text.split())) for text in texts]
        return self.inner.candidates(items, read)


def test_a_model_that_goes_back_to_some_originals_fails_beside_its_twin(gates_of: GatesOf) -> None:
    (felt,) = (gate for gate in gates_of(NearestOfSome, headline_threat()) if gate.name == "changes-are-felt")
    assert not felt.passed
    assert felt.value > felt.limit, "most changes are felt: no share shows it"


def test_a_repair_that_works_wherever_the_word_stands_is_no_memory(gates_of: GatesOf) -> None:
    (moved,) = (gate for gate in gates_of(Mends, headline_threat()) if gate.name == "changes-are-felt")
    assert moved.value < 1.0, "some edits are undone, or this test means nothing"
    assert moved.passed


def test_listed_are_examples_that_were_attacked_and_did_not_move(try_: Try) -> None:
    trial = try_().under(embedding_threat())
    attacked = np.zeros(len(trial.batch), dtype=np.bool_)
    attacked[:3] = True
    scores = trial.scores[:3].numpy().copy()
    scores[1] += 1.0
    attack = AttackResult(
        name="probe",
        hyperparameters={},
        attacked=attacked,
        broken=np.zeros_like(attacked),
        scores=scores,
        violations=0,
        effort=AttackEffort(forwards=0, backwards=0, user_encodings=0, cache_hits=0, seconds=0.0),
        edits=(),
    )
    tier = TierResult(tier="low", amount=1.0, characters=0, queries=1, robust=trial.right.numpy(), attacks=(attack,))
    assert unmoved_by_attacks(trial, [tier]).nonzero().flatten().tolist() == [0, 2]


def test_unseen_inputs_keep_what_is_edited_alone(try_: Try, data: TaskData) -> None:
    batch = try_().batch.select(torch.arange(6))
    edits = [(Edit(op="replace", at=1, new="x"),)] * len(batch)
    text = THREAT_MODELS["candidate-text"]
    listings = text.clean_input(data.catalog, batch)
    before, after = listings.texts, text.unseen(data.catalog, listings, edits, RNG).texts
    assert before is not None
    assert after is not None
    pairs = [(a.split(), b.split()) for a, b in zip(before, after, strict=True)]
    assert all(len(a) == len(b) and a[1] == b[1] for a, b in pairs)
    assert sum(x == y for a, b in pairs for n, (x, y) in enumerate(zip(a, b, strict=True)) if n != 1) < 10

    history = THREAT_MODELS["history"].unseen(data.catalog, batch, edits, RNG)
    for old, new in zip(batch.histories().tolist(), history.histories().tolist(), strict=True):
        place = old.count(-1) + 1
        assert new[place : place + 1] == old[place : place + 1]
    assert torch.equal(history.histories() < 0, batch.histories() < 0)
    assert not torch.equal(history.histories(), batch.histories())

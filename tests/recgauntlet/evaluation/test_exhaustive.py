"""The exhaustive search: it finds all that is legal, and the suite misses next to nothing of it."""

from __future__ import annotations

import itertools
import string

import pytest
import torch
from small_data import small_data
from toy_recommender import (
    LinearRecommender,
    ToyRecommender,
    headline_threat,
    history_threat,
    near_stuffing_threat,
    stuffing_threat,
    train,
)

from recgauntlet.attacks.base import Attack
from recgauntlet.attacks.exhaustive import ExhaustiveCharacters, ExhaustiveHistory, ExhaustiveWords
from recgauntlet.core.batch import Batch
from recgauntlet.core.card import Threat
from recgauntlet.core.errors import RecGauntletError
from recgauntlet.core.rng import Randomness
from recgauntlet.core.scoring import score_batch
from recgauntlet.core.types import PAD
from recgauntlet.evaluation.exhaustive import Gap, exhaustive_gaps
from recgauntlet.evaluation.setup import Trial
from recgauntlet.threats.budget import Budget
from recgauntlet.threats.history import history_fault
from recgauntlet.threats.knowledge import AttackerKnowledge
from recgauntlet.threats.text import text_fault

RNG = Randomness(0, "test")
THREATS = (headline_threat(), stuffing_threat(), near_stuffing_threat(), history_threat())


@pytest.fixture(scope="module", params=[ToyRecommender, LinearRecommender])
def trial(request: pytest.FixtureRequest) -> Trial:
    data = small_data()
    torch.manual_seed(0)
    return Trial.of(train(request.param(data.catalog), steps=60), data, AttackerKnowledge(data.catalog))


@pytest.mark.parametrize("threat", THREATS, ids=lambda threat: threat.id)
def test_the_suite_misses_next_to_nothing_of_what_is_legal(trial: Trial, threat: Threat) -> None:
    for gap in exhaustive_gaps(trial, threat, RNG, sample=30):
        assert gap.passed, gap
        assert gap.suite < gap.clean, "the threat must be able to do something"
        assert gap.together <= min(gap.suite, gap.exhaustive)


def test_a_suite_that_misses_two_examples_in_a_hundred_does_not_pass() -> None:
    assert Gap("t", 1, 100, 0.9, suite=0.5, exhaustive=0.49, together=0.49).passed
    assert not Gap("t", 1, 100, 0.9, suite=0.5, exhaustive=0.48, together=0.48).passed
    assert Gap("t", 1, 20, 0.9, suite=0.5, exhaustive=0.45, together=0.45).passed


def asked_about(trial: Trial, attack: Attack, threat: Threat, row: int) -> list[Batch]:
    """What the search asks about one example at one edit."""
    budget, asked, real = Budget.of(threat, "low"), list[Batch](), trial.victim.scores

    def listening(batch: Batch) -> torch.Tensor:
        asked.append(batch)
        return real(batch)

    trial.victim.reset(None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trial.victim, "scores", listening)
        one = trial.batch.select(torch.tensor([row]))
        attack.perturb(trial.victim, one, Budget(threat, "low", 1, min(1, budget.characters), 10**9), RNG)
    return asked


def forms(words: list[str], texts: tuple[str, ...]) -> set[str]:
    """The words of the catalog in three cases."""
    every = {word for text in texts for word in text.split()} | set(words)
    return {form for word in every for form in (word, word.lower(), word.upper())}


def near(word: str) -> set[str]:
    """Every string one character away, and two letters swapped."""
    letters = ["", *string.ascii_letters, "\u0430", "\u0435", "\u043e", "\u200b", "-", ".", "7"]
    found = {word[:at] + word[at : at + 2][::-1] + word[at + 2 :] for at in range(len(word))}
    for at, letter in itertools.product(range(len(word) + 1), letters):
        found |= {word[:at] + letter + word[at:], word[:at] + letter + word[at + 1 :]}
    return found - {""}


@pytest.mark.parametrize("threat", THREATS[:2], ids=lambda threat: threat.id)
@pytest.mark.parametrize("row", [1, 3])
def test_one_edit_of_a_text_is_everything_that_the_verifier_accepts(trial: Trial, threat: Threat, row: int) -> None:
    lexicon, texts = trial.world.lexicon, trial.world.catalog.texts
    clean, budget = texts[int(trial.batch.items[row])], Budget.of(threat, "low")
    words = clean.split()
    tried = {(place, word) for place in range(len(words) + 1) for word in forms(words, texts)}
    for place, word in enumerate(words):
        tried |= {(place, other) for other in near(word) | set(lexicon.neighbours(word, 0.0))}
    changed = {" ".join([*words[:place], word, *words[place + 1 :]]) for place, word in tried}
    legal = {text for text in changed if text != clean and not text_fault(lexicon, threat, budget, clean, text)}  # type: ignore[arg-type]
    searches = [ExhaustiveWords(stop_when_fallen=False)]
    searches += [ExhaustiveCharacters(stop_when_fallen=False)] if budget.characters else []
    asked = {
        text for search in searches for batch in asked_about(trial, search, threat, row) for text in batch.texts or ()
    }
    assert legal
    assert legal <= asked
    assert not any(text_fault(lexicon, threat, budget, clean, text) for text in asked)  # type: ignore[arg-type]


def test_one_edit_of_a_history_is_everything_that_the_verifier_accepts(trial: Trial) -> None:
    threat = history_threat()
    (row,) = trial.batch.select(torch.tensor([4])).histories().tolist()
    search = ExhaustiveHistory(stop_when_fallen=False)
    asked = {tuple(h) for b in asked_about(trial, search, threat, 4) for h in b.histories().tolist()}
    items = [item for item in row if item != PAD]
    catalog = range(len(trial.world.catalog.texts))
    changed = [[*items[:p], new, *items[p + 1 :]] for p in range(len(items)) for new in catalog]
    changed += [[*items[:p], new, *items[p:]] for p in range(len(items) + 1) for new in catalog]
    changed += [[*items[:p], *items[p + 1 :]] for p in range(len(items))]
    shown = {tuple([PAD] * (len(row) - len(new)) + new[-len(row) :]) for new in changed}
    vectors = trial.world.item_vectors
    legal = {new for new in shown if list(new) != row and not history_fault(vectors, threat, 1, row, new)}
    assert legal
    assert legal == asked - {tuple(row)}


def test_two_misspellings_of_a_linear_model_do_what_the_best_two_do_together(trial: Trial) -> None:
    if not isinstance(trial.model, LinearRecommender):
        pytest.skip("only a linear model has a closed form")
    threat, texts = headline_threat(), trial.world.catalog.texts
    long = [row for row in range(len(trial.batch)) if len(texts[int(trial.batch.items[row])].split()) >= 7]
    for row in long[:3]:
        one = trial.batch.select(torch.tensor([row]))
        words, sign = texts[int(one.items[0])].split(), 1 - 2 * float(one.labels[0])

        def damage(text: str, one: Batch = one, sign: float = sign) -> float:
            return sign * float(score_batch(trial.model, one.with_texts([text]))[0])

        slips = [trial.world.lexicon.misspellings(word) for word in words]
        changed = [[" ".join([*words[:p], slip, *words[p + 1 :]]) for slip in slips[p]] for p in range(len(words))]
        clean = damage(" ".join(words))
        gains = sorted((max(map(damage, several)) - clean for several in changed if several), reverse=True)
        trial.victim.reset(None)
        search = ExhaustiveCharacters(stop_when_fallen=False)
        found = search.perturb(trial.victim, one, Budget(threat, "low", 1, 2, 10**9), RNG)
        assert found.texts is not None
        assert damage(found.texts[0]) == pytest.approx(clean + gains[0] + gains[1], abs=1e-5)


def test_a_search_that_fails_or_breaks_the_rules_is_an_error_and_no_empty_result(
    trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ExhaustiveHistory, "_search", lambda self, victim, batch, *_: batch.histories() * 0)
    with pytest.raises(RecGauntletError, match=r"exhaustive-history: \d+ inputs that the verifier refuses"):
        exhaustive_gaps(trial, history_threat(), RNG, sample=10)
    monkeypatch.setattr(ExhaustiveHistory, "_search", lambda *_: 1 / 0)
    with pytest.raises(RecGauntletError, match="exhaustive-history: ZeroDivisionError"):
        exhaustive_gaps(trial, history_threat(), RNG, sample=10)


def test_progress_names_the_threat_the_edits_and_the_example(trial: Trial) -> None:
    heard: list[tuple[str, float]] = []
    exhaustive_gaps(trial, history_threat(), RNG, sample=20, progress=lambda what, share: heard.append((what, share)))
    assert "history-perturbation, 2 edits: search, example 11 of 20" in dict(heard)
    assert [share for _, share in heard] == sorted(share for _, share in heard)

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from small_data import small_data
from toy_recommender import ToyRecommender, history_threat, stuffing_threat, train

from recgauntlet.attacks.text.greedy import WordGradient
from recgauntlet.attacks.text.random import RandomText
from recgauntlet.core.journal import Journal
from recgauntlet.core.rng import Randomness
from recgauntlet.core.types import Edit, FloatArray
from recgauntlet.data.text_measures import TextMeasures
from recgauntlet.evaluation import robustness
from recgauntlet.evaluation.ablation import run_alone, subset_of
from recgauntlet.evaluation.judge import score_in_chunks
from recgauntlet.evaluation.naturalness import (
    NOT_ASKED,
    changed_characters,
    distance,
    models_of,
    naturalness_of,
    with_naturalness,
)
from recgauntlet.evaluation.results import ThreatResult
from recgauntlet.evaluation.robustness import run_threat
from recgauntlet.evaluation.setup import Trial
from recgauntlet.records.naturalness import LARGEST_RATIO, LEAST_COSINE
from recgauntlet.threats.edits import apply_text_edits
from recgauntlet.threats.knowledge import AttackerKnowledge

RNG = Randomness(0, "test")


class Lengths(TextMeasures):
    """Measures that need no model: ratios and cosines by the lengths of texts."""

    def __init__(self) -> None:
        super().__init__(Path("lengths"))
        self.asked: list[tuple[str, str]] = []

    def perplexity_ratios(self, clean: Sequence[str], edited: Sequence[str]) -> FloatArray:
        self.asked += zip(clean, edited, strict=True)
        return np.array([len(b) / len(a) for a, b in zip(clean, edited, strict=True)], dtype=np.float32)

    def cosines(self, clean: Sequence[str], edited: Sequence[str]) -> FloatArray:
        return np.array([len(a) / len(b) for a, b in zip(clean, edited, strict=True)], dtype=np.float32)


@pytest.fixture(scope="module")
def trial() -> Trial:
    torch.manual_seed(0)
    data = small_data()
    return Trial.of(train(ToyRecommender(data.catalog), steps=60), data, AttackerKnowledge(data.catalog))


@pytest.fixture(scope="module")
def attacked(trial: Trial) -> ThreatResult:
    threat, suite = stuffing_threat(100), [WordGradient(), RandomText()]
    monkeypatch = pytest.MonkeyPatch()
    monkeypatch.setattr(robustness, "attacks_for", lambda _: suite)
    result = run_threat(trial, threat, RNG, tiers=("low", "standard"))
    monkeypatch.undo()
    alone = run_alone(trial.under(threat), result, "standard", suite, RNG, Journal())
    subset = tuple(subset_of(trial.under(threat), threat).tolist())
    return result.model_copy(update={"subset": subset, "ablation": alone})


def test_each_broken_example_of_each_attack_has_its_values(trial: Trial, attacked: ThreatResult) -> None:
    measures = Lengths()
    found = with_naturalness(trial, attacked, measures, Journal())
    runs = [attack for tier in found.tiers for attack in tier.attacks]
    assert sum(int(run.broken.sum()) for run in runs) > 10
    for run in (*runs, *found.ablation):
        own = run.naturalness
        assert own is not None
        assert own.perplexity_ratio is not None
        assert own.cosine is not None
        count = int(run.broken.sum())
        assert (own.words.n, own.characters.n, own.perplexity_ratio.n, own.cosine.n) == (count,) * 4
    texts = trial.world.catalog.texts
    items = trial.batch.items.tolist()
    strongest = max(found.ablation, key=lambda one: int(one.broken.sum()))
    rows = np.array(found.subset)[strongest.broken]
    pairs = [(texts[items[row]], edits) for row, edits in zip(rows, strongest.edits, strict=True)]
    expected = [len(apply_text_edits(text, edits)) / len(text) for text, edits in pairs]
    assert strongest.naturalness is not None
    assert strongest.naturalness.perplexity_ratio is not None
    assert strongest.naturalness.perplexity_ratio.to_float() == pytest.approx(expected, rel=1e-3)
    assert min(expected) < max(expected)


def test_the_edits_of_the_ablation_fool_the_model(trial: Trial, attacked: ThreatResult) -> None:
    """Those that were found with the tiers and those that were found alone alike."""
    listings = trial.under(attacked.threat)
    for one in attacked.ablation:
        rows = torch.tensor(np.array(attacked.subset)[one.broken])
        if not len(rows):
            continue
        clean = listings.batch.select(rows)
        assert clean.texts is not None
        edited = [apply_text_edits(text, edits) for text, edits in zip(clean.texts, one.edits, strict=True)]
        scores = score_in_chunks(listings.model, clean.with_texts(edited))
        assert ((scores > 0) != (clean.labels > 0.5)).all()


def test_words_and_characters_are_there_without_a_language_model(trial: Trial, attacked: ThreatResult) -> None:
    found = with_naturalness(trial, attacked, None, Journal())
    for attack in found.tiers[0].attacks:
        assert attack.naturalness is not None
        assert attack.naturalness.words.to_int().tolist() == [len(edits) for edits in attack.edits]
        assert attack.naturalness.natural() is None
    models = models_of([found], None)
    assert models is not None
    assert models.reason == NOT_ASKED
    measured = models_of([found], Lengths())
    assert measured is not None
    assert (measured.language_model, measured.reason) == ("lengths", "")


def test_threats_to_histories_have_no_naturalness(trial: Trial) -> None:
    result = run_threat(trial, history_threat(5), RNG, tiers=("low",))
    found = with_naturalness(trial, result, Lengths(), Journal())
    assert all(attack.naturalness is None and attack.edits == () for tier in found.tiers for attack in tier.attacks)
    assert models_of([found], None) is None


def test_a_run_that_goes_on_measures_nothing_twice(trial: Trial, attacked: ThreatResult, tmp_path: Path) -> None:
    first, again = Lengths(), Lengths()
    found = with_naturalness(trial, attacked, first, Journal(tmp_path / "journal"))
    assert with_naturalness(trial, attacked, again, Journal(tmp_path / "journal")) == found
    assert first.asked
    assert not again.asked


def test_characters_are_counted_in_changed_words_alone() -> None:
    clean = "White hanging heart holder"
    edits = (Edit(op="replace", at=2, new="haert"), Edit(op="insert", at=4, new="set"))
    assert changed_characters(clean, edits) == 2 + 4  # a transposition is two substitutions; an added word has a blank
    assert changed_characters(clean, ()) == 0
    assert (distance("", "abc"), distance("kitten", "sitting"), distance("same", "same")) == (3, 3, 0)


def test_both_limits_refuse() -> None:
    class Given(Lengths):
        def perplexity_ratios(self, clean: Sequence[str], edited: Sequence[str]) -> FloatArray:
            return np.array([LARGEST_RATIO, LARGEST_RATIO + 0.1, 1.0], dtype=np.float32)

        def cosines(self, clean: Sequence[str], edited: Sequence[str]) -> FloatArray:
            return np.array([LEAST_COSINE + 0.01, 1.0, LEAST_COSINE - 0.01], dtype=np.float32)

    natural = naturalness_of(["a"] * 3, [()] * 3, Given()).natural()
    assert natural is not None
    assert natural.tolist() == [True, False, False]

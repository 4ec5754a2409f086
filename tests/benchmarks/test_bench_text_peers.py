"""Text searches beside textattack's: the same transformations, rules, query limit, model, examples and evaluator.

textattack reads NLTK's stop words when it is imported and tries to download them. The searches below do not use them,
so an empty list in a folder of ours stands in, and nothing is downloaded.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

import pytest
import torch
from bench_figures import Book
from bench_subject import WORKPLACE, Subject
from bench_timing import side_by_side
from torch import Tensor

from recgauntlet.attacks.suite import attacks_for
from recgauntlet.core.batch import Batch, UserState
from recgauntlet.core.card import TextThreat
from recgauntlet.core.recommender import Recommender
from recgauntlet.core.rng import Randomness
from recgauntlet.evaluation.judge import score_in_chunks
from recgauntlet.evaluation.robustness import run_attack
from recgauntlet.evaluation.setup import Trial, is_right
from recgauntlet.threats.budget import Budget
from recgauntlet.threats.text import text_fault
from recgauntlet.threats.verifier import verify

PAIRS, RACED = 150, 120
"""Pairs that strength is measured on, and examples of them that are raced: textattack takes its time."""


@pytest.mark.skipif(find_spec("textattack") is None, reason="textattack is not installed")
@pytest.mark.parametrize(("name", "likeness"), [("word-query", "TextFooler"), ("character-beam", "DeepWordBug")])
def test_a_text_search_is_as_strong_as_textattack_and_faster(
    name: str, likeness: str, subject: Subject, book: Book
) -> None:
    threat = next((threat for threat in subject.cell.task.card.threats if isinstance(threat, TextThreat)), None)
    if threat is None:
        pytest.skip(f"{subject.name} has no threat on texts")
    trial = subject.trial(PAIRS)
    budget = Budget.of(threat, "standard")
    if name == "word-query":
        budget = replace(budget, characters=0)
    attack = next(attack for attack in attacks_for(threat) if attack.name == name)
    search = textattack_search(trial, threat, budget, character_tricks=name == "character-beam")
    index = torch.nonzero(trial.right).squeeze(1)

    def ours(examples: Tensor) -> Tensor:
        found = run_attack(trial, attack, budget, examples, Randomness(0, "benchmark"))
        assert not found.error
        return found.broken

    def theirs(examples: Tensor) -> Tensor:
        batch = trial.batch.select(examples)
        perturbed = search(batch)
        legal = verify(trial.world, trial.scale, budget, batch, perturbed).legal
        return legal & ~is_right(score_in_chunks(trial.model, perturbed), batch)

    total = len(trial.batch)
    robust, peer_robust = ((len(index) - int(side(index).sum())) / total for side in (ours, theirs))
    book_attack = partial(book, "attacks", subject=subject.name)
    book_attack(
        f"robust accuracy, {name} minus textattack's {likeness}-like search",
        robust - peer_robust,
        f"{name} {robust:.1%}, textattack {version('textattack')} {peer_robust:.1%}, clean {len(index) / total:.1%} of "
        f"{total}; {budget.amount:g} words, {budget.characters} characters, {budget.queries} queries",
        at_most=0.0,
    )
    raced = index[:RACED]
    sides = side_by_side(lambda: theirs(raced), lambda: ours(raced), rounds=3)
    book_attack(
        f"examples per second, {name} ÷ textattack's {likeness}-like search",
        sides.ratio,
        f"{len(raced) / sides.second:.1f} a second against {len(raced) / sides.first:.1f}",
        at_least=10.0,
    )
    assert robust <= peer_robust, f"{name} leaves {robust:.4f} where textattack leaves {peer_robust:.4f}"


class Reader:
    """The model as textattack asks it: texts in, two logits out. Everything but the text is that of `example`, whose
    user was encoded before."""

    def __init__(self, model: Recommender, batch: Batch) -> None:
        self.model = model
        self.batch = batch
        self.example = 0
        with torch.no_grad():
            self.state = model.encode_user(batch.users).select(batch.rows)

    @torch.no_grad()
    def __call__(self, texts: list[str]) -> Tensor:
        rows = torch.full((len(texts),), self.example)
        shown = self.model.candidates(self.batch.items[rows], texts)
        half = self.model.score(UserState(tuple(t[rows] for t in self.state.tensors)), shown) / 2
        return torch.stack([-half, half], dim=1).double().softmax(dim=1)


def textattack_search(
    trial: Trial, threat: TextThreat, budget: Budget, *, character_tricks: bool
) -> Callable[[Batch], Batch]:
    """textattack's greedy search with our transformations and our rules: words ranked by what deleting them does, each
    replaced by its worst neighbour (TextFooler) or spelled with its worst character trick (DeepWordBug)."""
    with _offline():
        import textattack
        from textattack.constraints import Constraint
        from textattack.constraints.pre_transformation import RepeatModification
        from textattack.goal_functions import UntargetedClassification
        from textattack.models.wrappers import ModelWrapper
        from textattack.search_methods import GreedyWordSwapWIR
        from textattack.shared import AttackedText
        from textattack.transformations import WordSwap

    class Wrapper(ModelWrapper):  # type: ignore[misc]  # textattack has no types
        def __init__(self, reader: Reader) -> None:
            self.model = reader.model
            self.reader = reader

        def __call__(self, text_input_list: list[str], batch_size: int | None = None) -> Tensor:
            return self.reader(list(text_input_list))

    class Swap(WordSwap):  # type: ignore[misc]
        def _get_replacement_words(self, word: str) -> list[str]:
            if character_tricks:
                return list(trial.world.lexicon.misspellings(word))
            return list(trial.world.lexicon.neighbours(word, threat.synonym_cosine))

    class Legal(Constraint):  # type: ignore[misc]
        """What the verifier lets pass."""

        def _check_constraint(self, transformed_text: Any, reference_text: Any) -> bool:
            return not text_fault(trial.world.lexicon, threat, budget, reference_text.text, transformed_text.text)

    def attack(batch: Batch) -> Batch:
        reader = Reader(trial.model, batch)
        goal = UntargetedClassification(
            Wrapper(reader), query_budget=budget.queries, model_batch_size=1024, allow_skip=False
        )
        constraints = [RepeatModification(), Legal(compare_against_original=True)]
        search = textattack.Attack(goal, constraints, Swap(), GreedyWordSwapWIR(wir_method="delete"))
        texts = []
        for example, (item, label) in enumerate(zip(batch.items.tolist(), batch.labels.tolist(), strict=True)):
            reader.example = example
            goal.clear_cache()  # it is keyed by the text alone, and another reader sees another score
            found = search.attack(AttackedText(trial.world.catalog.texts[item]), int(label > 0.5))
            texts.append(found.perturbed_text())
        return batch.with_texts(texts)

    return attack


@contextmanager
def _offline() -> Iterator[None]:
    """Import without a connection and without a word on the screen."""
    import nltk

    words = WORKPLACE / "nltk_data" / "corpora" / "stopwords" / "english"
    words.parent.mkdir(parents=True, exist_ok=True)
    words.write_text("\n", encoding="utf-8")
    nltk.data.path.insert(0, str(WORKPLACE / "nltk_data"))
    os.environ["TA_CACHE_DIR"] = str(WORKPLACE / "textattack")
    logging.getLogger("textattack").setLevel(logging.ERROR)
    download, nltk.download = nltk.download, lambda *args, **options: True
    try:
        yield
    finally:
        nltk.download = download
        nltk.data.path.pop(0)

"""textattack's greedy word search on a recommender, made of our transformations and our rules: only the search is its.

textattack reads NLTK's stop words when it is imported and tries to download them. The searches below do not use them,
so an empty list in a folder of ours stands in, and nothing is downloaded.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from recgauntlet.core.batch import Batch, UserState
from recgauntlet.core.card import TextThreat
from recgauntlet.core.recommender import Recommender
from recgauntlet.evaluation.setup import Trial
from recgauntlet.threats.budget import Budget
from recgauntlet.threats.lexicon import Lexicon, character_variants
from recgauntlet.threats.text import text_fault

INSTALLED = find_spec("textattack") is not None
Attacker = Callable[[Batch], Batch]


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


def words_search(trial: Trial, budget: Budget, workplace: Path) -> Attacker:
    """TextFooler's search: words ranked by what deleting them does, each replaced by its worst neighbour."""
    threat = _text(budget)
    lexicon = trial.world.lexicon
    return _search(trial, budget, workplace, lambda word: list(lexicon.neighbours(word, threat.synonym_cosine)))


def characters_search(trial: Trial, budget: Budget, workplace: Path) -> Attacker:
    """DeepWordBug's search: words ranked by what deleting them does, each given its worst character trick."""
    return _search(trial, budget, workplace, lambda word: [variant for variant, _ in character_variants(word)])


def _text(budget: Budget) -> TextThreat:
    if not isinstance(budget.threat, TextThreat):
        raise TypeError(f"{budget.threat.id} touches no text")
    return budget.threat


def _search(trial: Trial, budget: Budget, workplace: Path, replacements: Callable[[str], list[str]]) -> Attacker:
    with _offline(workplace):
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
            return replacements(word)

    class Legal(Constraint):  # type: ignore[misc]
        """What the verifier lets pass."""

        def __init__(self, lexicon: Lexicon, threat: TextThreat) -> None:
            super().__init__(compare_against_original=True)
            self.lexicon, self.threat = lexicon, threat

        def _check_constraint(self, transformed_text: Any, reference_text: Any) -> bool:
            return not text_fault(self.lexicon, self.threat, budget, reference_text.text, transformed_text.text)

    def attack(batch: Batch) -> Batch:
        reader = Reader(trial.model, batch)
        goal = UntargetedClassification(
            Wrapper(reader), query_budget=budget.queries, model_batch_size=1024, allow_skip=False
        )
        constraints = [RepeatModification(), Legal(trial.world.lexicon, _text(budget))]
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
def _offline(workplace: Path) -> Iterator[None]:
    """Import without a connection and without a word on the screen."""
    import nltk

    words = workplace / "nltk_data" / "corpora" / "stopwords" / "english"
    words.parent.mkdir(parents=True, exist_ok=True)
    words.write_text("\n", encoding="utf-8")
    nltk.data.path.insert(0, str(workplace / "nltk_data"))
    os.environ["TA_CACHE_DIR"] = str(workplace / "textattack")
    logging.getLogger("textattack").setLevel(logging.ERROR)
    download, nltk.download = nltk.download, lambda *args, **options: True
    try:
        yield
    finally:
        nltk.download = download
        nltk.data.path.pop(0)

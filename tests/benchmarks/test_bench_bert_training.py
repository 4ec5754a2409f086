"""Training the cross-encoder beside transformers' Trainer: the same encoder, pairs and epochs; seconds and AUC."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bench_figures import Book
from bench_subject import WORKPLACE, rows_of, untrained_subject
from bench_timing import side_by_side

from recgauntlet.core.dataset import Pairs, TaskData
from recgauntlet.core.recommender import Recommender
from recgauntlet.core.rng import Randomness
from recgauntlet.data.encoder import model_path
from recgauntlet.metrics.ranking import auc
from recgauntlet.training.defense import Defense
from recgauntlet.training.trainer import train, validate

PAIRS, EPOCHS, ROUNDS = 6000, 2, 1
"""On fewer pairs both stay near chance, and then equal accuracy says nothing."""
SIZE = {"layers": 1, "max_length": 128, "history_items": 5}
JOINT = {**SIZE, "one_way": False, "tuned_layers": 0}
"""Word by word in one sequence, as Trainer's model reads it."""


def test_bert_trains_faster_than_by_trainer_and_no_worse(book: Book) -> None:
    pytest.importorskip("accelerate", reason="transformers' Trainer needs accelerate")
    subject = untrained_subject("bert", JOINT, task="video-watch", track="standard")
    data = replace(subject.data, train=rows_of(subject.data.train, np.arange(PAIRS)))
    models: list[Recommender] = []
    peers: list[TrainerBert] = []

    def ours() -> None:
        model = untrained_subject("bert", JOINT, task="video-watch", track="standard").model.requires_grad_(True)
        model.recipe = replace(model.recipe, epochs=EPOCHS)
        models.append(model)
        train(model, Defense(), data, Randomness(0, "benchmark"))

    def theirs() -> None:
        peer = TrainerBert(data, **SIZE)
        peers.append(peer)
        peer.train(peer.examples(data.train), EPOCHS, WORKPLACE / "trainer")

    sides = side_by_side(theirs, ours, rounds=ROUNDS, warm=False)
    mine, others = validate(models[-1], data.valid), peers[-1].auc(data.valid, WORKPLACE / "trainer")
    name = f"bert (joint) of {SIZE['layers']} layer on video-watch (standard), {PAIRS:,} pairs, {EPOCHS} epochs"
    detail = f"{sides.first:.0f} s against {sides.second:.0f} s; batches of 8 examples"
    book("training", "seconds, transformers' Trainer ÷ ours", sides.ratio, detail, at_least=1.5, subject=name)
    detail = f"{mine:.3f} against {others:.3f}"
    book(
        "training", "validation AUC, ours minus transformers' Trainer", mine - others, detail, at_least=0, subject=name
    )


class TrainerBert:
    """A BERT for text pairs (history, candidate), each the text that our BERT reads, under the defaults of
    `TrainingArguments()`, except the number of epochs and what would write or print."""

    def __init__(self, data: TaskData, *, layers: int, max_length: int, history_items: int) -> None:
        from transformers import AutoModelForSequenceClassification, AutoTokenizer

        torch.manual_seed(0)
        self.data = data
        self.max_length, self.history_items = max_length, history_items
        self.tokenizer = AutoTokenizer.from_pretrained(str(model_path()))
        self.model = AutoModelForSequenceClassification.from_pretrained(str(model_path()), num_hidden_layers=layers)

    def examples(self, pairs: Pairs) -> list[dict[str, Any]]:
        """Clicked, unclicked, clicked, ... as token ids."""
        histories = [self._history(row) for row in pairs.histories for _ in range(2)]
        items = np.stack([pairs.clicked, pairs.unclicked], axis=1).reshape(-1)
        shown = [self.data.catalog.texts[i] for i in items]
        coded = self.tokenizer(histories, shown, truncation="only_first", max_length=self.max_length)
        names = list(coded)
        rows = zip(*(coded[name] for name in names), strict=True)
        return [dict(zip(names, row, strict=True)) | {"labels": 1 - n % 2} for n, row in enumerate(rows)]

    def train(self, examples: Sequence[dict[str, Any]], epochs: int, workplace: Path) -> None:
        """Train as `Trainer` does by default."""
        self._trainer(epochs, workplace, examples).train()

    def auc(self, pairs: Pairs, workplace: Path) -> float:
        """The AUC on pairs."""
        examples = self.examples(pairs)
        logits = self._trainer(1, workplace, examples).predict(examples).predictions
        return float(auc(np.array([row["labels"] for row in examples]) > 0, logits[:, 1] - logits[:, 0]))

    def _trainer(self, epochs: int, workplace: Path, examples: Sequence[dict[str, Any]]) -> Any:
        from transformers import Trainer, TrainingArguments

        arguments = TrainingArguments(
            output_dir=str(workplace),
            num_train_epochs=epochs,
            save_strategy="no",
            logging_strategy="no",
            report_to="none",
            disable_tqdm=True,
            use_cpu=True,
        )
        return Trainer(self.model, arguments, train_dataset=list(examples), processing_class=self.tokenizer)

    def _history(self, history: np.ndarray[Any, Any]) -> str:
        """The newest items first, with separators between them."""
        read = [int(item) for item in history[-self.history_items :][::-1] if item >= 0]
        return f" {self.tokenizer.sep_token} ".join(self.data.catalog.texts[item] for item in read)

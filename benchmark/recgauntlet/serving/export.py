"""A trained model as a directory: one file, and a card that says how it scores and what it keeps under attack."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from recgauntlet.core.batch import Batch
from recgauntlet.core.dataset import TaskData
from recgauntlet.core.errors import ExportError
from recgauntlet.core.files import write_directory
from recgauntlet.core.protocol import SAME
from recgauntlet.core.recommender import Recommender
from recgauntlet.data.batches import pairs_to_batch
from recgauntlet.evaluation.judge import largest_difference, score_in_chunks
from recgauntlet.serving.card import ModelCard
from recgauntlet.serving.card_text import card_page
from recgauntlet.serving.formats import (
    FILES,
    Format,
    Scorer,
    exported,
    graph_file,
    require_packages,
    require_size,
    scorer_of,
)
from recgauntlet.serving.graph import CANDIDATES, InputName, ScoringGraph, TensorSpec, graph_inputs

CARD, PAGE = "card.json", "README.md"
_OUTPUT = TensorSpec(
    name="scores",
    dtype="float32",
    shape=(CANDIDATES,),
    meaning="logits, the higher the likelier; 0 is the decision boundary",
)


class Agreement(BaseModel):
    """How far the scores of the exported file are from the model's on the test examples."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    examples: int
    largest_difference: float
    """Relative to the spread (standard deviation) of the model's scores."""
    tolerance: float
    other_decisions: int
    """Examples on the other side of 0."""
    by: str
    """What ran the exported file."""


class ExportCard(BaseModel):
    """What lies in an export."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Format
    file: str
    sha256: str
    bytes: int
    recgauntlet: str
    torch: str
    inputs: tuple[TensorSpec, ...]
    """Empty for weights alone, as is `outputs`."""
    outputs: tuple[TensorSpec, ...]
    agreement: Agreement
    model: ModelCard


@dataclass(frozen=True)
class Subject:
    """What is exported: a trained model as it is served, on the CPU, the data of its task, and its card.

    `weights` is the content of its checkpoint, and `rebuilt` makes the served model of such content anew.
    """

    model: Recommender
    data: TaskData
    card: ModelCard
    weights: bytes
    rebuilt: Callable[[bytes], Recommender]


def export(subject: Subject, kind: Format, target: Path) -> ExportCard:
    """Write the new directory `target` with the model, `card.json` and `README.md`; nothing is left where it fails.

    Raises
    ------
    ExportError
        Where the model cannot be exported, or what was exported scores otherwise than the model.
    PluginError
        Where a package for this format is missing.
    OutputError
        Where `target` exists or cannot be written.
    """
    require_packages(kind)
    inputs: tuple[TensorSpec, ...] = ()
    if kind == "safetensors":
        content = subject.weights
        batch = _test_batch(subject.data)
        scores = score_in_chunks(subject.rebuilt(content).eval().requires_grad_(False), batch)
    else:
        require_size(subject.model)
        data = subject.data
        graph = ScoringGraph(subject.model, data.test.histories.shape[1])
        program, names = exported(graph)
        content = graph_file(program, kind)
        inputs = graph.specs(names, data.user_count, unknown_user(data))
        scores = _scores_of(scorer_of(content, kind), subject, names)
    card = ExportCard(
        format=kind,
        file=FILES[kind],
        sha256=hashlib.sha256(content).hexdigest(),
        bytes=len(content),
        recgauntlet=version("recgauntlet"),
        torch=torch.__version__,
        inputs=inputs,
        outputs=(_OUTPUT,) if inputs else (),
        agreement=agreement(subject, scores, "onnxruntime" if kind == "onnx" else "torch"),
        model=subject.card,
    )
    page = card_page(card)
    write_directory(
        target, {card.file: content, CARD: f"{card.model_dump_json(indent=1)}\n".encode(), PAGE: page.encode()}
    )
    return card


def agreement(subject: Subject, scores: Tensor, by: str) -> Agreement:
    """How far `scores` of the test examples, clicked, unclicked, clicked, ..., are from the model's.

    Raises
    ------
    ExportError
        Where one is further away than `SAME` of the spread of the model's scores.
    """
    own = score_in_chunks(subject.model, _test_batch(subject.data)).cpu()
    gap = largest_difference(own, scores, float(own.double().std()))
    if not gap <= SAME:
        raise ExportError(
            f"the exported model scores otherwise: a difference of {gap:.3g} of the scores' spread on "
            f"{len(own):,} test examples, where {SAME:g} is allowed",
            remedy="a model that is random, or reads more than history, candidates and user, cannot be one graph; "
            "serve it (recgauntlet serve)",
        )
    return Agreement(
        examples=len(own),
        largest_difference=gap,
        tolerance=SAME,
        other_decisions=int(((own > 0) != (scores > 0)).sum()),
        by=by,
    )


def unknown_user(data: TaskData) -> int | None:
    """The first user without training pairs; None where every user has some."""
    without = np.setdiff1d(np.arange(data.user_count), data.train.users)
    return int(without[0]) if len(without) else None


def _scores_of(scorer: Scorer, subject: Subject, names: tuple[InputName, ...]) -> Tensor:
    """`[2 P]`: the file's scores of the test examples, pair after pair as a service would ask for them. The first pair
    is also asked for one by one: the number of candidates must not matter."""
    batch = _test_batch(subject.data)

    def asked(pair: int, rows: slice) -> Tensor:
        user, history = batch.users.ids[pair : pair + 1], batch.users.histories[pair : pair + 1]
        return scorer(graph_inputs(subject.model, names, user, history, batch.items[rows]))

    pairs = [asked(pair, slice(2 * pair, 2 * pair + 2)) for pair in range(len(batch.users))]
    pairs[0] = torch.cat([asked(0, slice(0, 1)), asked(0, slice(1, 2))])
    return torch.cat(pairs)


def _test_batch(data: TaskData) -> Batch:
    return pairs_to_batch(data.test, np.arange(len(data.test)))

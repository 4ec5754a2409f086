"""A training step of the pretrained language models beside the bare Hugging Face module on the same tokens, and PGD's
three steps beside a plain step and three passes over the candidates alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from bench_figures import Book
from bench_subject import untrained_subject
from bench_timing import side_by_side

from recgauntlet.core.batch import Batch
from recgauntlet.core.recommender import Recommender
from recgauntlet.core.rng import Randomness
from recgauntlet.data.batches import pairs_to_batch
from recgauntlet.data.encoder import model_path
from recgauntlet.data.language_model import smollm2
from recgauntlet.training.defense import Defense, TrainingContext, model_scores
from recgauntlet.training.trainer import AdamWTrainer
from recgauntlet_baselines.defenses.pgd import PGD
from recgauntlet_baselines.models._pretrained import load

PAIRS, ROUNDS, CHANGED = 16, 5, 64
WORD_BY_WORD: dict[str, Any] = {"one_way": False}
MODELS: dict[str, tuple[dict[str, Any], Callable[[], Any]]] = {
    "bert": ({}, lambda: load(str(model_path())).body),
    "gpt": ({"layers": 6}, lambda: load(str(smollm2(offline=True)), 6).body),
}


@pytest.mark.parametrize("name", MODELS)
def test_a_step_costs_little_more_than_the_bare_module_and_pgd_reads_candidates_alone(name: str, book: Book) -> None:
    options, bare = MODELS[name]
    subject = untrained_subject(name, options, task="video-watch", track="standard")
    batch = pairs_to_batch(subject.data.train, np.arange(PAIRS))
    title = f"{name}, six layers, video-watch (standard), {PAIRS} pairs a step"

    step = trained_step(trainable(subject.model, name, options), batch, Defense())
    tokens = tokens_a_row(subject.model, batch)
    sides = side_by_side(step, passed(bare().train(), len(batch), tokens), rounds=ROUNDS)
    detail = f"{sides.first:.2f} s against {sides.second:.2f} s; {tokens} tokens a row"
    book("training", "a step ÷ bare module's passes", sides.ratio, detail, at_most=1.15, subject=title)

    alone = candidate_pass(subject.model, batch)

    def parts() -> None:
        step()
        for _ in range(3):
            alone()

    sides = side_by_side(trained_step(subject.model, batch, PGD(warmup=0.0)), parts, rounds=ROUNDS)
    detail = f"{sides.first:.2f} s against {sides.second:.2f} s"
    what = "PGD-3 ÷ a step and three passes over the candidates alone"
    book("training", what, sides.ratio, detail, at_most=1.2, subject=title)


def test_bert_with_one_vector_an_item_costs_less_than_word_by_word(book: Book) -> None:
    items, words = (
        untrained_subject("bert", options, task="video-watch", track="standard") for options in ({}, WORD_BY_WORD)
    )
    batch = pairs_to_batch(items.data.train, np.arange(PAIRS))
    title = f"bert, six layers, video-watch (standard), {PAIRS} pairs, 50 items against at most 128 tokens"
    trainable(items.model, "bert", {})
    trainable(words.model, "bert", WORD_BY_WORD)
    kinds: dict[str, Callable[[Recommender], Callable[[], object]]] = {
        "a step": lambda model: trained_step(model, batch, Defense()),
        "a step of PGD-3": lambda model: trained_step(model, batch, PGD(warmup=0.0)),
        "scores of changed histories": lambda model: changed_histories(model, batch),
    }
    for what, run in kinds.items():
        sides = side_by_side(run(words.model), run(items.model), rounds=ROUNDS)
        detail = f"{sides.first:.2f} s against {sides.second:.2f} s"
        book("training", f"{what}, word by word ÷ one vector an item", sides.ratio, detail, at_least=1, subject=title)


def changed_histories(model: Recommender, batch: Batch) -> Callable[[], object]:
    """One candidate for histories of one user that differ in their newest item, as a search asks for them."""
    one = batch.select(torch.zeros(CHANGED, dtype=torch.long))
    histories = one.histories().clone()
    histories[:, -1] = torch.arange(CHANGED)
    one = one.with_histories(histories)

    def run() -> None:
        model.eval()
        with torch.no_grad():
            model_scores(model, one)

    return run


def trainable(model: Recommender, name: str, options: dict[str, Any]) -> Recommender:
    """The model with its own choice of what learns, which `untrained_subject` has taken away."""
    fresh = untrained_subject(name, options, task="video-watch", track="standard")
    assert fresh.model.base is not None
    for part, value in model.named_parameters():
        value.requires_grad_(part not in fresh.model.base.tensors)
    return model


def trained_step(model: Recommender, batch: Batch, defense: Defense) -> Callable[[], object]:
    trainer = AdamWTrainer(model.train(), 1000, Randomness(0, "benchmark"), "fp32")

    def step() -> None:
        trainer.context = TrainingContext(500, 0.5, trainer.context.rng)
        trainer.minimize(defense.training_loss(model.train(), batch, trainer.context))

    return step


def candidate_pass(model: Recommender, batch: Batch) -> Callable[[], object]:
    """Scores and their gradient with respect to the candidates' embeddings, the users being encoded."""
    with torch.no_grad():
        state = model.encode_user(batch.users).select(batch.rows)
        candidates = model.candidates(batch.items)
        embedded = model.embed(candidates)

    def run() -> None:
        handle = embedded.detach().requires_grad_(True)
        torch.autograd.grad(model.score(state, candidates, handle).sum(), handle)

    return run


def tokens_a_row(model: Any, batch: Batch) -> int:
    """The mean number of places that history and candidate have together, with what stands around them."""
    history = (batch.users.histories[:, -model.history_limit :] >= 0).sum(dim=1)[batch.rows]
    return round(float((history + model.candidates(batch.items).tokens.mask.sum(dim=1) + 2).float().mean()))


def passed(module: Any, rows: int, tokens: int) -> Callable[[], object]:
    """Forward and backward of a bare module over `rows` texts of `tokens` tokens, none of them padding."""
    ids = torch.randint(0, 1000, (rows, tokens), generator=torch.Generator().manual_seed(0))

    def run() -> None:
        module.zero_grad(set_to_none=True)
        module(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state.mean().backward()

    return run

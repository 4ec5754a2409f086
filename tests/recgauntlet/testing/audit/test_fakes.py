"""Each fake is a mask: it does to scores, gradients or inputs what it says, and leaves the decisions alone."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from toy_recommender import ToyRecommender

from recgauntlet.core.batch import Batch
from recgauntlet.core.dataset import TaskData
from recgauntlet.core.errors import PluginError
from recgauntlet.core.recommender import Recommender
from recgauntlet.core.scoring import score_batch
from recgauntlet.data.batches import pairs_to_batch
from recgauntlet.evaluation.judge import score_in_chunks
from recgauntlet.evaluation.setup import Trial
from recgauntlet.testing.audit import zoo
from recgauntlet.testing.audit.zoo import fake_names
from recgauntlet.threats.embedding_scale import embedding_scale
from recgauntlet.threats.knowledge import AttackerKnowledge

Wrap = Callable[[str], Recommender]
SAME_SCORES = (
    "detached-gradients",
    "flipped-gradients",
    "shuffled-gradients",
    "broken-gradients",
    "scaled-embeddings",
    "inflated-row",
    "silent-tokens",
    "deaf-embeddings",
    "known-words-only",
    "original-texts",
    "restored-texts",
    "original-histories",
    "first-answers",
    "repeated-answers",
    "repeated-to-histories",
    "hardens-later",
    "large-batches",
    "shared-memory",
    "shared-memory-of-some",
    "bounded-drift",
    "running-means",
    "kept-states",
    "originals-by-id",
    "nearest-texts",
    "refused-edits",
    "trusted-histories",
    "shrunken-changes",
)
SAME_DECISIONS = (
    *("scaled-logits", "tiny-logits", "saturated-logits", "clipped-logits", "inference-optimization"),
    *SAME_SCORES,
)
NOISY = ("noisy-embeddings", "noisy-logits", "tiny-noisy-logits")
NEARLY_AS_GOOD = ("quantized-embeddings", "soft-codebook", "trained-codebook", "batch-normalized-logits", *NOISY)


@pytest.fixture
def wrap(toy_data: TaskData, toy_model: ToyRecommender) -> Wrap:
    return lambda name: zoo([name])[0](toy_model, toy_data)


@pytest.fixture
def clean(toy_data: TaskData) -> Batch:
    return pairs_to_batch(toy_data.test, torch.arange(len(toy_data.test)).numpy())


@pytest.fixture
def edited(clean: Batch, toy_data: TaskData) -> Batch:
    """The clean batch, one word of each text misspelt."""
    texts = [toy_data.catalog.texts[i].split() for i in clean.items.tolist()]
    return clean.with_texts([" ".join([*words[:-1], words[-1] + "qx"]) for words in texts])


def test_every_fake_says_what_it_pretends_and_has_a_name_of_its_own() -> None:
    assert all(fake.pretends().endswith(".") for fake in zoo())
    assert len({fake.pretends() for fake in zoo()}) == len(set(fake_names())) == len(zoo())


def test_a_fake_that_is_not_there_is_named_with_those_that_are() -> None:
    with pytest.raises(PluginError, match=r"fairy-dust[\s\S]*choose among: scaled-logits"):
        zoo(["fairy-dust"])


def test_every_fake_is_in_one_of_the_lists_here() -> None:
    others = {"constant", "biased", "memorized-inputs", "memorized-pairs", "call-stack"}
    assert {*SAME_DECISIONS, *NEARLY_AS_GOOD, *others} == set(fake_names())


@pytest.mark.parametrize("name", SAME_DECISIONS)
def test_clean_decisions_or_even_scores_are_those_of_the_model_inside(
    name: str, wrap: Wrap, clean: Batch, toy_model: ToyRecommender
) -> None:
    honest, served = score_in_chunks(toy_model, clean), score_in_chunks(wrap(name), clean)
    assert torch.equal(served > 0, honest > 0)
    if name in SAME_SCORES:
        torch.testing.assert_close(served, honest)


@pytest.mark.parametrize("name", NEARLY_AS_GOOD)
def test_clean_accuracy_barely_changes(name: str, wrap: Wrap, clean: Batch, toy_model: ToyRecommender) -> None:
    honest, served = score_in_chunks(toy_model, clean), score_in_chunks(wrap(name), clean)
    right = [float(((scores > 0) == (clean.labels > 0.5)).float().mean()) for scores in (honest, served)]
    assert abs(right[0] - right[1]) <= 0.05
    assert not torch.equal(honest, served)


def gradients(model: Recommender, batch: Batch, data: TaskData) -> tuple[Tensor, Tensor]:
    """Of the candidates' and of the history's embeddings."""
    victim = Trial.of(model, data, AttackerKnowledge(data.catalog)).victim
    victim.reset(None)
    return victim.embedding_gradient(batch)[1], victim.history_gradient(batch)[2]


@pytest.mark.parametrize(
    ("name", "becomes"),
    [
        ("detached-gradients", torch.zeros_like),
        ("flipped-gradients", torch.neg),
        ("shuffled-gradients", lambda gradient: gradient.roll(1, dims=-1)),
        ("broken-gradients", lambda gradient: torch.full_like(gradient, torch.nan)),
        ("quantized-embeddings", torch.zeros_like),
        ("saturated-logits", torch.zeros_like),
        ("clipped-logits", torch.zeros_like),
        ("scaled-logits", lambda gradient: 1000 * gradient),
        ("tiny-logits", lambda gradient: 1e-30 * gradient),
        ("constant", torch.zeros_like),
        ("scaled-embeddings", lambda gradient: gradient / 100),
        ("deaf-embeddings", torch.zeros_like),
    ],
)
def test_gradients_of_candidate_and_history_are_hidden(
    name: str,
    becomes: Callable[[Tensor], Tensor],
    wrap: Wrap,
    clean: Batch,
    toy_data: TaskData,
    toy_model: ToyRecommender,
) -> None:
    honest = gradients(toy_model, clean, toy_data)
    masked = gradients(wrap(name), clean, toy_data)
    sure = score_in_chunks(toy_model, clean).abs() > 0.1  # next to 0 nothing is saturated
    for found, true in zip(masked, honest, strict=True):
        assert (true[sure].flatten(1).norm(dim=1) > 0).all()
        torch.testing.assert_close(found[sure], becomes(true)[sure], rtol=1e-3, atol=1e-40, equal_nan=True)


@pytest.mark.parametrize("name", NOISY)
def test_noise_is_fresh_at_each_call(name: str, wrap: Wrap, clean: Batch) -> None:
    served = wrap(name)
    assert not torch.equal(score_in_chunks(served, clean), score_in_chunks(served, clean))


def test_the_scaled_table_is_larger_and_its_function_under_a_change_in_proportion_is_equal(
    wrap: Wrap, clean: Batch, toy_model: ToyRecommender, toy_data: TaskData
) -> None:
    served = wrap("scaled-embeddings")
    ratio = embedding_scale(served, toy_data.catalog).norm / embedding_scale(toy_model, toy_data.catalog).norm
    assert ratio == pytest.approx(100.0)
    delta = torch.randn(toy_model.embed(toy_model.candidates(clean.items)).shape)
    torch.testing.assert_close(
        score_in_chunks(served, clean.with_delta(100 * delta)), score_in_chunks(toy_model, clean.with_delta(delta))
    )


@pytest.mark.parametrize(("name", "larger"), [("inflated-row", True), ("silent-tokens", False)])
def test_the_scale_is_moved_and_the_function_is_not(
    name: str, larger: bool, wrap: Wrap, toy_model: ToyRecommender, toy_data: TaskData
) -> None:
    ratio = embedding_scale(wrap(name), toy_data.catalog).norm / embedding_scale(toy_model, toy_data.catalog).norm
    assert ratio > 2 if larger else ratio < 0.5


def test_a_silent_token_is_not_heard_and_the_others_are(wrap: Wrap, clean: Batch) -> None:
    served = wrap("silent-tokens")
    shape = served.embed(served.candidates(clean.items)).shape
    silent, heard = torch.zeros(shape), torch.zeros(shape)
    silent[:, :12], heard[:, 12:] = 5.0, 5.0
    scores = score_in_chunks(served, clean)
    assert torch.equal(score_in_chunks(served, clean.with_delta(silent)), scores)
    assert not torch.allclose(score_in_chunks(served, clean.with_delta(heard)), scores)


def test_embeddings_that_are_handed_in_are_not_used(wrap: Wrap, clean: Batch) -> None:
    served = wrap("deaf-embeddings")
    far = 100 * torch.ones_like(served.embed(served.candidates(clean.items)))
    assert torch.equal(score_in_chunks(served, clean.with_delta(far)), score_in_chunks(served, clean))


def test_unknown_words_vanish(wrap: Wrap) -> None:
    served = wrap("known-words-only")
    tokens, shorter = (served.tokenize([text]) for text in ("boat zzqx harbor", "boat harbor"))
    assert torch.equal(tokens.ids, shorter.ids)
    assert served.tokenize(["zzqx"]).mask.any()  # an empty text still has a token


def test_the_optimizing_model_is_surer_of_the_same_answers(wrap: Wrap, clean: Batch, toy_model: ToyRecommender) -> None:
    honest, served = score_in_chunks(toy_model, clean), score_in_chunks(wrap("inference-optimization"), clean)
    assert float((served.abs() > honest.abs()).float().mean()) > 0.9


def test_a_batch_normalized_score_depends_on_who_else_is_asked(wrap: Wrap, clean: Batch) -> None:
    served = wrap("batch-normalized-logits")
    some = clean.select(torch.arange(4))
    assert not torch.allclose(score_in_chunks(served, clean)[:4], score_in_chunks(served, some))


def test_the_constant_and_the_biased_say_yes(wrap: Wrap, clean: Batch) -> None:
    assert (score_in_chunks(wrap("constant"), clean) > 0).all()
    biased = score_in_chunks(wrap("biased"), clean)
    assert float((biased > 0).float().mean()) > 0.55
    assert len(biased.unique()) > 10


@pytest.mark.parametrize("name", ["memorized-inputs", "memorized-pairs"])
def test_the_tests_answers_are_known(name: str, wrap: Wrap, clean: Batch) -> None:
    assert torch.equal(score_in_chunks(wrap(name), clean) > 0, clean.labels > 0.5)


def test_memorized_inputs_know_nothing_else(wrap: Wrap, clean: Batch, edited: Batch, toy_model: ToyRecommender) -> None:
    served = wrap("memorized-inputs")
    histories = clean.histories().roll(2, dims=0)
    moved = torch.full_like(toy_model.embed(toy_model.candidates(clean.items)), 1e-3)
    for touched in (edited, clean.with_histories(histories), clean.with_delta(moved)):
        torch.testing.assert_close(score_in_chunks(served, touched), score_in_chunks(toy_model, touched))


def test_memorized_pairs_and_first_answers_do_not_mind_what_is_touched(
    wrap: Wrap, clean: Batch, edited: Batch, toy_model: ToyRecommender
) -> None:
    for name in ("memorized-pairs", "first-answers"):
        served = wrap(name)
        before = score_in_chunks(served, clean)
        moved = torch.full_like(toy_model.embed(toy_model.candidates(clean.items)), 3.0)
        for touched in (edited, clean.with_histories(clean.histories().roll(2, dims=0)), clean.with_delta(moved)):
            assert torch.equal(score_in_chunks(served, touched), before)


def test_original_and_restored_texts_undo_an_edit(
    wrap: Wrap, clean: Batch, edited: Batch, toy_model: ToyRecommender
) -> None:
    assert not torch.allclose(score_in_chunks(toy_model, edited), score_in_chunks(toy_model, clean))
    for name in ("original-texts", "restored-texts"):
        served = wrap(name)
        torch.testing.assert_close(score_in_chunks(served, edited), score_in_chunks(served, clean))


LITTLE = 0.1


@pytest.mark.parametrize("name", ["repeated-answers", "repeated-to-histories", "shared-memory", "nearest-texts"])
def test_a_little_of_an_edit_gets_through_though_the_id_is_hidden(
    name: str, wrap: Wrap, clean: Batch, edited: Batch, toy_model: ToyRecommender
) -> None:
    before = clean.as_new_listings([toy_model.catalog.texts[i] for i in clean.items.tolist()])
    after = before.with_texts(edited.texts or ())
    true = (score_in_chunks(toy_model, after) - score_in_chunks(toy_model, before)).abs()
    served = wrap(name)
    moved = (score_in_chunks(served, before) - score_in_chunks(served, after)).abs()
    assert 0 < float(moved.median()) < LITTLE * float(true.median())


def test_an_original_by_id_needs_the_id(wrap: Wrap, clean: Batch, edited: Batch, toy_model: ToyRecommender) -> None:
    served = wrap("originals-by-id")
    true, moved = (
        (score_in_chunks(model, edited) - score_in_chunks(model, clean)).abs().median() for model in (toy_model, served)
    )
    assert moved < LITTLE * true
    hidden = clean.as_new_listings(edited.texts or ())
    torch.testing.assert_close(score_in_chunks(served, hidden), score_in_chunks(toy_model, hidden))


def test_kept_states_and_trusted_histories_let_a_little_of_an_edit_through(
    wrap: Wrap, clean: Batch, toy_model: ToyRecommender
) -> None:
    histories = clean.histories().clone()
    histories[:, -1] = (histories[:, -1] + 1) % len(toy_model.catalog)
    touched = clean.with_histories(histories)
    true = (score_in_chunks(toy_model, touched) - score_in_chunks(toy_model, clean)).abs().median()
    for name in ("kept-states", "trusted-histories"):
        served = wrap(name)
        before = score_in_chunks(served, clean)
        moved = (score_in_chunks(served, touched) - before).abs().median()
        assert 0 < moved < LITTLE * true


def test_refused_edits_lead_to_no_recommendation(wrap: Wrap, clean: Batch, edited: Batch) -> None:
    assert (score_in_chunks(wrap("refused-edits"), edited) < 0).all()


def test_the_call_stack_holds_the_labels(wrap: Wrap, clean: Batch) -> None:
    right = (score_batch(wrap("call-stack"), clean) > 0) == (clean.labels > 0.5)
    assert float(right.float().mean()) > 0.95


def test_restored_texts_read_a_text_that_is_another(wrap: Wrap, clean: Batch, toy_model: ToyRecommender) -> None:
    other = clean.with_texts(["violin zebra quartz"] * len(clean))
    torch.testing.assert_close(score_in_chunks(wrap("restored-texts"), other), score_in_chunks(toy_model, other))


def test_original_histories_undo_an_edit(wrap: Wrap, clean: Batch, toy_model: ToyRecommender) -> None:
    histories = clean.histories().clone()
    histories[:, -1] = (histories[:, -1] + 1) % len(toy_model.catalog)
    touched = clean.with_histories(histories)
    assert not torch.allclose(score_in_chunks(toy_model, touched), score_in_chunks(toy_model, clean))
    served = wrap("original-histories")
    torch.testing.assert_close(score_in_chunks(served, touched), score_in_chunks(served, clean))

"""A model behind a connection gives the same bits as in this process, and what is no answer is an error."""

from __future__ import annotations

import copy
import gc
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from served_here import connect, remote
from torch import Tensor
from toy_recommender import ToyRecommender, make_batch, make_catalog, make_victim, train

from recgauntlet.core.batch import Batch, Candidates, Tokens
from recgauntlet.core.errors import ModelProcessError, PluginError
from recgauntlet.core.recommender import Recommender
from recgauntlet.core.scoring import autograd_calls, score_batch
from recgauntlet.runner.remote.line import Line
from recgauntlet.runner.remote.recommender import RemoteRecommender
from recgauntlet.threats.gradients import encode_in_chunks
from recgauntlet.threats.knowledge import AttackerKnowledge
from recgauntlet.threats.smoothing import HistorySmoothed, TextSmoothed
from recgauntlet.training.checkpoint import weights_hash


@pytest.fixture(scope="module")
def model() -> ToyRecommender:
    torch.manual_seed(0)
    return train(ToyRecommender(make_catalog())).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def batch(model: ToyRecommender) -> Batch:
    return make_batch(model.catalog)


def texts_of(batch: Batch, model: Recommender) -> list[str]:
    return [f"quite {model.catalog.texts[item]} é" for item in batch.items.tolist()]


def test_scores_of_items_texts_and_changed_embeddings_are_the_same(model: ToyRecommender, batch: Batch) -> None:
    there = remote(model)
    retold = batch.as_new_listings(texts_of(batch, model))
    delta = torch.randn(len(batch), 16, 12) / 10
    for asked in (batch, retold, batch.with_delta(delta), retold.with_delta(delta)):
        assert torch.equal(score_batch(there, asked), score_batch(model, asked))
    assert torch.equal(there.tokenize(["a b", "c"]).ids, model.tokenize(["a b", "c"]).ids)
    assert torch.equal(there.embed_history(batch.users), model.embed_history(batch.users))
    assert (there.surfaces, there.token_length) == (model.surfaces, model.token_length)
    assert sum(p.numel() for p in there.parameters()) == sum(p.numel() for p in model.parameters())


def test_scoring_a_batch_is_one_message(model: ToyRecommender, batch: Batch, monkeypatch: pytest.MonkeyPatch) -> None:
    there, sent = remote(model), []
    asked = there.client.ask
    monkeypatch.setattr(
        there.client, "ask", lambda call, *rest, **more: sent.append(call) or asked(call, *rest, **more)
    )
    score_batch(there, batch)
    score_batch(there, batch.with_texts(texts_of(batch, model)))
    assert sent == ["score", "score"]


def test_gradients_of_candidates_and_histories_are_the_same(model: ToyRecommender, batch: Batch) -> None:
    world = AttackerKnowledge(model.catalog)
    here, there = make_victim(model, world, batch), make_victim(remote(model), world, batch)
    pairs = [
        (here.embedding_gradient(batch), there.embedding_gradient(batch)),
        (here.history_gradient(batch), there.history_gradient(batch)),
        (here.word_slopes(batch), there.word_slopes(batch)),
    ]
    for expected, found in pairs:
        for first, second in zip(expected, found, strict=True):
            assert torch.equal(first, second)
    one = make_victim(model, world, batch), make_victim(remote(model), world, batch)
    few = batch.select(torch.tensor([3]))  # the gradient of a sum of one is an expanded scalar
    assert torch.equal(*(victim.embedding_gradient(few)[1] for victim in one))
    assert pairs[0][0][1].any()
    weights = torch.linspace(-1, 1, len(batch))  # along another direction than the sum
    found = []
    for one in (model, remote(model)):
        candidates = one.candidates(batch.items)
        handle = one.embed(candidates).requires_grad_(True)
        history = one.embed_history(batch.users).requires_grad_(True)
        scores = one.score(one.encode_user(batch.users, history).select(batch.rows), candidates, handle)
        found.append(torch.autograd.grad((scores * weights).sum(), [handle, history]))
    for first, second in zip(*found, strict=True):
        assert torch.equal(first, second)
    assert pairs[1][0][2].any()


def test_states_joined_selected_and_folded_are_the_same(model: ToyRecommender, batch: Batch) -> None:
    there = remote(model)
    candidates = model.candidates(batch.items)
    for size in (7, 1000):
        states = encode_in_chunks(model, batch.users, size), encode_in_chunks(there, batch.users, size)
        first, second = (state.select(batch.rows) for state in states)
        expected = model.score(first, candidates)
        assert torch.equal(there.score(second, there.candidates(batch.items)), expected)
        assert torch.equal(there.score(second.folded(4).unfolded().detach(), candidates), expected)


@pytest.mark.parametrize("kind", [HistorySmoothed, TextSmoothed])
def test_the_harness_smooths_a_remote_model_as_one_of_its_own(
    model: ToyRecommender, batch: Batch, kind: type[HistorySmoothed | TextSmoothed]
) -> None:
    options: Any = {"votes": 5, "kept": 2, "sharpness": 3.0}
    here, there = kind(model, **options), kind(remote(model), **options)
    assert torch.equal(score_batch(there, batch), score_batch(here, batch))
    world = AttackerKnowledge(model.catalog)
    gradients = [
        make_victim(one, world, batch).history_gradient(batch)
        if kind is HistorySmoothed
        else make_victim(one, world, batch).embedding_gradient(batch)
        for one in (here, there)
    ]
    for first, second in zip(*gradients, strict=True):
        assert torch.allclose(first.float(), second.float(), rtol=1e-5, atol=1e-7)


def test_what_is_no_longer_held_is_released_there(model: ToyRecommender, batch: Batch) -> None:
    server: list[Any] = []

    def keep(line: Line) -> Line:
        server.append(line)
        return line

    there = remote(model, keep)
    for _ in range(5):
        score_batch(there, batch)
    gc.collect()
    there.tokenize(["a"])
    assert there._released == []
    with pytest.raises(Exception, match="KeyError"):
        there._ask("tokens", {"candidates_at": 1})


def test_a_copy_is_another_connection_opened_when_it_is_asked(model: ToyRecommender, batch: Batch) -> None:
    there = remote(model)
    other = copy.deepcopy(there)
    assert other._client is None
    assert torch.equal(score_batch(other, batch), score_batch(there, batch))
    assert other.client is not there.client


def test_a_plugin_s_word_about_what_it_reads_is_not_taken(model: ToyRecommender) -> None:
    own = copy.deepcopy(model)
    own.history_limit = 1
    assert remote(own).history_limit is None


def test_the_hash_is_the_file_s_until_the_weights_change(model: ToyRecommender) -> None:
    own = copy.deepcopy(model)
    there = remote(own)
    assert there.weights_hash() == "f" * 64
    before = weights_hash(there)
    own.bias.data += 1
    assert there.weights_hash() != "f" * 64
    assert weights_hash(there) != before


class Optimizes(ToyRecommender):
    """Calls autograd while it scores."""

    def score(self, *arguments: Any, **named: Any) -> Tensor:
        with torch.enable_grad():
            one = torch.zeros((), requires_grad=True)
            torch.autograd.grad(one, one)
        return super().score(*arguments, **named)


def test_calls_of_autograd_there_are_counted_here(model: ToyRecommender, batch: Batch) -> None:
    there = remote(Optimizes(model.catalog))
    with autograd_calls() as calls:
        score_batch(there, batch)
    # the thread that serves has patched the same module; a process of its own would not
    assert calls


class Raises(ToyRecommender):
    """Fails in each of the ways that there are."""

    error: Exception = ValueError("out of luck")

    def score(self, *arguments: Any, **named: Any) -> Tensor:
        raise self.error


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (ValueError("out of luck"), "ValueError", "out of luck (at"),
        (torch.OutOfMemoryError("no room"), "MemoryError", "no room"),
        (PluginError("is odd", remedy="mend it"), "PluginError", "is odd"),
    ],
)
def test_what_the_model_raises_is_raised_here(
    model: ToyRecommender, batch: Batch, error: Exception, kind: str, words: str
) -> None:
    there = remote(Raises(model.catalog))
    Raises.error = error
    with pytest.raises(Exception, match=kind if kind == "ValueError" else words[:5]) as caught:
        score_batch(there, batch)
    assert (type(caught.value).__name__, words in str(caught.value)) == (kind, True)
    assert there.tokenize(["a"]).ids.shape == (1, 1)  # and it goes on


class TwoLogits(ToyRecommender):
    """Two logits a candidate."""

    def score(self, *arguments: Any, **named: Any) -> Tensor:
        return super().score(*arguments, **named).repeat(2)


class NanScores(ToyRecommender):
    """No numbers."""

    def score(self, *arguments: Any, **named: Any) -> Tensor:
        return super().score(*arguments, **named) * float("nan")


def test_a_wrong_shape_is_the_error_that_it_is_here_and_nan_is_a_score(model: ToyRecommender, batch: Batch) -> None:
    with pytest.raises(PluginError, match="have shape"):
        score_batch(remote(TwoLogits(model.catalog)), batch)
    assert score_batch(remote(NanScores(model.catalog)), batch).isnan().all()


class _Tampered:
    """A line whose answers are replaced by another."""

    def __init__(self, line: Line, header: dict[str, Any], tensors: Sequence[Tensor]) -> None:
        self.line, self.answer = line, (header, tensors)
        self.header, self.tensors, self.close = line.header, line.tensors, line.close

    def send(self, *_: Any) -> None:
        self.line.send(*self.answer)


LOGITS = torch.zeros(80)


@pytest.mark.parametrize(
    ("header", "tensors", "words"),
    [
        ({}, [], "0 arrays where 1"),
        ({}, [LOGITS.long()], "an array of int64"),
        ({}, [LOGITS, LOGITS], "2 arrays where 1"),
        ({"fault": {"kind": "a b", "message": ""}}, [], "no fault"),
        ({"fault": 3}, [], "no fault"),
        ({"differentiable": "x" * 2**21}, [LOGITS], "a header of"),
    ],
)
def test_an_answer_that_is_none_ends_the_connection(
    model: ToyRecommender, batch: Batch, header: dict[str, Any], tensors: list[Tensor], words: str
) -> None:
    tamper: Any = lambda line: _Tampered(line, header, tensors)  # noqa: E731
    there = remote(model, tamper)
    for _ in range(2):  # and every later question
        with pytest.raises(ModelProcessError, match=words):
            score_batch(there, batch)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\x01",
        b"\x02" + bytes(7) + b"[]",
        b"\x02" + bytes(7) + b"{]",
        b"\x02" + bytes(7) + b"{}",
        b'\x23\0\0\0\0\0\0\0{"arrays": [["float32", [80, -80]]]}',
        b'\x24\0\0\0\0\0\0\0{"arrays": [["float32", [2147483648]]',
        b"\xff" * 64,
    ],
)
def test_bytes_that_are_no_message_end_the_connection(model: ToyRecommender, batch: Batch, raw: bytes) -> None:
    def serve(line: Line) -> None:
        line.tensors(line.header())
        line._end.sendall(raw)

    there = remote(model)
    there._connect = lambda: connect(serve, "ended with exit code 3" if not raw else "")
    with pytest.raises(ModelProcessError, match="exit code 3" if not raw else "no answer|0 arrays|answered"):
        score_batch(there, batch)


def test_what_the_fence_refused_is_reported_before_any_answer(model: ToyRecommender, batch: Batch) -> None:
    def serve(line: Line) -> None:
        line.tensors(line.header())
        line.send({"refused": "tried to start a process"})

    class EndedError(Exception):
        pass

    def refused(what: str) -> None:
        raise EndedError(what)

    there = remote(model)
    there._connect = lambda: connect(serve, refused=refused)
    with pytest.raises(EndedError, match="tried to start a process"):
        score_batch(there, batch)


class OddTokens(ToyRecommender):
    """Tokens of words that no text has."""

    def tokenize(self, texts: Sequence[str]) -> Tokens:
        tokens = super().tokenize(texts)
        return Tokens(tokens.ids, tokens.mask, tokens.word_of_token + 2**40)


def test_tokens_of_words_that_are_not_there_are_refused(model: ToyRecommender) -> None:
    with pytest.raises(ModelProcessError, match="words that are not there"):
        remote(OddTokens(model.catalog)).tokenize(["a b"])


def test_candidates_of_another_model_are_scored_by_their_tokens(model: ToyRecommender, batch: Batch) -> None:
    there: RemoteRecommender = remote(model)
    here: Candidates = model.candidates(batch.items)
    state = there.encode_user(batch.users).select(batch.rows)
    assert torch.equal(there.score(state, here), score_batch(model, batch))
    with pytest.raises(PluginError, match="another model"):
        there.score(model.encode_user(batch.users), here)

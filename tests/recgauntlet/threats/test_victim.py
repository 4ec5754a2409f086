from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from toy_recommender import ToyRecommender, make_batch, make_victim

from recgauntlet.core.batch import Batch, Users, UserState
from recgauntlet.core.errors import BudgetExceeded
from recgauntlet.threats.embedding_scale import embedding_scale
from recgauntlet.threats.knowledge import AttackerKnowledge
from recgauntlet.threats.queries import KnownScores
from recgauntlet.threats.victim import Victim


def plain_scores(model: ToyRecommender, batch: Batch) -> torch.Tensor:
    with torch.no_grad():
        state = model.encode_user(batch.users)
        return model.score(state.select(batch.rows), model.candidates(batch.items, batch.texts))


def test_scores_are_the_models_own_in_any_chunking(
    model: ToyRecommender, world: AttackerKnowledge, batch: Batch
) -> None:
    texts = [f"{world.catalog.texts[i]}{' boat' * (n % 5)}" for n, i in enumerate(batch.items.tolist())]
    histories = batch.histories().flip(0)
    for chunk in (1024, 7):
        victim = make_victim(model, world, batch)
        victim.chunk = chunk
        for changed in (batch, batch.with_texts(texts), batch.with_histories(histories)):
            assert torch.allclose(victim.scores(changed), plain_scores(model, changed), atol=1e-5)


def test_every_row_is_a_query_and_the_budget_is_enforced(victim: Victim, batch: Batch) -> None:
    victim.reset(3)
    some = batch.select(torch.tensor([0, 1, 1]))
    victim.scores(some)
    assert victim.remaining(batch.example_ids[:3]).tolist() == [2, 1, 3]
    victim.embedding_gradient(batch.select(torch.tensor([1])))
    assert victim.remaining(batch.example_ids[1:2]).tolist() == [0]
    forwards = victim.effort.forwards
    with pytest.raises(BudgetExceeded, match="example 101: more than 3"):
        victim.scores(some)
    assert victim.effort.forwards == forwards, "nothing is scored past the budget"
    assert victim.remaining(batch.example_ids[:1]).tolist() == [2]
    victim.reset(None)
    assert victim.remaining(batch.example_ids[:1])[0] > 10**6


@pytest.mark.parametrize("ask", ["scores", "embedding_gradient", "history_gradient", "word_slopes"])
def test_each_way_of_asking_is_counted(victim: Victim, batch: Batch, ask: str) -> None:
    victim.reset(1)
    getattr(victim, ask)(batch)
    assert victim.effort.forwards == len(batch)
    with pytest.raises(BudgetExceeded):
        getattr(victim, ask)(batch)


def test_an_input_is_scored_once_and_paid_for_each_time(victim: Victim, world: AttackerKnowledge, batch: Batch) -> None:
    texts = [f"{world.catalog.texts[i]} boat" for i in batch.items.tolist()]
    for changed in (batch, batch.with_texts(texts), batch.with_histories(batch.histories().flip(0))):
        victim.reset(3)
        first = victim.scores(changed.select(torch.arange(4)))
        again = victim.scores(changed.select(torch.tensor([3, 5, 0])))
        assert victim.effort.forwards == 5, "two of three are known"
        assert victim.effort.queries == 7
        assert torch.equal(again[[2, 0]], first[[0, 3]])
        assert victim.remaining(batch.example_ids[:1]).tolist() == [1]


@pytest.mark.parametrize("part", ["users", "rows", "items", "texts", "example_ids"])
def test_no_score_is_taken_for_that_of_another_input(
    model: ToyRecommender, world: AttackerKnowledge, batch: Batch, part: str
) -> None:
    one = batch.with_texts([world.catalog.texts[i] for i in batch.items.tolist()]).select(torch.tensor([0, 1]))
    apart: dict[str, Any] = {
        "users": replace(one.users, histories=one.users.histories.flip(1).clamp(min=0)),
        "rows": (one.rows + 1) % len(one.users),
        "items": (one.items + 1) % len(world.catalog),
        "texts": tuple(f"{text} boat" for text in one.texts or ()),
        "example_ids": one.example_ids.flip(0),
    }
    victim = make_victim(model, world, batch)
    victim.scores(one)
    victim.reset(None)
    other = replace(one, **{part: apart[part]})
    assert torch.allclose(victim.scores(other), plain_scores(model, other), atol=1e-5)
    assert victim.effort.forwards == 2


def test_perturbed_embeddings_and_random_models_are_scored_each_time(
    model: ToyRecommender, world: AttackerKnowledge, batch: Batch
) -> None:
    few = batch.select(torch.arange(3))
    victim = make_victim(model, world, batch)
    delta = torch.zeros_like(victim.embedding_gradient(few)[1])
    victim.reset(None)
    for _ in range(2):
        victim.scores(few.with_delta(delta))
    assert victim.effort.forwards == 6
    victim.samples = 4
    victim.reset(None)
    for _ in range(2):
        victim.scores(few)
    assert victim.effort.forwards == 24


def test_what_is_remembered_has_an_end(batch: Batch) -> None:
    known = KnownScores(most=3)
    keys = known.keys(batch.select(torch.arange(4)))
    known.keep({keys[0]: 0.0, keys[1]: float("nan")})
    assert list(known.find(keys[:3])) == keys[:2]
    assert known.find(keys[:1]) == {keys[0]: 0.0}
    known.keep({keys[2]: 1.0, keys[3]: 2.0})
    assert list(known.find(keys)) == keys[2:]


def test_histories_that_differ_in_items_that_are_not_read_are_scored_once(
    model: ToyRecommender, world: AttackerKnowledge, batch: Batch
) -> None:
    class Newest(ToyRecommender):
        """Reads three items."""

        def encode_user(self, users: Users, embeddings: Tensor | None = None) -> UserState:
            return super().encode_user(Users(users.ids, users.histories[:, -3:]))

    limited = Newest(model.catalog)
    limited.load_state_dict(model.state_dict())
    few = batch.select(torch.arange(6))
    old, new = few.histories().clone(), few.histories().clone()
    old[:, :-3] = 7
    new[:, -3] = 7
    asked = few.joined(few.with_histories(old)).joined(few.with_histories(new))
    forwards = []
    for limit in (None, 3):
        limited.history_limit = limit
        victim = make_victim(limited.eval(), world, batch)
        victim.reset(3)
        torch.testing.assert_close(victim.scores(asked), plain_scores(limited, asked))
        assert victim.effort.queries == 18, "what is not scored is paid for"
        forwards.append(victim.effort.forwards)
    assert forwards == [18, 12]


def test_an_unknown_example_is_refused(victim: Victim, world: AttackerKnowledge) -> None:
    with pytest.raises(ValueError, match="not in the victim's clean batch"):
        victim.scores(make_batch(world.catalog, first_id=10_000))


def test_clean_users_are_encoded_once(victim: Victim, batch: Batch) -> None:
    victim.scores(batch)
    victim.scores(batch.select(torch.tensor([3, 5])))
    assert victim.effort.user_encodings == len(batch.users)
    assert victim.effort.cache_hits == 2


def test_attacked_histories_are_encoded_for_the_rows_asked_about_only(victim: Victim, batch: Batch) -> None:
    victim.history_item_vectors()
    changed = batch.with_histories(batch.histories())
    before = victim.effort.user_encodings
    victim.scores(changed.select(torch.tensor([0, 4, 4])))
    assert victim.effort.user_encodings - before == 2


def test_embedding_gradients_match_finite_differences(victim: Victim, batch: Batch) -> None:
    one = batch.select(torch.tensor([2]))
    _, gradient, mask = victim.embedding_gradient(one)
    step = torch.zeros_like(gradient)
    step[0, 1, 3] = 1e-2
    slope = (victim.scores(one.with_delta(step)) - victim.scores(one.with_delta(-step))) / 2e-2
    assert float(slope) == pytest.approx(float(gradient[0, 1, 3]), rel=2e-2, abs=1e-4)
    assert mask[0, 1]


def test_history_gradients_match_finite_differences(model: ToyRecommender, victim: Victim, batch: Batch) -> None:
    one = batch.select(torch.tensor([2]))
    _, embedded, gradient = victim.history_gradient(one)
    step = torch.zeros_like(embedded)
    step[0, -1, 3] = 1e-2
    users, candidates = one.users.select(one.rows), model.candidates(one.items)
    with torch.no_grad():
        up, down = (model.score(model.encode_user(users, embedded + s), candidates) for s in (step, -step))
    assert float((up - down) / 2e-2) == pytest.approx(float(gradient[0, -1, 3]), rel=2e-2, abs=1e-4)


def test_word_slopes_are_token_gradients_by_word(victim: Victim, model: ToyRecommender, batch: Batch) -> None:
    _, gradient, mask = victim.embedding_gradient(batch)
    slopes, current = victim.word_slopes(batch)
    embedded = model.embed(model.candidates(batch.items))
    assert torch.allclose(slopes, gradient * mask.unsqueeze(-1), atol=1e-6)
    assert torch.allclose(current, (gradient * embedded * mask.unsqueeze(-1)).sum(dim=2), atol=1e-5)


def test_word_vectors_are_the_models_own(victim: Victim, model: ToyRecommender) -> None:
    vectors = victim.word_vectors(["boat", "guitar"])
    assert torch.allclose(vectors, model.words(model.tokenize(["boat", "guitar"]).ids)[:, 0])


def test_a_model_whose_item_vectors_depend_on_the_history_is_not_looked_up(
    model: ToyRecommender, world: AttackerKnowledge, batch: Batch
) -> None:
    class Contextual(ToyRecommender):
        def embed_history(self, users):  # type: ignore[no-untyped-def]
            vectors = super().embed_history(users)
            return vectors * (1 + torch.arange(vectors.shape[1])).unsqueeze(-1)

    contextual = Contextual(world.catalog)
    contextual.load_state_dict(model.state_dict())
    victim = make_victim(contextual.eval(), world, batch)
    changed = batch.with_histories(batch.histories().flip(0))
    assert torch.allclose(victim.scores(changed), plain_scores(contextual, changed), atol=1e-5)


@pytest.mark.parametrize("keeps", [False, True])
def test_items_are_looked_up_for_a_model_that_does_not_keep_them(
    model: ToyRecommender, world: AttackerKnowledge, batch: Batch, monkeypatch: pytest.MonkeyPatch, keeps: bool
) -> None:
    given: list[Tensor | None] = []
    encode = model.encode_user

    def watched(users: Users, embeddings: Tensor | None = None) -> UserState:
        given.append(embeddings)
        return encode(users, embeddings)

    monkeypatch.setattr(model, "encode_user", watched)
    model.keeps_items = keeps
    victim, changed = make_victim(model, world, batch), batch.with_histories(batch.histories().flip(0))
    assert torch.allclose(victim.scores(changed), plain_scores(model, changed), atol=1e-5)
    assert (given[0] is None) == keeps


def test_the_scale_leaves_padding_out(model: ToyRecommender, world: AttackerKnowledge) -> None:
    scale = embedding_scale(model, world.catalog, chunk=7)
    whole = embedding_scale(model, world.catalog)
    assert scale.norm == pytest.approx(whole.norm)
    assert scale.rms == pytest.approx(whole.rms)
    with torch.no_grad():
        tokens = torch.cat([model.words(model.tokenize([text]).ids)[0] for text in world.catalog.texts])
    assert whole.norm == pytest.approx(float(tokens.norm(dim=1).mean()), rel=1e-5)
    assert whole.rms == pytest.approx(float(tokens.pow(2).mean().sqrt()), rel=1e-5)


def test_a_random_model_is_asked_several_times_and_the_mean_given(
    model: ToyRecommender, world: AttackerKnowledge, batch: Batch
) -> None:
    class Noisy(ToyRecommender):
        def score(self, user, candidates, embeddings=None):  # type: ignore[no-untyped-def]
            scores = super().score(user, candidates, embeddings)
            return scores + torch.randn_like(scores)

    noisy = Noisy(world.catalog)
    noisy.load_state_dict(model.state_dict())
    torch.manual_seed(0)
    once, often = make_victim(noisy.eval(), world, batch), make_victim(noisy, world, batch)
    often.samples = 64
    clean = make_victim(model, world, batch).scores(batch)
    assert (often.scores(batch) - clean).abs().mean() < (once.scores(batch) - clean).abs().mean() / 4
    assert (often.effort.queries, often.effort.forwards) == (len(batch), 64 * len(batch))
    often.embedding_gradient(batch)
    assert often.effort.backwards == 64 * len(batch)


def test_a_chunk_that_does_not_fit_is_halved_and_nothing_is_lost(
    model: ToyRecommender, world: AttackerKnowledge, batch: Batch
) -> None:
    class Small(ToyRecommender):
        def score(self, user, candidates, embeddings=None):  # type: ignore[no-untyped-def]
            if len(candidates) > 10:
                raise torch.OutOfMemoryError("no room")
            return super().score(user, candidates, embeddings)

    small = Small(world.catalog)
    small.load_state_dict(model.state_dict())
    victim, roomy = make_victim(small.eval(), world, batch), make_victim(model, world, batch)
    assert torch.allclose(victim.scores(batch), roomy.scores(batch), atol=1e-6)
    assert victim.chunk <= 10
    assert victim.effort.queries == len(batch)
    assert torch.allclose(victim.embedding_gradient(batch)[1], roomy.embedding_gradient(batch)[1], atol=1e-6)
    assert torch.allclose(victim.history_gradient(batch)[2], roomy.history_gradient(batch)[2], atol=1e-6)


def test_an_error_that_is_not_about_memory_is_raised(
    model: ToyRecommender, world: AttackerKnowledge, batch: Batch
) -> None:
    class Broken(ToyRecommender):
        def score(self, user, candidates, embeddings=None):  # type: ignore[no-untyped-def]
            raise RuntimeError("shape mismatch")

    broken = Broken(world.catalog)
    broken.load_state_dict(model.state_dict())
    with pytest.raises(RuntimeError, match="shape mismatch"):
        make_victim(broken.eval(), world, batch).scores(batch)


def test_what_words_do_is_learned_on_references_that_are_no_test_examples(
    model: ToyRecommender, world: AttackerKnowledge, batch: Batch
) -> None:
    victim = make_victim(model, world, batch)
    victim.reset(0)
    effects = victim.word_effects(["boat", "soup"])
    assert world.references is not None
    assert effects.shape == (2, len(world.references))
    assert not set(world.references.example_ids.tolist()) & set(batch.example_ids.tolist())
    assert effects.abs().sum() > 0
    assert (Victim(model, AttackerKnowledge(world.catalog), victim.scale, batch).word_effects(["boat"]) == 0).all()

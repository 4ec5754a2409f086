from __future__ import annotations

from pathlib import Path

import pytest
import torch
from thin_models import thin_bert
from torch import Tensor
from toy_recommender import make_batch
from transformers import AutoModel, AutoTokenizer

from recgauntlet.core.batch import Batch, Users, UserState
from recgauntlet.core.dataset import Catalog, TaskData
from recgauntlet.core.errors import PluginError
from recgauntlet.core.types import PAD
from recgauntlet.data.encoder import model_path
from recgauntlet.threats.embedding_scale import embedding_scale
from recgauntlet.threats.knowledge import AttackerKnowledge
from recgauntlet.threats.victim import Victim
from recgauntlet.training.defense import click_loss, model_scores
from recgauntlet_baselines.models._layers import in_length_groups
from recgauntlet_baselines.models._pretrained import load, read_first_alone
from recgauntlet_baselines.models.bert import GROUPED, BertRanker


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> str:
    return thin_bert(tmp_path_factory.mktemp("thin-bert"))


def make(
    data: TaskData,
    checkpoint: str,
    *,
    max_length: int = 64,
    tuned_layers: int = 1,
    one_way: bool = True,
    **options: int,
) -> BertRanker:
    torch.manual_seed(0)
    return BertRanker(
        data.catalog,
        token_length=12,
        checkpoint=checkpoint,
        max_length=max_length,
        tuned_layers=tuned_layers,
        one_way=one_way,
        **options,
    ).eval()


@pytest.fixture(scope="module", params=[True, False], ids=["one-way", "joint"])
def model(request: pytest.FixtureRequest, data: TaskData, checkpoint: str) -> BertRanker:
    return make(data, checkpoint, one_way=request.param)


@torch.no_grad()
def test_scores_do_not_depend_on_the_rest_of_the_batch(model: BertRanker, batch: Batch) -> None:
    whole = model_scores(model, batch)
    assert float(whole.std()) > 1e-4, "the scores must differ for this test to mean anything"
    alone = []
    for i in range(len(batch)):
        one = batch.select(torch.tensor([i]))
        alone.append(model_scores(model, one.with_histories(one.histories())))
    torch.testing.assert_close(whole, torch.cat(alone), rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_states_of_different_chunks_can_be_joined(model: BertRanker, batch: Batch) -> None:
    whole = model.encode_user(batch.users)
    parts = [model.encode_user(batch.users.select(torch.arange(i, i + 4))) for i in (0, 4, 8)]
    joined = UserState(tuple(torch.cat(part) for part in zip(*(p.tensors for p in parts), strict=True)))
    candidates = model.candidates(batch.items)
    torch.testing.assert_close(
        model.score(joined.select(batch.rows), candidates),
        model.score(whole.select(batch.rows), candidates),
        rtol=1e-4,
        atol=1e-5,
    )


@torch.no_grad()
@pytest.mark.parametrize(
    "options",
    [{"one_way": True, "history_items": 2}, {"one_way": False, "max_length": 24}],  # ten tokens: an item or two
    ids=["one-way", "joint"],
)
def test_the_oldest_history_is_cut_first(data: TaskData, checkpoint: str, options: dict[str, int]) -> None:
    narrow = make(data, checkpoint, **options)
    newest = Users(torch.tensor([0, 1]), torch.tensor([[1, 2, 3, 4, 5, 6], [9, 2, 3, 4, 5, 6]]))
    oldest = Users(torch.tensor([0, 1]), torch.tensor([[1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 5, 9]]))
    first, second = narrow.encode_user(newest).tensors[0]
    assert torch.equal(first, second), "what does not fit must not be read"
    first, second = narrow.encode_user(oldest).tensors[0]
    assert not torch.equal(first, second)


@torch.no_grad()
def test_users_without_a_history_get_numbers(model: BertRanker) -> None:
    users = Users(torch.tensor([0, 1]), torch.tensor([[PAD, PAD], [PAD, 3]]))
    state = model.encode_user(users)
    assert torch.isfinite(model.score(state, model.candidates(torch.tensor([1, 2])))).all()
    nobody = Users(torch.tensor([0]), torch.tensor([[PAD, PAD]]))
    alone = model.score(model.encode_user(nobody), model.candidates(torch.tensor([1])))
    both = model.score(state, model.candidates(torch.tensor([1, 2])))
    torch.testing.assert_close(alone, both[:1], rtol=1e-4, atol=1e-5)


def test_words_are_told_by_their_tokens(model: BertRanker) -> None:
    tokens = model.tokenize(["boat qqq ship", ""])
    places = tokens.word_of_token[0].tolist()
    assert places == sorted(places)
    assert set(places) == {0, 1, 2}
    for word, text in enumerate(["boat", "qqq", "ship"]):
        alone = model.tokenize([text])
        assert places.count(word) == int(alone.mask.sum())
    assert int(tokens.mask[1].sum()) == 1


def test_gradient_reaches_the_words_through_both_sides(data: TaskData, checkpoint: str, batch: Batch) -> None:
    model = make(data, checkpoint, one_way=False, tuned_layers=0)
    click_loss(model_scores(model, batch), batch).backward()
    words = model.bert.get_input_embeddings().weight.grad
    assert words is not None
    boat = int(model.tokenize(["boat"]).ids[0, 0])
    assert words[boat].any()


def test_gradient_reaches_the_items_of_a_history_and_their_places(
    data: TaskData, checkpoint: str, batch: Batch
) -> None:
    model = make(data, checkpoint, history_items=4)
    handle = model.embed_history(batch.users).requires_grad_()
    state = model.encode_user(batch.users, handle).select(batch.rows)
    model.score(state, model.candidates(batch.items)).sum().backward()
    assert handle.grad is not None
    read = batch.users.histories >= 0
    read[:, :-4] = False
    assert torch.equal(handle.grad.abs().sum(dim=2) > 0, read)
    assert model.places.grad is not None
    assert model.places.grad.any(dim=2).all()


def test_the_layers_on_top_learn_and_those_below_draw_no_dropout(data: TaskData, checkpoint: str, batch: Batch) -> None:
    model = make(data, checkpoint, tuned_layers=1).train()
    learning = {name for name, p in model.named_parameters() if p.requires_grad}
    assert all(name.startswith(("bert.encoder.layer.1.", "head.", "item_norm.", "places")) for name in learning)
    assert any(name.startswith("bert.") for name in learning)
    assert not any(part.training for part in model.bert.encoder.layer[0].modules())
    assert not model.bert.embeddings.dropout.training
    click_loss(model_scores(model, batch), batch).backward()
    assert all(p.grad is None for name, p in model.named_parameters() if name not in learning)
    whole = {
        name for name, p in make(data, checkpoint, one_way=False, tuned_layers=0).named_parameters() if p.requires_grad
    }
    assert any(name.startswith("bert.embeddings") for name in whole)


def test_layers_are_kept_from_the_bottom(data: TaskData, checkpoint: str) -> None:
    both = make(data, checkpoint)
    one = BertRanker(data.catalog, token_length=12, checkpoint=checkpoint, max_length=64, layers=1)
    assert len(one.bert.encoder.layer) == 1
    kept, first = one.bert.encoder.layer[0].state_dict(), both.bert.encoder.layer[0].state_dict()
    assert all(torch.equal(kept[name], first[name]) for name in first)


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"layers": 3}, "layers"),
        ({"layers": -1}, "layers"),
        ({"max_length": 10, "one_way": False}, "max_length"),
        ({"max_length": 4000, "one_way": False}, "max_length"),
        ({"tuned_layers": 0}, "tuned_layers"),
        ({"tuned_layers": -1, "one_way": False, "max_length": 64}, "tuned_layers"),
    ],
)
def test_options_that_do_not_fit_are_refused(
    data: TaskData, checkpoint: str, options: dict[str, int | str], field: str
) -> None:
    with pytest.raises(PluginError) as caught:
        BertRanker(data.catalog, token_length=12, checkpoint=checkpoint, **options)  # type: ignore[arg-type]
    assert caught.value.field == field
    assert "choose" in caught.value.remedy


@torch.no_grad()
def test_trimming_keeps_what_is_said_of_the_catalogs_texts(data: TaskData, checkpoint: str, batch: Batch) -> None:
    trimmed = make(data, checkpoint)
    whole = BertRanker(data.catalog, token_length=12, checkpoint=checkpoint, tuned_layers=1, trim_vocabulary=False)
    whole.head.load_state_dict(trimmed.head.state_dict())
    torch.testing.assert_close(model_scores(trimmed, batch), model_scores(whole.eval(), batch), rtol=1e-4, atol=1e-5)
    vocabulary = (Path(checkpoint) / "vocab.txt").read_text(encoding="utf-8").split()
    first, second, other = [word for word in vocabulary if len(word) > 5 and word.isalpha()][:3]
    catalog = Catalog(("a", "b"), (first, f"{second} {first}"), ("", ""))
    small = BertRanker(catalog, token_length=12, checkpoint=checkpoint, max_length=64)
    rows = len(small.bert.get_input_embeddings().weight)
    assert rows == 5 + 2 * 36 + 2, "special tokens, letters inside and before a word, and two words"
    unknown = small.tokenize([""]).ids[0, 0]
    assert small.tokenize([other]).ids[0].tolist() == [unknown]
    letters = small.tokenize(["x", "q", second]).ids[:, 0].tolist()
    assert len({*letters, int(unknown)}) == 4


def test_a_batch_is_read_in_groups_of_like_length(data: TaskData, checkpoint: str, batch: Batch) -> None:
    model = make(data, checkpoint, one_way=False)
    read: list[tuple[int, ...]] = []
    inside = model.bert.encoder.layer[0].register_forward_pre_hook(
        lambda module, given: read.append(tuple(given[0].shape[:2]))
    )
    state = model.encode_user(batch.users).select(batch.rows)
    candidates = model.candidates(batch.items)
    with torch.no_grad():
        model.score(state, candidates)
    inside.remove()
    lengths = sorted((state.tensors[1].sum(dim=1) + candidates.tokens.mask.sum(dim=1) + 2).tolist())
    assert len(batch) >= GROUPED
    assert sum(rows for rows, _ in read) == len(batch)
    assert max(width for _, width in read) == lengths[-1]
    assert sum(rows * width for rows, width in read) < 0.8 * len(batch) * lengths[-1] + 0.2 * sum(lengths)


def test_a_checkpoint_that_is_not_there_is_named(data: TaskData, tmp_path: Path) -> None:
    missing = str(tmp_path / "nothing")
    with pytest.raises(PluginError) as caught:
        BertRanker(data.catalog, token_length=12, checkpoint=missing)
    assert caught.value.where == missing
    assert "config.json" in caught.value.remedy


def test_the_default_encoder_comes_with_the_package(data: TaskData, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    model = BertRanker(data.catalog, token_length=12, layers=1).eval()
    with torch.no_grad():
        scores = model_scores(model, make_batch(data.catalog, users=2))
    assert scores.shape == (4,)
    assert torch.isfinite(scores).all()
    assert model.embed(model.candidates(torch.tensor([0]))).shape[2] == 384


@torch.no_grad()
def test_the_last_layer_that_reads_the_first_token_alone_gives_the_state_of_the_whole_layer() -> None:
    _, encoder = load(str(model_path()))
    encoder.eval()
    words = torch.randn(3, 9, encoder.config.hidden_size, generator=torch.Generator().manual_seed(0))
    mask = torch.ones(3, 9, dtype=torch.int64)
    mask[1, 5:] = 0
    whole = encoder(inputs_embeds=words, attention_mask=mask).last_hidden_state[:, 0]
    read_first_alone(encoder)
    alone = encoder(inputs_embeds=words, attention_mask=mask).last_hidden_state
    assert alone.shape[1] == 1
    torch.testing.assert_close(alone[:, 0], whole, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_the_upper_layers_are_the_encoders_with_a_mask_by_which_an_item_sees_itself_alone(
    data: TaskData, checkpoint: str, batch: Batch
) -> None:
    model = make(data, checkpoint)
    scores = model_scores(model, batch)
    assert float(scores.std()) > 1e-4
    below = AutoModel.from_pretrained(checkpoint, num_hidden_layers=1).eval()
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)

    def read_alone(item: int) -> Tensor:
        hidden: Tensor = below(**tokenizer(model.catalog.texts[item], return_tensors="pt")).last_hidden_state[0]
        return hidden

    for row in range(6):
        items = [item for item in batch.histories()[row].tolist() if item != PAD][::-1]
        history = torch.stack([read_alone(item).mean(dim=0) for item in items])
        candidate = read_alone(int(batch.items[row]))
        both = torch.cat([candidate, model.item_norm(history)])[None]
        seen = torch.eye(both.shape[1], dtype=torch.bool)
        seen[: len(candidate)] = True
        mask = torch.where(seen, 0.0, torch.finfo(torch.float32).min)[None, None]
        hidden = model.bert.encoder.layer[1](both, attention_mask=mask)
        hidden = hidden[0] if isinstance(hidden, tuple) else hidden
        torch.testing.assert_close(model.head(hidden[:, 0]).squeeze(-1), scores[row : row + 1], rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_an_item_counts_by_its_place(data: TaskData, checkpoint: str) -> None:
    model = make(data, checkpoint)
    users = Users(torch.tensor([0, 1]), torch.tensor([[PAD, 1, 2, 3], [PAD, 3, 2, 1]]))
    candidates = model.candidates(torch.tensor([5, 5]))
    first, second = model.score(model.encode_user(users), candidates)
    torch.testing.assert_close(first, second)
    model.places.normal_()
    first, second = model.score(model.encode_user(users), candidates)
    assert abs(float(first - second)) > 1e-3


@torch.no_grad()
def test_a_pass_over_a_candidate_reads_the_candidate_alone(data: TaskData, checkpoint: str, batch: Batch) -> None:
    model = make(data, checkpoint)
    state = model.encode_user(batch.users).select(batch.rows)
    candidates = model.candidates(batch.items)
    read: list[int] = []
    key = model.bert.encoder.layer[0].attention.self.key
    inside = key.register_forward_pre_hook(lambda module, given: read.append(given[0].shape[0] * given[0].shape[1]))
    model.score(state, candidates)
    inside.remove()
    once = model.candidates(torch.unique(batch.items))
    assert len(once) < len(candidates), "each text once"
    real = int((once.tokens.mask.sum(dim=1) + 2).sum())
    assert real <= sum(read) < 1.3 * real, "groups of like length hold few pads"


def test_a_search_over_histories_reads_the_keys_that_are_kept(data: TaskData, checkpoint: str, batch: Batch) -> None:
    model = make(data, checkpoint).eval().requires_grad_(False)
    world = AttackerKnowledge(data.catalog)
    victim = Victim(model, world, embedding_scale(model, data.catalog), batch)
    victim.scores(batch.with_histories(batch.histories().flip(0)))
    made: list[int] = []
    model.item_norm.register_forward_hook(lambda _, given, out: made.append(len(out)))
    victim.scores(batch.with_histories(batch.histories().roll(1, 0)))
    assert made == []


def test_keys_of_items_that_are_kept_follow_the_weights(data: TaskData, checkpoint: str, batch: Batch) -> None:
    model = make(data, checkpoint)

    def kept_and_made() -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            kept = model.encode_user(batch.users).tensors[0]
        return kept, model.encode_user(batch.users).tensors[0].detach()  # with gradients nothing is kept

    first, made = kept_and_made()
    torch.testing.assert_close(first, made)
    with torch.no_grad():
        model._upper[0].attention.self.key.weight.mul_(1.5)
    second, made = kept_and_made()
    torch.testing.assert_close(second, made)
    assert not torch.allclose(first, second)
    model.load_state_dict({name: 0.5 * value for name, value in model.state_dict().items()})
    third, made = kept_and_made()
    torch.testing.assert_close(third, made)
    assert not torch.allclose(second, third)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half, _ = kept_and_made()
    assert half.dtype == torch.bfloat16
    assert torch.equal(kept_and_made()[0], third)


def test_large_rows_are_moved_only_where_groups_save_enough() -> None:
    calls: list[int] = []

    def encode(embedded: Tensor, mask: Tensor, past: Tensor) -> Tensor:
        calls.append(embedded.shape[1])
        return (embedded.sum(dim=2) * mask).sum(dim=1) + past

    embedded, past = torch.rand(60, 10, 2), torch.arange(60.0)
    lengths = torch.arange(60) % 10 + 1
    mask = torch.arange(10) < lengths[:, None]
    expected = (embedded.sum(dim=2) * mask).sum(dim=1) + past
    for worth, widths in ((0.0, [2, 4, 5, 7, 9, 10]), (0.5, [10])):  # the groups save 38 %
        calls.clear()
        torch.testing.assert_close(
            in_length_groups(encode, embedded, mask, least=2, whole=[past], worth=worth), expected
        )
        assert calls == widths

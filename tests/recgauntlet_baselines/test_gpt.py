from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, TypeVar

import psutil
import pytest
import torch
from blank_checkpoint import INFO
from safetensors.torch import load_file, save_file
from thin_models import CAUSAL, thin_bert, thin_gpt
from torch import Tensor
from toy_recommender import make_batch
from transformers import AutoModel

from recgauntlet.core.batch import Batch, Users, UserState
from recgauntlet.core.dataset import TaskData
from recgauntlet.core.errors import PluginError, RecordError
from recgauntlet.core.types import PAD
from recgauntlet.training.checkpoint import load_weights, save_checkpoint
from recgauntlet.training.defense import click_loss, model_scores
from recgauntlet_baselines.models.gpt import GPTRanker
from recgauntlet_baselines.models.gpt_small import GPTSmall

Ranker = GPTRanker | GPTSmall
OWN = ("head", "project", "places")
"""What `gpt` learns beside the updates of the pretrained model."""


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> str:
    return thin_gpt(tmp_path_factory.mktemp("thin-gpt"))


def small(data: TaskData, history_items: int = 4) -> GPTSmall:
    torch.manual_seed(0)
    model = GPTSmall(data.catalog, token_length=12, width=16, history_items=history_items, history_tokens=6)
    with torch.no_grad():
        model.reader.wpe.weight.normal_(std=0.3)
    return felt(model)


def make(data: TaskData, checkpoint: str, *, history_items: int = 4, **options: Any) -> GPTRanker:
    torch.manual_seed(0)
    model = GPTRanker(
        data.catalog,
        token_length=12,
        checkpoint=checkpoint,
        read_layers=1,
        history_items=history_items,
        **({"layers": 0, "rank": 0} | options),
    )
    torch.nn.init.normal_(model.places, std=0.1)
    return felt(model)


T = TypeVar("T", GPTRanker, GPTSmall)


def felt(model: T) -> T:
    """With a head that makes differences large."""
    with torch.no_grad():
        model.head.weight.normal_()
    return model.eval()


@pytest.fixture(scope="module", params=["small", *CAUSAL, *(f"{family}-together" for family in CAUSAL)])
def model(request: pytest.FixtureRequest, data: TaskData, tmp_path_factory: pytest.TempPathFactory) -> Ranker:
    if request.param == "small":
        return small(data)
    family = request.param.removesuffix("-together")
    checkpoint = thin_gpt(tmp_path_factory.mktemp(f"thin-{family}"), family=family, pads=family == "qwen2")
    return make(data, checkpoint, alone=family == request.param)


@pytest.fixture(scope="module")
def batch(data: TaskData) -> Batch:
    return make_batch(data.catalog, users=70, seed=7)


@torch.no_grad()
def test_scores_through_the_cache_are_those_of_the_whole_sequence(model: Ranker, batch: Batch) -> None:
    scores = model_scores(model, batch)
    assert float(scores.std()) > 1e-2
    for row in range(8):
        past = [item for item in batch.histories()[row].tolist() if item != PAD][-4:]
        bar = model.frame.closing
        shown = model.tokenize([model.catalog.texts[int(batch.items[row])]])
        candidate = model.frame_vectors([*shown.ids[0].tolist(), *bar])
        before = words_of(model, past) if isinstance(model, GPTSmall) else items_of(model, past)
        begin, sequence = len(before), torch.cat([before, candidate])
        places = torch.arange(len(sequence)) + model._room - begin  # the candidate begins at one place for all
        sees = torch.ones(len(sequence), len(sequence), dtype=torch.bool).tril()
        if isinstance(model, GPTRanker) and model.alone:
            places[0] = 0
            sees[:begin, :begin] = torch.eye(begin, dtype=torch.bool)
        mask = torch.where(sees, 0.0, -torch.inf)[None, None]
        hidden = model.reader(inputs_embeds=sequence[None], position_ids=places[None], attention_mask=mask)
        hidden = hidden.last_hidden_state
        read = hidden[0, begin:].mean(dim=0)
        torch.testing.assert_close(model.head(read), scores[row : row + 1], rtol=1e-4, atol=1e-4)


def words_of(model: GPTSmall, past: list[int]) -> Tensor:
    """`[P, D]`: what stands before a candidate, word by word."""
    ids = [*model.frame.opening]
    for item in past:
        tokens = model.tokenize([model.catalog.texts[item]])
        ids += [*tokens.ids[0][tokens.mask[0]].tolist()[:6], *model.frame.separator]
    return model.frame_vectors(ids)


def items_of(model: GPTRanker, past: list[int]) -> Tensor:
    """`[P, D]`: what stands before a candidate, item by item."""
    items = [
        model.project(model.item_vectors[item]) + model.places[len(model.places) - len(past) + n]
        for n, item in enumerate(past)
    ]
    bar = model.frame_vectors(model.frame.opening)
    return torch.cat([bar, torch.stack(items), bar])


@torch.no_grad()
def test_an_item_is_what_the_pretrained_model_makes_of_its_text(data: TaskData, checkpoint: str) -> None:
    model = make(data, checkpoint, rank=2)
    below = AutoModel.from_pretrained(checkpoint, num_hidden_layers=1).eval()
    vectors = []
    for text in model.catalog.texts:
        ids = [*model.frame.opening, *model.tokenize([text]).ids[0].tolist()]
        vectors.append(below(input_ids=torch.tensor([ids])).last_hidden_state[0, 1:].mean(dim=0))
    centred = torch.stack(vectors) - torch.stack(vectors).mean(dim=0)
    torch.testing.assert_close(
        model.item_vectors / model.item_vectors.std(), centred / centred.std(), rtol=1e-3, atol=1e-3
    )
    assert "item_vectors" not in model.state_dict(), "made anew from the pretrained model, not kept in checkpoints"


def test_gradients_reach_the_history_through_the_cache_and_the_candidate(model: Ranker, batch: Batch) -> None:
    past = model.embed_history(batch.users).detach().requires_grad_()
    state = model.encode_user(batch.users, past).select(batch.rows)
    candidates = model.candidates(batch.items)
    embedded = model.embed(candidates).detach().requires_grad_()
    model.score(state, candidates, embedded).sum().backward()
    assert past.grad is not None
    assert embedded.grad is not None
    read = (batch.users.histories >= 0).clone()
    read[:, :-4] = False
    assert torch.equal(past.grad.abs().sum(dim=2) > 0, read)
    assert torch.equal(embedded.grad.abs().sum(dim=2) > 0, candidates.tokens.mask)
    model.zero_grad(set_to_none=True)


@torch.no_grad()
def test_a_state_is_selected_and_joined_and_used_again(model: Ranker, batch: Batch) -> None:
    candidates = model.candidates(batch.items)
    state = model.encode_user(batch.users)
    expected = model.score(state.select(batch.rows), candidates)
    torch.testing.assert_close(model.score(state.select(batch.rows), candidates), expected)
    parts = [model.encode_user(batch.users.select(torch.arange(i, i + 35))) for i in (0, 35)]
    joined = UserState(tuple(torch.cat(part) for part in zip(*(p.tensors for p in parts), strict=True)))
    torch.testing.assert_close(model.score(joined.select(batch.rows), candidates), expected, rtol=1e-4, atol=1e-4)
    few = torch.tensor([5, 0])
    alone = model.score(state.select(batch.rows[few]), model.candidates(batch.items[few]))
    torch.testing.assert_close(alone, expected[few], rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_scoring_a_candidate_reads_the_candidate_alone(model: Ranker, batch: Batch) -> None:
    state = model.encode_user(batch.users).select(batch.rows)
    candidates = model.candidates(batch.items)
    read: list[tuple[int, ...]] = []
    layers = model.reader.h if hasattr(model.reader, "h") else model.reader.layers
    inside = layers[0].register_forward_pre_hook(
        lambda module, given: read.append(tuple(given[0].shape)) if given else None
    )
    model.score(state, candidates)
    inside.remove()
    real = int((candidates.tokens.mask.sum(dim=1) + 1).sum())
    assert sum(shape[0] for shape in read) == len(batch)
    assert real <= sum(shape[0] * shape[1] for shape in read) < 1.3 * real, "groups of like length hold few pads"


@torch.no_grad()
def test_order_counts_and_the_oldest_items_are_not_read(model: Ranker) -> None:
    histories = torch.tensor([[1, 2, 3, 4, 5], [9, 2, 3, 4, 5], [1, 2, 3, 5, 4], [PAD, 2, 3, 4, 5]])
    state = model.encode_user(Users(torch.arange(4), histories))
    scores = model.score(state, model.candidates(torch.tensor([7, 7, 7, 7])))
    torch.testing.assert_close(scores[[1, 3]], scores[[0, 0]], rtol=1e-4, atol=1e-4)
    assert abs(float(scores[2] - scores[0])) > 1e-4


@torch.no_grad()
def test_users_without_a_history_get_numbers(model: Ranker) -> None:
    users = Users(torch.tensor([0, 1]), torch.tensor([[PAD, PAD], [PAD, 3]]))
    both = model.score(model.encode_user(users), model.candidates(torch.tensor([1, 2])))
    assert torch.isfinite(both).all()
    alone = model.score(model.encode_user(users.select(torch.tensor([0]))), model.candidates(torch.tensor([1])))
    torch.testing.assert_close(alone, both[:1], rtol=1e-4, atol=1e-4)


def test_gradient_reaches_every_layer_and_no_language_head_is_there(model: Ranker, batch: Batch) -> None:
    click_loss(model_scores(model, batch), batch).backward()
    silent = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert silent == []
    assert not any("lm_head" in name for name in model.state_dict())
    model.zero_grad(set_to_none=True)


def test_a_word_of_a_pretrained_model_has_its_blank(data: TaskData, checkpoint: str) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    text = "boat ship Zorblat"
    tokens = make(data, checkpoint).tokenize([text])
    assert tokens.ids[0].tolist() == tokenizer(f" {text}")["input_ids"][: tokens.ids.shape[1]]
    assert set(tokens.word_of_token[0].tolist()) == {0, 1, 2}


def test_low_rank_updates_alone_are_trained(data: TaskData, checkpoint: str, batch: Batch) -> None:
    whole, adapted = make(data, checkpoint), make(data, checkpoint, rank=2)
    adapted.head.load_state_dict(whole.head.state_dict())
    adapted.places.data.copy_(whole.places.data)
    torch.testing.assert_close(model_scores(adapted, batch), model_scores(whole, batch))
    learning = {name for name, p in adapted.named_parameters() if p.requires_grad}
    assert all(".lora_" in name or name.startswith(OWN) for name in learning)
    assert {name.split(".lora_")[0].rsplit(".", 1)[-1] for name in learning} >= {"c_attn", "c_proj", "c_fc"}
    click_loss(model_scores(adapted, batch), batch).backward()
    moved = {name for name, p in adapted.named_parameters() if p.grad is not None and p.grad.any()}
    assert moved == {name for name in learning if ".lora_A." not in name}, "B is 0 at first, so A has no gradient yet"


def test_layers_are_kept_from_the_bottom(data: TaskData, checkpoint: str) -> None:
    both, one = make(data, checkpoint), make(data, checkpoint, layers=1)
    assert len(one.reader.h) == 1
    kept, first = one.reader.h[0].state_dict(), both.reader.h[0].state_dict()
    assert all(torch.equal(kept[name], first[name]) for name in first)
    with pytest.raises(PluginError, match="of 2 layers") as caught:
        make(data, checkpoint, layers=3)
    assert caught.value.field == "layers"


def test_a_word_like_a_special_token_is_read_as_any_other(data: TaskData, checkpoint: str) -> None:
    tokens = make(data, checkpoint).tokenize(["boat <|endoftext|> ship"])
    assert 0 not in tokens.ids[tokens.mask].tolist()


def test_what_cannot_be_read_is_refused(data: TaskData, checkpoint: str, tmp_path: Path) -> None:
    with pytest.raises(PluginError, match="left to right") as caught:
        make(data, thin_bert(tmp_path), history_items=2)
    assert caught.value.field == "checkpoint"
    with pytest.raises(PluginError, match="positions") as caught:
        make(data, checkpoint, history_items=400)
    assert caught.value.field == "history_items"
    with pytest.raises(PluginError, match="reads nothing") as caught:
        GPTRanker(data.catalog, token_length=12, checkpoint=checkpoint, read_layers=0)
    assert caught.value.field == "read_layers"


def test_bad_checkpoints_are_refused_with_what_to_do(data: TaskData, checkpoint: str, tmp_path: Path) -> None:
    def refused(place: Path | str, match: str) -> PluginError:
        with pytest.raises(PluginError, match=match) as caught:
            make(data, str(place))
        assert caught.value.remedy
        assert caught.value.where == str(place)
        return caught.value

    pickled = tmp_path / "pickled"
    shutil.copytree(checkpoint, pickled)
    (pickled / "model.safetensors").rename(pickled / "pytorch_model.bin")
    assert "save_pretrained" in refused(pickled, "pickled weights only").remedy
    foreign = tmp_path / "foreign"
    shutil.copytree(checkpoint, foreign)
    text = (foreign / "tokenizer.json").read_text(encoding="utf-8")
    described = json.loads(text)
    described["model"]["vocab"]["zzzz"] = 5000
    (foreign / "tokenizer.json").write_text(json.dumps(described), encoding="utf-8")
    assert "tokenizer files" in refused(foreign, "tokenizer does not fit").remedy
    cut = tmp_path / "cut"
    shutil.copytree(checkpoint, cut)
    weights = (cut / "model.safetensors").read_bytes()
    (cut / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    refused(cut, "cannot be loaded")
    other = tmp_path / "other"
    shutil.copytree(checkpoint, other)
    shutil.copy(Path(thin_bert(tmp_path)) / "model.safetensors", other / "model.safetensors")
    refused(other, "lacks")
    refused(tmp_path / "nothing", "no such directory")


def test_a_model_that_needs_more_memory_than_is_free_is_refused(
    data: TaskData, checkpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = psutil.virtual_memory()._replace(available=1000)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: free)
    with pytest.raises(PluginError, match="GiB") as caught:
        make(data, checkpoint)
    assert "fewer layers" in caught.value.remedy


def test_a_checkpoint_holds_the_updates_and_the_head_alone(data: TaskData, checkpoint: str, tmp_path: Path) -> None:
    trained, again = (make(data, checkpoint, rank=4) for _ in range(2))
    with torch.no_grad():
        for name, value in trained.named_parameters():
            value.add_(0.1 if value.requires_grad else 0.0)
            assert value.requires_grad == ("lora" in name or name.startswith(OWN))
    path = tmp_path / "gpt.safetensors"
    save_checkpoint(trained, INFO, path)
    assert {name.split(".")[0] for name in load_file(path)} == {"reader", *OWN}
    assert all("lora" in name or name.startswith(OWN) for name in load_file(path))
    load_weights(again, path)
    assert all(map(torch.equal, again.state_dict().values(), trained.state_dict().values()))


def test_the_weights_of_another_model_under_the_same_name_are_refused(data: TaskData, tmp_path: Path) -> None:
    place = tmp_path / "model"
    place.mkdir()
    save_checkpoint(make(data, thin_gpt(place), rank=4), INFO, tmp_path / "gpt.safetensors")
    weights = load_file(place / "model.safetensors")
    save_file({name: value * 1.01 for name, value in weights.items()}, place / "model.safetensors", {"format": "pt"})
    with pytest.raises(RecordError, match=r"was trained on .*model with the SHA-256"):
        load_weights(make(data, str(place), rank=4), tmp_path / "gpt.safetensors")


def test_keys_of_items_that_are_kept_follow_the_weights(data: TaskData, checkpoint: str, batch: Batch) -> None:
    model = make(data, checkpoint, rank=2)
    states = []
    for _ in range(2):
        made = model.encode_user(batch.users).tensors[1].detach()  # with gradients nothing is kept
        with torch.no_grad():
            for users in (batch.users.select(torch.arange(9)), batch.users):  # some rows are there, some are made
                kept = model.encode_user(users).tensors[1]
        torch.testing.assert_close(kept, made, rtol=1e-4, atol=1e-5)
        states.append(kept)
        with torch.no_grad():
            model.project.weight.mul_(1.5)
    assert not torch.allclose(*states)

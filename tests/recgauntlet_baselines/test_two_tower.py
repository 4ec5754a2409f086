from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import pytest
import torch
from thin_models import thin_bert
from toy_recommender import make_batch

from recgauntlet.core.batch import Batch, Users
from recgauntlet.core.dataset import TaskData
from recgauntlet.core.errors import PluginError
from recgauntlet.data.encoder import sentence_vectors
from recgauntlet.training.defense import click_loss, model_scores
from recgauntlet_baselines.models.two_tower import TwoTower


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> str:
    return thin_bert(tmp_path_factory.mktemp("thin-bert"))


def make(
    data: TaskData, checkpoint: str, *, layers: int = 0, tuned_layers: int = 1, history_items: int = 50
) -> TwoTower:
    torch.manual_seed(0)
    return TwoTower(
        data.catalog,
        token_length=12,
        checkpoint=checkpoint,
        layers=layers,
        tuned_layers=tuned_layers,
        item_size=16,
        attention_size=8,
        history_items=history_items,
    ).eval()


@pytest.fixture(scope="module")
def batch(data: TaskData) -> Batch:
    return make_batch(data.catalog, users=40, seed=7)


@torch.no_grad()
def test_before_training_an_item_is_the_sentence_vector_of_its_text(data: TaskData) -> None:
    torch.manual_seed(0)
    model = TwoTower(data.catalog, token_length=32, item_size=8).eval()
    model.dense = torch.nn.Linear(384, 384)
    model.dense.weight.copy_(torch.eye(384))
    model.dense.bias.zero_()
    users = Users(torch.tensor([0]), torch.tensor([[3, 11]]))
    found = torch.nn.functional.normalize(model.embed_history(users)[0], dim=1)
    expected = torch.from_numpy(sentence_vectors([data.catalog.texts[i] for i in (3, 11)]))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_what_is_kept_of_the_catalog_gives_what_all_layers_give(data: TaskData, checkpoint: str, batch: Batch) -> None:
    model = make(data, checkpoint)
    candidates = model.candidates(batch.items)
    state = model.encode_user(batch.users).select(batch.rows)
    kept = model.score(state, candidates)
    assert float(kept.std()) > 1e-4
    torch.testing.assert_close(kept, model.score(state, candidates, model.embed(candidates)), rtol=1e-4, atol=1e-6)
    changed = model.candidates(batch.items, ["boat ship"] * len(batch))
    assert not torch.allclose(model.score(state, changed), kept, atol=1e-4)


def test_a_training_step_runs_the_learning_layers_alone_once_an_item(
    data: TaskData, checkpoint: str, batch: Batch
) -> None:
    model = make(data, checkpoint).train()
    model_scores(model, batch)  # reads the catalog
    rows: list[int] = []

    def forbidden(*args: object, **options: object) -> None:
        raise AssertionError("a frozen layer was run")

    def count(module: object, given: tuple[torch.Tensor, ...]) -> None:
        rows.append(len(given[0]))

    model.encoder.encoder.layer[1].register_forward_pre_hook(count)
    with patch.object(model.encoder.encoder.layer[0], "forward", forbidden):
        scores = model_scores(model, batch)
    past, shown = batch.users.histories, batch.items
    assert sum(rows) == len(torch.unique(past.clamp(min=0))) + len(torch.unique(shown))
    click_loss(scores, batch).backward()
    learned = {name for name, p in model.named_parameters() if p.grad is not None and p.grad.any()}
    assert any(name.startswith("encoder.encoder.layer.1.") for name in learned)
    assert not any(name.startswith(("encoder.encoder.layer.0.", "encoder.embeddings.")) for name in learned)
    assert {name for name in learned if not name.startswith("encoder.")} >= {"dense.weight", "history_pool.key.weight"}


@torch.no_grad()
@pytest.mark.parametrize("place", ["encoder.layer.1", "encoder.layer.0", "embeddings"])
def test_weights_that_change_are_seen_however_they_were_written(
    data: TaskData, checkpoint: str, batch: Batch, place: str
) -> None:
    model = make(data, checkpoint)
    before = model.encode_user(batch.users).tensors[0]
    assert torch.equal(before, model.encode_user(batch.users).tensors[0])
    for weight in model.encoder.get_submodule(place).parameters():
        weight.data.mul_(1.5)
    after = model.encode_user(batch.users).tensors[0]
    assert not torch.allclose(before, after, atol=1e-3)
    fresh = make(data, checkpoint)
    fresh.load_state_dict(model.state_dict())
    torch.testing.assert_close(after, fresh.encode_user(batch.users).tensors[0])


@torch.no_grad()
def test_evaluation_encodes_the_catalog_once(data: TaskData, checkpoint: str, batch: Batch) -> None:
    model = make(data, checkpoint)
    model.encode_user(batch.users)
    with patch.object(model, "_finish", side_effect=AssertionError("encoded again")):
        model.encode_user(batch.users)
        model.score(model.encode_user(batch.users).select(batch.rows), model.candidates(batch.items))


def test_frozen_layers_draw_no_dropout(data: TaskData, checkpoint: str, batch: Batch) -> None:
    model = make(data, checkpoint, tuned_layers=0).train()
    with torch.no_grad():
        assert torch.equal(model_scores(model, batch), model_scores(model, batch))
        model = make(data, checkpoint).train()
        assert not torch.equal(model_scores(model, batch), model_scores(model, batch))


@torch.no_grad()
def test_only_the_newest_items_are_read(data: TaskData, checkpoint: str) -> None:
    model = make(data, checkpoint, history_items=2)
    users = Users(torch.tensor([0, 1, 2]), torch.tensor([[1, 2, 3], [9, 2, 3], [1, 2, 9]]))
    first, oldest, newest = model.encode_user(users).tensors[0]
    assert torch.equal(first, oldest)
    assert not torch.allclose(first, newest, atol=1e-5)
    assert model.embed_history(users).shape == (3, 3, 16)


@torch.no_grad()
def test_a_text_of_another_item_is_not_taken_for_its_own(data: TaskData, checkpoint: str, batch: Batch) -> None:
    model = make(data, checkpoint)
    candidates = model.candidates(batch.items)
    shifted = replace(candidates, items=candidates.items.roll(1))
    state = model.encode_user(batch.users).select(batch.rows)
    torch.testing.assert_close(model.score(state, shifted), model.score(state, candidates), rtol=1e-4, atol=1e-6)


@torch.no_grad()
def test_layers_are_kept_from_the_bottom(data: TaskData, checkpoint: str, batch: Batch) -> None:
    both, one = make(data, checkpoint), make(data, checkpoint, layers=1)
    assert len(one.encoder.encoder.layer) == 1
    for kept, own in zip(
        one.encoder.encoder.layer[0].parameters(), both.encoder.encoder.layer[0].parameters(), strict=True
    ):
        assert torch.equal(kept, own)
    assert one.encoder.encoder.layer[0].attention.self.query.weight.requires_grad
    assert one.score(one.encode_user(batch.users).select(batch.rows), one.candidates(batch.items)).isfinite().all()


def test_options_that_do_not_fit_are_refused(data: TaskData, checkpoint: str, tmp_path: Path) -> None:
    with pytest.raises(PluginError) as caught:
        make(data, checkpoint, tuned_layers=3)
    assert caught.value.field == "tuned_layers"
    with pytest.raises(PluginError) as caught:
        make(data, checkpoint, layers=3)
    assert caught.value.field == "layers"
    with pytest.raises(PluginError) as caught:
        make(data, str(tmp_path / "nothing"))
    assert caught.value.field == "checkpoint"

"""Encoders of every family are trained for a step and attacked, and adversarial training works on every language
model."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from thin_models import thin_bert, thin_encoder, thin_gpt
from toy_recommender import make_batch

from recgauntlet.core.batch import Batch
from recgauntlet.core.dataset import TaskData
from recgauntlet.core.errors import PluginError
from recgauntlet.core.recommender import Recommender
from recgauntlet.core.rng import Randomness
from recgauntlet.core.scoring import score_batch
from recgauntlet.threats.gradients import input_gradient
from recgauntlet.training.defense import Defense
from recgauntlet.training.trainer import AdamWTrainer
from recgauntlet_baselines.defenses.fgm import FGM
from recgauntlet_baselines.defenses.fgsm import FGSM
from recgauntlet_baselines.defenses.freelb import FreeLB
from recgauntlet_baselines.defenses.pgd import PGD
from recgauntlet_baselines.defenses.smart import SMART
from recgauntlet_baselines.defenses.trades import TRADES
from recgauntlet_baselines.defenses.vat import VAT
from recgauntlet_baselines.models.bert import BertRanker
from recgauntlet_baselines.models.gpt import GPTRanker
from recgauntlet_baselines.models.two_tower import TwoTower

FAMILIES = ("roberta", "distilbert", "mpnet", "electra", "deberta", "deberta-v2")
ONE_WAY = ("bert", "roberta", "electra")
"""Families whose layers give keys and values."""


@pytest.fixture(scope="module")
def batch(data: TaskData) -> Batch:
    return make_batch(data.catalog, users=6, seed=7)


@pytest.fixture(scope="module")
def models(data: TaskData, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Callable[[], Recommender]]:
    encoder = thin_bert(tmp_path_factory.mktemp("thin-bert"))
    causal = thin_gpt(tmp_path_factory.mktemp("thin-gpt"))
    common = {"catalog": data.catalog, "token_length": 12}
    return {
        "bert": partial(BertRanker, **common, checkpoint=encoder, max_length=64, tuned_layers=1),
        "gpt": partial(GPTRanker, **common, checkpoint=causal, layers=2, read_layers=1, rank=2, history_items=4),
        "two-tower": partial(TwoTower, **common, checkpoint=encoder, item_size=8, attention_size=8),
    }


def step(model: Recommender, defense: Defense, batch: Batch) -> set[str]:
    """The weights that one step of training moved."""
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    trainer = AdamWTrainer(model.train(), 4, Randomness(0, "test"), "fp32")
    assert torch.isfinite(torch.tensor(trainer.advance(defense, batch)))
    model.eval()
    return {name for name, value in model.named_parameters() if not torch.equal(before[name], value)}


@pytest.mark.parametrize("defense", [FGSM, FGM, PGD, FreeLB, TRADES, SMART, VAT])
@pytest.mark.parametrize("name", ["bert", "gpt", "two-tower"])
def test_adversarial_training_moves_what_learns_and_nothing_else(
    name: str, defense: type[Defense], models: dict[str, Callable[[], Recommender]], batch: Batch
) -> None:
    torch.manual_seed(0)
    model = models[name]()
    moved = step(model, defense(), batch)
    learning = {each for each, value in model.named_parameters() if value.requires_grad}
    assert moved
    assert moved <= learning


@pytest.mark.parametrize("family", FAMILIES)
def test_an_encoder_is_trained_for_a_step_and_attacked(
    family: str, data: TaskData, batch: Batch, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    checkpoint = thin_encoder(tmp_path, family)
    options = {"token_length": 12, "checkpoint": checkpoint, "max_length": 64, "tuned_layers": 1}
    if family not in ONE_WAY:
        with pytest.raises(PluginError, match="one_way=false"):
            BertRanker(data.catalog, **options)  # type: ignore[arg-type]
    model = BertRanker(data.catalog, **options, one_way=family in ONE_WAY)  # type: ignore[arg-type]
    moved = step(model, PGD(), batch)
    assert any(name.startswith("bert.") for name in moved)
    assert not any("embeddings" in name for name in moved)
    with torch.no_grad():
        state = model.encode_user(batch.users).select(batch.rows)
        candidates = model.candidates(batch.items)
        plain = model.score(state, candidates)
        embedded = model.embed(candidates)
        alone = model.score(state.select(torch.tensor([3])), model.candidates(batch.items[3:4]))
    torch.testing.assert_close(alone, plain[3:4], rtol=1e-4, atol=1e-4)
    handle = embedded.clone().requires_grad_()
    gradient = input_gradient(model.score(state, candidates, handle), handle)
    assert torch.equal(gradient.abs().sum(dim=2) > 0, candidates.tokens.mask), "padding and special tokens have no part"
    with torch.no_grad():
        assert (model.score(state, candidates, embedded + 0.5 * gradient.sign()) - plain).abs().max() > 1e-4


@pytest.mark.parametrize(("family", "limit"), [("roberta", 97), ("mpnet", 96), ("distilbert", 96)])
def test_an_encoder_reads_no_further_than_its_positions_reach(
    family: str, limit: int, data: TaskData, batch: Batch, tmp_path: Path
) -> None:
    checkpoint = thin_encoder(tmp_path, family)
    options = {"token_length": 12, "checkpoint": checkpoint, "history_items": 40, "one_way": False}
    with pytest.raises(PluginError, match="max_length") as caught:
        BertRanker(data.catalog, **options, max_length=limit + 1)  # type: ignore[arg-type]
    assert str(limit) in caught.value.remedy
    model = BertRanker(data.catalog, **options, max_length=limit).eval()  # type: ignore[arg-type]
    users = batch.users.select(torch.zeros(1, dtype=torch.long))
    long = type(users)(users.ids, torch.arange(39)[None])
    with torch.no_grad():
        assert torch.isfinite(model.score(model.encode_user(long), model.candidates(torch.tensor([1])))).all()


@torch.no_grad()
@pytest.mark.parametrize("name", ["bert", "gpt"])
def test_items_older_than_the_limit_are_not_read(
    models: dict[str, Callable[[], Recommender]], batch: Batch, name: str
) -> None:
    torch.manual_seed(0)
    model = models[name]().eval()
    assert model.history_limit
    items = torch.arange(len(batch)).unsqueeze(1) + torch.arange(model.history_limit + 2)
    other = items.clone()
    other[:, :2] = items.flip(0)[:, :2]
    scores = score_batch(model, batch.with_histories(items % 40))
    torch.testing.assert_close(score_batch(model, batch.with_histories(other % 40)), scores)
    other[:, -1] += 20
    assert not torch.allclose(score_batch(model, batch.with_histories(other % 40)), scores, atol=1e-6)

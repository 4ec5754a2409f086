from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from thin_models import thin_gpt
from tiny_task import make_spec, write_task
from toy_recommender import make_batch
from transformers import AutoModelForCausalLM, AutoTokenizer

from recgauntlet.core.dataset import TaskData
from recgauntlet.core.errors import PluginError
from recgauntlet.core.types import PAD
from recgauntlet.records.io import read_record
from recgauntlet.runner.cell import run_cell
from recgauntlet.training.build import open_cell
from recgauntlet.training.defense import model_scores
from recgauntlet_baselines.models.llm_prompt import ANSWERS, ASKED, LLMPrompt

TEMPLATE = "{% for m in messages %}<u>{{ m.content }}</u>{% endfor %}<a>"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> str:
    return thin_gpt(tmp_path_factory.mktemp("asked"), positions=400)


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_task(tmp_path_factory.mktemp("tiny-task"))


def make(data: TaskData, checkpoint: str) -> LLMPrompt:
    model = LLMPrompt(data.catalog, token_length=12, checkpoint=checkpoint, history_items=4, history_tokens=6)
    return model.eval()


@pytest.mark.parametrize(("family", "template"), [("gpt2", ""), ("llama", TEMPLATE), ("llama-untied", TEMPLATE)])
@torch.no_grad()
def test_the_score_is_the_difference_of_the_answers_logits(
    data: TaskData, tmp_path: Path, family: str, template: str
) -> None:
    place = thin_gpt(tmp_path, positions=400, family=family.removesuffix("-untied"))
    tokenizer = AutoTokenizer.from_pretrained(place)
    if template:
        tokenizer.chat_template = template
        tokenizer.save_pretrained(place)
    whole = AutoModelForCausalLM.from_pretrained(place)
    if family == "llama-untied":
        whole.config.tie_word_embeddings = False
        whole.lm_head.weight = torch.nn.Parameter(torch.randn_like(whole.lm_head.weight))
        whole.save_pretrained(place)
    model = make(data, place)
    batch = make_batch(data.catalog, users=3, seed=7)
    scores = model_scores(model, batch)
    asked = f"<u>{ASKED}</u><a>" if template else ASKED + "\n"
    for row, score in enumerate(scores):
        past = [item for item in batch.histories()[row].tolist() if item != PAD][-4:]

        def piece(item: int, most: int) -> list[int]:
            tokens = model.tokenize([data.catalog.texts[item]])
            return tokens.ids[0][tokens.mask[0]].tolist()[:most]

        def ids(text: str) -> list[int]:
            return list(tokenizer(text, add_special_tokens=False)["input_ids"])

        before, rest = asked.split("{history}")
        between, after = rest.split("{candidate}")
        read = ids(before)
        for item in past:
            read += [*piece(item, 6), *ids("\n")]
        start = len(read) + len(ids(between))
        read += [*ids(between), *piece(int(batch.items[row]), 12), *ids(after)]
        places = torch.arange(len(read)) + model._room - start  # a candidate begins at one place for all
        logits = whole(input_ids=torch.tensor([read]), position_ids=places[None]).logits[0, -1]
        yes, no = (logits[ids(answer)[0]] for answer in ANSWERS)
        torch.testing.assert_close(score, yes - no, rtol=1e-4, atol=1e-4)
    assert float(scores.std()) > 1e-3


def test_calibration_puts_half_of_the_scores_above_zero(data: TaskData, checkpoint: str) -> None:
    model = make(data, checkpoint)
    batch = make_batch(data.catalog, users=20, seed=3)
    with torch.no_grad():
        before = model_scores(model, batch)
        model.calibrate(before)
        after = model_scores(model, batch)
    torch.testing.assert_close(after, before - before.median())
    assert abs(int((after > 0).sum()) - len(after) / 2) <= 1


def test_a_cell_is_calibrated_and_not_trained(card: Path, checkpoint: str, tmp_path: Path) -> None:
    options: Any = (("checkpoint", checkpoint), ("history_items", 2), ("history_tokens", 4))
    spec = replace(
        make_spec(card, tmp_path, tmp_path / "cache", "standard"),
        model="llm-prompt",
        model_options=options,
        test_pairs=3,
    )
    run_cell(spec)
    record = read_record(spec.record_path)
    assert spec.checkpoint_path.stat().st_size < 10_000  # the pretrained weights are not repeated
    assert record.status == "ok"
    assert record.cost is not None
    assert (record.epochs, record.cost.forwards, record.cost.flops) == ((), 0, 0.0)
    assert all(threat.applicable for threat in record.threats)


def test_a_defense_of_training_is_refused_and_one_of_inference_is_not(card: Path, checkpoint: str) -> None:
    spec = replace(
        make_spec(card, Path("out"), Path("cache"), "pgd"),
        model="llm-prompt",
        model_options=(("checkpoint", checkpoint),),
    )
    with pytest.raises(PluginError, match="is not trained") as caught:
        open_cell(spec)
    assert caught.value.field == "defense"
    assert open_cell(replace(spec, defense="unicode-normalize")).defense.name == "unicode-normalize"


def test_a_body_without_its_head_is_refused(data: TaskData, checkpoint: str, tmp_path: Path) -> None:
    from transformers import AutoModel

    place = tmp_path / "body"
    shutil.copytree(checkpoint, place)
    body = AutoModel.from_pretrained(place)
    body.config.tie_word_embeddings = False
    body.save_pretrained(place)
    with pytest.raises(PluginError, match=r"no lm_head.weight") as caught:
        make(data, str(place))
    assert caught.value.field == "checkpoint"

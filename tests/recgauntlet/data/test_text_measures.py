from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from recgauntlet.data import text_measures
from recgauntlet.data.text_measures import START, TextMeasures

TEXTS = ["red mug", "blue mug with a lid", "a", "mug " * 12, "red mug with a lid"]


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A causal language model of one thin layer over letters, with drawn weights."""
    path = tmp_path_factory.mktemp("models") / "thin-model"
    letters = [START, *"abcdefghijklmnopqrstuvwxyz "]
    tokenizer = Tokenizer(models.WordLevel({letter: n for n, letter in enumerate(letters)}, unk_token=START))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer.decoder = decoders.Fuse()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=START, unk_token=START).save_pretrained(path)
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=len(letters),
        n_positions=64,
        n_embd=8,
        n_layer=1,
        n_head=2,
        initializer_range=0.5,
        bos_token_id=0,
        eos_token_id=0,
    )
    GPT2LMHeadModel(config).save_pretrained(path)
    return path


def by_hand(measures: TextMeasures, text: str) -> float:
    """The perplexity of one text alone: the token before each token predicts it, the first after the start."""
    tokenizer, model = measures._load()
    ids = [0, *tokenizer(text, add_special_tokens=False)["input_ids"]]
    with torch.inference_mode():
        logs = model(torch.tensor([ids])).logits[0].log_softmax(dim=1)
    return math.exp(-float(np.mean([float(logs[n, own]) for n, own in enumerate(ids[1:])])))


def test_ratios_are_those_of_perplexities_of_single_texts(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_measures, "BATCH_TOKENS", 40)  # several batches, with padding in them
    measures = TextMeasures(directory)
    others = TEXTS[::-1]
    alone = {text: by_hand(measures, text) for text in TEXTS}
    assert len({round(value, 3) for value in alone.values()}) == len(TEXTS)
    expected = [alone[after] / alone[before] for before, after in zip(TEXTS, others, strict=True)]
    assert measures.perplexity_ratios(TEXTS, others) == pytest.approx(expected, rel=1e-4)


def test_a_text_is_measured_once_however_often_it_is_asked_for(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measures = TextMeasures(directory)
    asked: list[str] = []
    inner = measures._measured

    def watched(texts: Any) -> list[float]:
        asked.extend(texts)
        return inner(texts)

    monkeypatch.setattr(measures, "_measured", watched)
    first = measures.perplexity_ratios([TEXTS[0], TEXTS[0]], [TEXTS[1], TEXTS[2]])
    again = measures.perplexity_ratios([TEXTS[0]], [TEXTS[1]])
    assert again[0] == first[0]
    assert sorted(asked) == sorted(TEXTS[:3])


def test_an_unchanged_text_has_ratio_and_cosine_one_and_an_empty_one_can_be_measured(directory: Path) -> None:
    measures = TextMeasures(directory)
    assert measures.perplexity_ratios(["red mug"], ["red mug"]).tolist() == [1.0]
    assert measures.cosines(["red mug"], ["red mug"]) == pytest.approx([1.0], abs=1e-5)
    assert measures.perplexity_ratios([""], ["red mug"]) == pytest.approx([by_hand(measures, "red mug")], rel=1e-4)
    assert measures.perplexity_ratios([], []).shape == measures.cosines([], []).shape == (0,)


def test_sentence_vectors_tell_another_meaning_from_another_spelling(directory: Path) -> None:
    measures = TextMeasures(directory)
    spelling, meaning = measures.cosines(["red coffee mug"] * 2, ["red coffee mugs", "election results today"])
    assert spelling > 0.9 > 0.5 > meaning


def test_the_name_of_the_model_is_that_of_its_directory(directory: Path) -> None:
    assert TextMeasures(directory).language_model == "thin-model"

from __future__ import annotations

import pytest
import torch

from recgauntlet_baselines.models import _layers
from recgauntlet_baselines.models._layers import WordTokenizer


def test_a_word_is_remembered_with_no_more_tokens_than_a_text_has() -> None:
    tokenize = WordTokenizer(
        lambda words: [list(range(1, len(word) + 1)) for word in words], length=8, unknown=9, pad=0
    )
    tokens = tokenize(["x" * 1500, "ab x"], torch.device("cpu"))
    assert tokens.ids.tolist() == [[1, 2, 3, 4, 5, 6, 7, 8], [1, 2, 1, 0, 0, 0, 0, 0]]
    assert tokens.word_of_token.tolist()[1] == [0, 0, 1, -1, -1, -1, -1, -1]
    assert max(map(len, tokenize._known.values())) == 8


def test_words_that_nobody_asks_for_any_more_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_layers, "MOST_WORDS", 3)
    asked: list[str] = []

    def pieces(words: list[str]) -> list[list[int]]:
        asked.extend(words)
        return [[len(word)] for word in words]

    tokenize = WordTokenizer(pieces, length=4, unknown=1, pad=0)
    cpu = torch.device("cpu")
    first = tokenize(["a bb ccc dddd"], cpu)
    assert torch.equal(tokenize(["a bb ccc dddd"], cpu).ids, first.ids)
    assert asked == ["a", "bb", "ccc", "dddd"] * 2

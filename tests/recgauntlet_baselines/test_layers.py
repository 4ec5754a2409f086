from __future__ import annotations

import torch

from recgauntlet_baselines.models._layers import WordTokenizer


def test_a_word_is_remembered_with_no_more_tokens_than_a_text_has() -> None:
    tokenize = WordTokenizer(
        lambda words: [list(range(1, len(word) + 1)) for word in words], length=8, unknown=9, pad=0
    )
    tokens = tokenize(["x" * 1500, "ab x"], torch.device("cpu"))
    assert tokens.ids.tolist() == [[1, 2, 3, 4, 5, 6, 7, 8], [1, 2, 1, 0, 0, 0, 0, 0]]
    assert tokens.word_of_token.tolist()[1] == [0, 0, 1, -1, -1, -1, -1, -1]
    assert max(map(len, tokenize._known.values())) == 8

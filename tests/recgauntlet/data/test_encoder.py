"""What is read from the encoder's files without loading the encoder equals what transformers reads from them."""

from __future__ import annotations

import numpy as np
from transformers import AutoModel, AutoTokenizer

from recgauntlet.data.encoder import model_path, word_pieces, word_table

WORDS = [
    "hello",
    "naïve",
    "日本語",
    "ﬁne",
    "a\u0301b",
    "x" * 150,
    "don't",
    "U.S.",
    "½",
    "\u200bfoo",
    "İstanbul",
    "",
    "[CLS]",
]


def test_words_and_their_vectors_are_those_of_the_encoder() -> None:
    tokenizer = AutoTokenizer.from_pretrained(str(model_path()), local_files_only=True)
    pieces, table = word_table()
    coded = [each.ids for each in word_pieces().encode_batch(WORDS, add_special_tokens=False)]
    assert coded == tokenizer(WORDS, add_special_tokens=False)["input_ids"]
    assert list(pieces) == tokenizer.convert_ids_to_tokens(range(len(pieces)))
    vectors = AutoModel.from_pretrained(str(model_path()), local_files_only=True).get_input_embeddings().weight
    np.testing.assert_array_equal(table, vectors.detach().numpy())


def test_long_texts_are_neither_cut_nor_padded() -> None:
    lengths = [len(each.ids) for each in word_pieces().encode_batch(["a", "a " * 300], add_special_tokens=False)]
    assert lengths == [1, 300]

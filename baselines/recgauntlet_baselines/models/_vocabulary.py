"""Words as the text models that are trained from scratch read them: MiniLM's pieces and vectors, cut to a catalog."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recgauntlet.core.dataset import Catalog
from recgauntlet.data.encoder import word_pieces, word_table
from recgauntlet_baselines.models._layers import WordTokenizer

PAD_ID, UNKNOWN_ID, FIRST_ID = 0, 1, 2


def word_inputs(catalog: Catalog, token_length: int, size: int) -> tuple[WordTokenizer, nn.Embedding]:
    """The tokenizer of a catalog's pieces, and their trainable vectors of `size` numbers, which start from MiniLM's."""
    compact = CompactPieces(catalog.texts)
    start = start_vectors(compact.pieces, size)
    tokenizer = WordTokenizer(compact, length=token_length, unknown=UNKNOWN_ID, pad=PAD_ID)
    return tokenizer, nn.Embedding(len(start), size, padding_idx=PAD_ID, _weight=start)


def encode_words(words: list[str]) -> list[list[int]]:
    """The ids of each word's MiniLM pieces."""
    return [coded.ids for coded in word_pieces().encode_batch(words, add_special_tokens=False)]


def catalog_pieces(texts: Sequence[str]) -> list[int]:
    """The word pieces that a catalog uses and every single character, as MiniLM ids in rising order."""
    words = sorted({word for text in texts for word in text.split()})
    used = {piece for ids in encode_words(words) for piece in ids}
    characters = {i for i, piece in enumerate(word_table()[0]) if len(piece.removeprefix("##")) == 1}
    return sorted(used | characters)


class CompactPieces:
    """Words to rows of a table of `FIRST_ID + len(pieces)` vectors, one a piece that `texts` use; other pieces are
    `UNKNOWN_ID`."""

    def __init__(self, texts: Sequence[str]) -> None:
        self.pieces = catalog_pieces(texts)
        self._rows = {piece: FIRST_ID + i for i, piece in enumerate(self.pieces)}

    def __call__(self, words: list[str]) -> list[list[int]]:
        return [[self._rows.get(piece, UNKNOWN_ID) for piece in ids] for ids in encode_words(words)]


def start_vectors(pieces: Sequence[int], size: int) -> Tensor:
    """`[FIRST_ID + len(pieces), size]`: MiniLM's vectors on their first `size` principal components, unit variance a
    dimension on average; padding is zero, the unknown word is the mean."""
    table = torch.from_numpy(word_table()[1])[list(pieces)].double()
    centred = table - table.mean(dim=0)
    _, _, axes = torch.linalg.svd(centred, full_matrices=False)
    axes = axes[:size]
    largest = axes.gather(1, axes.abs().argmax(dim=1, keepdim=True))
    vectors = centred @ (axes * largest.sign()).T  # the sign of an axis is the library's choice: fix it
    vectors = vectors / vectors.std(dim=0)
    vectors = F.pad(vectors, (0, size - vectors.shape[1]))
    return torch.cat([vectors.new_zeros(1, size), vectors.mean(dim=0, keepdim=True), vectors]).float()

from __future__ import annotations

import numpy as np
import torch

from recgauntlet.core.dataset import Impressions, Pairs
from recgauntlet.data.batches import impressions_to_batch, pairs_to_batch

PAIRS = Pairs(np.array([7, 8, 9]), np.arange(6).reshape(3, 2), np.array([10, 11, 12]), np.array([20, 21, 22]))
LISTS = Impressions(
    users=np.array([4, 5, 6]),
    histories=np.arange(6).reshape(3, 2),
    items=np.array([1, 2, 3, 4, 5, 6, 7]),
    labels=np.array([True, False, False, True, False, True, False]),
    offsets=np.array([0, 2, 5, 7]),
)


def test_pairs_are_clicked_and_unclicked_in_turn() -> None:
    batch = pairs_to_batch(PAIRS, np.array([2, 0]), first_id=100)
    assert batch.items.tolist() == [12, 22, 10, 20]
    assert batch.labels.tolist() == [1.0, 0.0, 1.0, 0.0]
    assert batch.rows.tolist() == [0, 0, 1, 1]
    assert batch.users.ids.tolist() == [9, 7]
    assert batch.histories().tolist() == [[4, 5], [4, 5], [0, 1], [0, 1]]


def test_an_example_keeps_its_id_whatever_batch_it_is_in() -> None:
    alone = pairs_to_batch(PAIRS, np.array([2]), first_id=100)
    among = pairs_to_batch(PAIRS, np.array([0, 1, 2]), first_id=100)
    assert alone.example_ids.tolist() == [104, 105] == among.example_ids.tolist()[4:]
    assert len(set(among.example_ids.tolist())) == 6


def test_impressions_follow_each_other_with_their_users() -> None:
    batch = impressions_to_batch(LISTS, np.array([2, 1]))
    assert batch.items.tolist() == [6, 7, 3, 4, 5]
    assert batch.labels.tolist() == [1.0, 0.0, 0.0, 1.0, 0.0]
    assert batch.rows.tolist() == [0, 0, 1, 1, 1]
    assert batch.users.ids.tolist() == [6, 5]
    assert batch.example_ids.tolist() == [5, 6, 2, 3, 4]


def test_an_empty_selection_gives_an_empty_batch() -> None:
    nothing = np.array([], dtype=np.int64)
    assert len(pairs_to_batch(PAIRS, nothing)) == 0
    assert len(impressions_to_batch(LISTS, nothing)) == 0
    assert pairs_to_batch(PAIRS, nothing).labels.dtype == torch.float32

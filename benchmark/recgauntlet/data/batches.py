"""Prepared examples as the batches that models and attacks take."""

from __future__ import annotations

import numpy as np
import torch

from recgauntlet.core.batch import Batch, Users
from recgauntlet.core.dataset import Impressions, Pairs
from recgauntlet.core.types import IntArray
from recgauntlet.data.examples import flat_indices


def pairs_to_batch(pairs: Pairs, index: IntArray, *, first_id: int = 0) -> Batch:
    """The pairs at `index [P]` as a batch of `2 P` examples: clicked, unclicked, clicked, ...

    Pair p of the whole has the example ids `first_id + 2 p` and `first_id + 2 p + 1`, whatever batch it is in.
    """
    index = np.asarray(index, dtype=np.int64)
    items = np.stack([pairs.clicked[index], pairs.unclicked[index]], axis=1).reshape(-1)
    ids = first_id + np.stack([2 * index, 2 * index + 1], axis=1).reshape(-1)
    return Batch(
        users=Users(torch.from_numpy(pairs.users[index]), torch.from_numpy(pairs.histories[index])),
        rows=torch.arange(len(index)).repeat_interleave(2),
        items=torch.from_numpy(items),
        labels=torch.tensor([1.0, 0.0]).repeat(len(index)),
        example_ids=torch.from_numpy(ids),
    )


def impressions_to_batch(impressions: Impressions, index: IntArray) -> Batch:
    """The impressions at `index [I]` as one batch, list after list; example ids are places in `impressions.items`."""
    index = np.asarray(index, dtype=np.int64)
    sizes = impressions.offsets[index + 1] - impressions.offsets[index]
    flat = flat_indices(impressions.offsets, index)
    return Batch(
        users=Users(torch.from_numpy(impressions.users[index]), torch.from_numpy(impressions.histories[index])),
        rows=torch.from_numpy(np.repeat(np.arange(len(index)), sizes)),
        items=torch.from_numpy(impressions.items[flat]),
        labels=torch.from_numpy(impressions.labels[flat].astype(np.float32)),
        example_ids=torch.from_numpy(flat),
    )

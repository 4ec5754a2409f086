"""The first test pairs of a task, where not all are attacked: a cheaper measurement that can be compared on them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from recgauntlet.core.card import TrackCard
from recgauntlet.core.dataset import AdLists, Impressions, TaskData
from recgauntlet.core.protocol import RANKED_IMPRESSIONS
from recgauntlet.records.comparability import hash_of_examples
from recgauntlet.records.schema import FirstPairs


def first_pairs(data: TaskData, count: int | None) -> TaskData:
    """`data` with its first `count` test pairs (None: all), and in proportion its first test impressions (with their
    popular candidates), rounded up and at least as many as rankings under attack need, and its first lists with
    simulated ads."""
    if count is None or count >= len(data.test):
        return data

    def part(whole: int) -> int:
        return -(-whole * count // len(data.test))

    impressions = max(part(len(data.impressions)), min(RANKED_IMPRESSIONS, len(data.impressions)))
    return replace(
        data,
        test=data.test.select(slice(count)),
        impressions=_first_impressions(data.impressions, impressions),
        test_ads=None if data.test_ads is None else _first_lists(data.test_ads, part(len(data.test_ads))),
        popular_impressions=(
            None if data.popular_impressions is None else _first_impressions(data.popular_impressions, impressions)
        ),
    )


def described(count: int | None, card: TrackCard, data: TaskData | None) -> FirstPairs | None:
    """What a record says of its first `count` test pairs of a track; None where these are all. The hash of all examples
    is empty where `data` is None or without test pairs, as in a cell that failed while it was trained."""
    if count is None or count >= card.test_pairs:
        return None
    return FirstPairs(
        pairs=count,
        all_pairs=card.test_pairs,
        all_impressions=card.test_impressions,
        examples="" if data is None or not len(data.test) else _hash_of_all(data),
    )


def _hash_of_all(data: TaskData) -> str:
    shown = data.impressions
    labels = np.tile([True, False], len(data.test))
    popular = None if data.popular_impressions is None else data.popular_impressions.labels
    return hash_of_examples(labels, shown.labels, np.diff(shown.offsets).tolist(), shown.users.tolist(), popular)


def _first_impressions(shown: Impressions, count: int) -> Impressions:
    end = shown.offsets[count]
    return Impressions(
        shown.users[:count], shown.histories[:count], shown.items[:end], shown.labels[:end], shown.offsets[: count + 1]
    )


def _first_lists(lists: AdLists, count: int) -> AdLists:
    return AdLists(lists.users[:count], lists.histories[:count], lists.items[:, :count], lists.taken[:, :count])

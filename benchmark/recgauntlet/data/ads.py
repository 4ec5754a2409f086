"""Simulated sponsorship on real behaviour: which items are sponsored, and the lists that users are shown."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from recgauntlet.core.card import AdThreat, Track, TrackCard
from recgauntlet.core.dataset import AdLists, Tables, TaskData
from recgauntlet.core.errors import DataError
from recgauntlet.core.rng import Randomness
from recgauntlet.core.types import BoolArray, IntArray
from recgauntlet.data.cleaning import pc
from recgauntlet.data.examples import periods, takes_of

FIFTHS = 5
"""Parts of the catalog by popularity, from each of which the same share is sponsored."""


def with_ads(data: TaskData, ads: AdThreat, name: Track, card: TrackCard, tables: Tables, where: str) -> TaskData:
    """`data` with lists of sponsored and organic candidates for users of the validation and the test period.

    A list stands at the middle of what its user took in the period: the history is what came before, and up to
    `ads.relevant` of what the user took from there on are organic candidates. All other candidates are drawn uniformly
    from what the user never took.

    Raises
    ------
    DataError
        Where a period has no user for a list, or a user has taken nearly everything.
    """
    table = tables.interactions
    assert table is not None  # the card asks for interactions
    takes = takes_of(table, pc.unique(table["user"]).sort(), data.catalog)
    users, items, times = takes.users, takes.items, takes.times
    in_train, in_valid, in_test = periods(card.split, users, times, where)
    rng = Randomness(card.sampling_seed, "ads")
    flags = sponsored_items(np.bincount(items[in_train], minlength=len(data.catalog)), ads, rng)

    def lists(period: str, inside: BoolArray) -> AdLists:
        draw = rng.child(period)
        rows = np.flatnonzero(inside & takes.has_history)
        found: list[tuple[int, IntArray]] = []
        for own in np.split(rows, np.flatnonzero(np.diff(users[rows])) + 1) if len(rows) else []:
            place = int(own[len(own) // 2])
            taken = items[own[own >= takes.history_ends[place]]]
            if all((~flag[taken]).any() for flag in flags):
                found.append((place, taken))
        if not found:
            raise DataError(
                f"no user of the {period} period has a history and an item that is not sponsored",
                where=where,
                field="ads",
                remedy="take the table ads off the card, or move the split so that the period is longer",
            )
        chosen = [found[n] for n in draw.numpy().permutation(len(found))[: ads.lists[name]]]
        places = np.array([place for place, _ in chosen])
        ever = [items[users == user] for user in users[places]]
        drawn = [
            [_list(ads, flag, taken, all_taken, draw.child(f"draw {number}").numpy(row), where)
             for row, ((_, taken), all_taken) in enumerate(zip(chosen, ever, strict=True))]
            for number, flag in enumerate(flags)
        ]  # fmt: skip
        return AdLists(
            users[places],
            takes.histories(places, card.history_length),
            np.array([[listed for listed, _ in one] for one in drawn]),
            np.array([[marks for _, marks in one] for one in drawn]),
        )

    return replace(data, valid_ads=lists("valid", in_valid), test_ads=lists("test", in_test))


def sponsored_items(clicks: IntArray, ads: AdThreat, rng: Randomness) -> BoolArray:
    """`[D, N]`: which items are sponsored in each draw, from `clicks [N]` in the training period. Each fifth of the
    items by popularity gives `ads.share` of its items, at least one."""
    flags = np.zeros((ads.draws, len(clicks)), dtype=np.bool_)
    fifths = np.array_split(np.argsort(clicks, kind="stable"), FIFTHS)
    for number, flag in enumerate(flags):
        for place, fifth in enumerate(fifths):
            size = max(1, round(ads.share * len(fifth)))
            flag[rng.child("sponsored").numpy(number, place).permutation(fifth)[:size]] = True
    return flags


def _list(
    ads: AdThreat, sponsored: BoolArray, taken: IntArray, ever: IntArray, draw: np.random.Generator, where: str
) -> tuple[IntArray, BoolArray]:
    """The candidates `[K]` of one list, and which of them the user took."""
    relevant = draw.permutation(taken[~sponsored[taken]])[: ads.relevant]
    never = np.ones(len(sponsored), dtype=np.bool_)
    never[ever] = False
    pools = [np.flatnonzero(never & mask) for mask in (~sponsored, sponsored)]
    sizes = [ads.organic - len(relevant), ads.sponsored]
    if any(len(pool) < size for pool, size in zip(pools, sizes, strict=True)):
        raise DataError(
            f"a user leaves {len(pools[0])} organic and {len(pools[1])} sponsored items to draw, where a list needs "
            f"{sizes[0]} and {sizes[1]}",
            where=where,
            field="ads",
            remedy="lower ads.organic or ads.sponsored, or raise ads.share",
        )
    others, shown = (draw.permutation(pool)[:size] for pool, size in zip(pools, sizes, strict=True))
    # In an order of its own: candidates with equal scores are ranked in the order of the list.
    order = draw.permutation(ads.organic)
    organic = np.concatenate([relevant, others])[order]
    return np.concatenate([organic, shown]), np.concatenate([order < len(relevant), np.zeros(len(shown), np.bool_)])

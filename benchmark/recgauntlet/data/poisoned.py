"""Training data with poison in it: its training pairs, made as the genuine ones are, among these."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

import numpy as np

from recgauntlet.core.card import TrackCard
from recgauntlet.core.dataset import Pairs, TaskData
from recgauntlet.core.poison import FakeAccounts, Insertions, Poison
from recgauntlet.core.rng import Randomness
from recgauntlet.core.types import BoolArray, IntArray
from recgauntlet.data.interactions import Interactions
from recgauntlet.data.negative_sampling import unseen
from recgauntlet.data.takes import Takes


@dataclass(frozen=True)
class PoisonedData:
    """A track's data with fake accounts among the training users, or with plays put into genuine accounts.

    data
        As models and defenses get it. Users are numbered anew; validation and test are otherwise the genuine ones.
    genuine
        `[user_count]` the index in `data` of each user of the genuine data.
    fakes
        `[A]` the index in `data` of each fake account. For the evaluator alone.
    """

    data: TaskData
    genuine: IntArray
    fakes: IntArray


def with_poison(data: TaskData, genuine: Interactions, poison: Poison, card: TrackCard) -> PoisonedData:
    """`data` with fake accounts, or with interactions in genuine accounts."""
    if isinstance(poison, Insertions):
        return with_insertions(data, genuine, poison, card)
    return with_accounts(data, genuine, poison, card)


def with_insertions(data: TaskData, genuine: Interactions, inserted: Insertions, card: TrackCard) -> PoisonedData:
    """`data` with interactions put into accounts of genuine users; exactly `data` where there are none.

    In their accounts, the histories of later training pairs hold what was inserted before: nothing else of a genuine
    pair changes, its unclicked candidate included. An inserted interaction becomes a click by the rules of
    `with_accounts`. Validation and test are the genuine ones.
    """
    size = len(genuine.catalog)
    own = genuine.training.where(np.isin(genuine.training.users, inserted.users))
    # Genuine plays at odd times, in their order; what stands before the play at place p is at the even time below it.
    takes = Takes.of(
        np.concatenate([own.users, inserted.users]),
        np.concatenate([own.items, inserted.items]),
        np.concatenate([2 * own.times + 1, 2 * inserted.places]),
    )
    rng = Randomness(card.sampling_seed, f"poisoned/{_digest(inserted.users, inserted.items, inserted.places)}")
    kept = replace(data.train, histories=data.train.histories.copy())
    rows = np.flatnonzero(np.isin(kept.users, inserted.users))
    keys = takes.users * size + takes.items
    order = np.argsort(keys)
    at = order[np.searchsorted(keys[order], kept.users[rows] * size + kept.clicked[rows])]
    kept.histories[rows] = takes.histories(at, card.history_length)
    added = _drawn_pairs(genuine, takes, np.isin(keys, inserted.keys(size)), card, rng, "the inserted plays")
    train = _merged(kept, added, *_slots(len(kept), len(added), rng.child("pairs")))
    none = np.zeros(0, dtype=np.int64)
    return PoisonedData(replace(data, train=train), np.arange(data.user_count), none)


def with_accounts(data: TaskData, genuine: Interactions, fakes: FakeAccounts, card: TrackCard) -> PoisonedData:
    """`data` with the accounts `fakes`; exactly `data` where there are none.

    The pairs of the accounts are made by the rules of the genuine ones (`recgauntlet.data.examples`): histories of what
    was taken in an earlier second, unclicked candidates drawn from what the account never took. Where the card takes a
    sample of the genuine clicks, each click of an account is taken with the same chance.

    Neither place nor number shows which are fake: the pairs stand at random places among the genuine ones, and the
    accounts have random numbers among the users, both of which keep their order. All draws depend on the card's
    `sampling_seed` and on the accounts, so they are the same for every model, defense and seed.
    """
    rng = Randomness(card.sampling_seed, f"poisoned/{_digest(fakes.accounts, fakes.items, fakes.times)}")
    takes = Takes.of(fakes.accounts, fakes.items, fakes.times)
    added = _drawn_pairs(genuine, takes, np.ones(len(takes), dtype=np.bool_), card, rng, "the fake accounts")
    numbers = _slots(data.user_count, fakes.count, rng.child("users"))
    places = _slots(len(data.train), len(added), rng.child("pairs"))
    users, accounts = numbers
    train = _merged(_renumbered(data.train, users), _renumbered(added, accounts), *places)
    popular = data.popular_impressions
    poisoned = replace(
        data,
        user_count=data.user_count + fakes.count,
        train=train,
        valid=_renumbered(data.valid, users),
        test=_renumbered(data.test, users),
        impressions=replace(data.impressions, users=users[data.impressions.users]),
        popular_impressions=None if popular is None else replace(popular, users=users[popular.users]),
        taken=None if data.taken is None else data.taken.renumbered(users, data.user_count + fakes.count),
    )
    return PoisonedData(poisoned, users, accounts)


def _digest(*parts: IntArray) -> str:
    """SHA-256 of the poison: with the seed of the card alone, a defense could draw numbers and places again."""
    return hashlib.sha256(b"".join(np.ascontiguousarray(part, dtype="<i8").tobytes() for part in parts)).hexdigest()


def _drawn_pairs(
    genuine: Interactions, takes: Takes, clicks: BoolArray, card: TrackCard, rng: Randomness, where: str
) -> Pairs:
    """The training pairs of those `clicks [N]` of `takes` that are drawn, each with the chance of a genuine click."""
    size, per_click = len(genuine.catalog), card.negatives.train_per_click
    wanted = -(-card.train_pairs // per_click)
    chance = wanted / int(genuine.training.has_history.sum())
    drawn = rng.child("clicks").numpy().random(len(takes)) < chance
    rows = np.flatnonzero(takes.has_history & drawn & clicks)
    unclicked = unseen(
        takes.users[rows],
        takes.keys(size),
        size,
        per_click,
        rng.child("unclicked").numpy(),
        where=where,
    )
    rows = np.repeat(rows, per_click)
    histories = takes.histories(rows, card.history_length)
    return Pairs(takes.users[rows], histories, takes.items[rows], unclicked.reshape(-1))


def untrained_pairs(trained: Pairs, takes: Takes, users: IntArray, size: int, rng: Randomness, most: int) -> Pairs:
    """Up to `most` pairs of `takes` that are not among the pairs `trained`, made by the rules of these.

    `users` are the indices in `trained` of the users of `takes`, `size` is the number of items. Which clicks are
    trained on is drawn, so a model that learned nothing of `trained` fits both alike.
    """
    keys = users[takes.users] * size + takes.items
    rows = np.flatnonzero(takes.has_history & ~np.isin(keys, trained.users * size + trained.clicked))
    rows = np.sort(rng.child("rows").numpy().permutation(rows)[:most])
    unclicked = unseen(
        takes.users[rows], takes.keys(size), size, 1, rng.child("unclicked").numpy(), where="the untrained pairs"
    )
    histories = takes.histories(rows, trained.histories.shape[1])
    return Pairs(users[takes.users[rows]], histories, takes.items[rows], unclicked.reshape(-1))


def _slots(kept: int, added: int, rng: Randomness) -> tuple[IntArray, IntArray]:
    """The places, among `kept + added`, of what is kept, in order, `[kept]`, and of what is added, `[added]`."""
    order = rng.numpy().permutation(kept + added)
    return np.sort(order[added:]), order[:added]


def _renumbered(pairs: Pairs, users: IntArray) -> Pairs:
    return replace(pairs, users=users[pairs.users])


def _merged(kept: Pairs, added: Pairs, kept_at: IntArray, added_at: IntArray) -> Pairs:
    order = np.argsort(np.concatenate([kept_at, added_at]))
    parts = zip(vars(kept).values(), vars(added).values(), strict=True)
    return Pairs(*(np.concatenate(part)[order] for part in parts))

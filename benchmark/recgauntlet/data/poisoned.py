"""Training data with fake accounts in it: their training pairs, made as the genuine ones are, among these."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

import numpy as np

from recgauntlet.core.card import TrackCard
from recgauntlet.core.dataset import Pairs, TaskData
from recgauntlet.core.poison import FakeAccounts
from recgauntlet.core.rng import Randomness
from recgauntlet.core.types import IntArray
from recgauntlet.data.interactions import Interactions
from recgauntlet.data.negative_sampling import unseen
from recgauntlet.data.takes import Takes


@dataclass(frozen=True)
class PoisonedData:
    """A track's data with fake accounts among the training users.

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


def with_accounts(data: TaskData, genuine: Interactions, fakes: FakeAccounts, card: TrackCard) -> PoisonedData:
    """`data` with the accounts `fakes`; exactly `data` where there are none.

    The pairs of the accounts are made by the rules of the genuine ones (`recgauntlet.data.examples`): histories of what
    was taken in an earlier second, unclicked candidates drawn from what the account never took. Where the card takes a
    sample of the genuine clicks, each click of an account is taken with the same chance.

    Neither place nor number shows which are fake: the pairs stand at random places among the genuine ones, and the
    accounts have random numbers among the users, both of which keep their order. All draws depend on the card's
    `sampling_seed` and on the accounts, so they are the same for every model, defense and seed.
    """
    rng = Randomness(card.sampling_seed, f"poisoned/{_digest(fakes)}")
    added = _pairs(genuine, fakes, card, rng)
    numbers = _slots(data.user_count, fakes.count, rng.child("users"))
    places = _slots(len(data.train), len(added), rng.child("pairs"))
    users, accounts = numbers
    train = _merged(_renumbered(data.train, users), _renumbered(added, accounts), *places)
    poisoned = replace(
        data,
        user_count=data.user_count + fakes.count,
        train=train,
        valid=_renumbered(data.valid, users),
        test=_renumbered(data.test, users),
        impressions=replace(data.impressions, users=users[data.impressions.users]),
    )
    return PoisonedData(poisoned, users, accounts)


def _digest(fakes: FakeAccounts) -> str:
    """SHA-256 of the accounts: with the seed of the card alone, a defense could draw their numbers again."""
    parts = (fakes.accounts, fakes.items, fakes.times)
    return hashlib.sha256(b"".join(np.ascontiguousarray(part, dtype="<i8").tobytes() for part in parts)).hexdigest()


def _pairs(genuine: Interactions, fakes: FakeAccounts, card: TrackCard, rng: Randomness) -> Pairs:
    """The training pairs of the accounts, whose users are the accounts' own numbers."""
    size, per_click = len(genuine.catalog), card.negatives.train_per_click
    takes = Takes.of(fakes.accounts, fakes.items, fakes.times)
    wanted = -(-card.train_pairs // per_click)
    chance = wanted / int(genuine.training.has_history.sum())
    drawn = rng.child("clicks").numpy().random(len(takes)) < chance
    rows = np.flatnonzero(takes.has_history & drawn)
    unclicked = unseen(
        takes.users[rows],
        takes.keys(size),
        size,
        per_click,
        rng.child("unclicked").numpy(),
        where="the fake accounts",
    )
    rows = np.repeat(rows, per_click)
    histories = takes.histories(rows, card.history_length)
    return Pairs(takes.users[rows], histories, takes.items[rows], unclicked.reshape(-1))


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

"""Defenses that would cheat against fake accounts: what each gains, and what gives it away.

| fake | gains | found by |
|---|---|---|
| `KnownNumbers` | nothing: the accounts' numbers are drawn | no gain; it removes genuine users in their share |
| `last_clicks`, an oracle of dates | nothing: accounts are active on all days | no gain |
| `ShortProfiles` | nearly all fakes are removed | the genuine users it removes; harmless new accounts |
| `NewUsers` | all: it has learned the genuine pairs by heart | harmless new accounts, all of which it removes |
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import numpy as np
import pytest
import torch
from poison_task import make_store
from tiny_task import make_spec

from recgauntlet.attacks.poisoning.newcomers import draw_newcomers
from recgauntlet.attacks.poisoning.profiles import Coattails, RandomProfiles
from recgauntlet.attacks.poisoning.suite import poisoning_attacks
from recgauntlet.attacks.poisoning.tables import PoisonStore
from recgauntlet.core.dataset import Pairs, TaskData, TrainingPeriod
from recgauntlet.core.poison import FakeAccounts
from recgauntlet.core.rng import Randomness
from recgauntlet.core.types import PAD
from recgauntlet.data.poisoned import PoisonedData, with_accounts
from recgauntlet.evaluation.newcomers import measure_newcomers, newcomers_checks
from recgauntlet.evaluation.poisoning import Audience, measure_exposure
from recgauntlet.evaluation.poisoning_checks import POISON_FILTER
from recgauntlet.records.parts import Gate
from recgauntlet.threats.training_data import DAY
from recgauntlet.training.build import OpenCell, open_cell, train_cell
from recgauntlet.training.defense import Defense
from recgauntlet.training.trainer import rows_lost
from recgauntlet_baselines.defenses.pca_varselect import PCAVarSelect
from recgauntlet_baselines.defenses.suspicious_users import SuspiciousUsers
from recgauntlet_baselines.defenses.trimmed_raters import TrimmedRaters

Filter = Callable[[Pairs], Pairs]


@dataclass(frozen=True)
class Stage:
    """The tiny task, an open cell of most-popular, and accounts of the high tier: 12 beside 60 readers."""

    store: PoisonStore
    data: TaskData
    cell: OpenCell
    accounts: FakeAccounts

    def poisoned(self, accounts: FakeAccounts | None = None) -> PoisonedData:
        chosen = self.accounts if accounts is None else accounts
        return with_accounts(self.data, self.store.genuine, chosen, self.store.card.track("standard"))

    def tail_win_rate(self, data: TaskData) -> float:
        """Of the targets of the tail, where a model learns from `data`."""
        model, _ = train_cell(self.cell, data, torch.device("cpu"), "fp32", lambda what, share: None)
        audience = Audience.of(self.data, self.store.genuine, self.store.verifier.targets)
        return float(
            np.nanmean(
                measure_exposure(model, data, audience).win_rate()[:, self.store.verifier.targets.places["tail"]]
            )
        )

    def redrawn(self, count: int) -> list[PoisonedData]:
        """The same accounts at other seconds, so that their numbers are drawn anew."""
        accounts = self.accounts
        return [self.poisoned(replace(accounts, times=accounts.times + shift)) for shift in range(count)]


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Stage:
    folder = tmp_path_factory.mktemp("fakes")
    store, data = make_store(folder)
    spec = make_spec(folder / "tiny.toml", folder / "out", store.cache)
    cell = open_cell(replace(spec, model="most-popular", model_options=()))
    return Stage(store, data, cell, store.tables(Coattails())["high"].accounts)


def removed(poisoned: PoisonedData, fake: Filter) -> tuple[float, float]:
    """The shares of the fake accounts and of the genuine users that a filter leaves no pair of."""
    before, after = set(poisoned.data.train.users.tolist()), set(fake(poisoned.data.train).users.tolist())
    gone = before - after
    shares = [
        len(gone & set(group.tolist())) / len(before & set(group.tolist()))
        for group in (poisoned.fakes, poisoned.genuine)
    ]
    return shares[0], shares[1]


def filtered(poisoned: PoisonedData, fake: Filter) -> TaskData:
    return replace(poisoned.data, train=fake(poisoned.data.train))


@dataclass
class KnownNumbers:
    """Drops the users whose number is one of `numbers`, which were those of accounts somewhere else."""

    numbers: np.ndarray[tuple[int], np.dtype[np.int64]]

    def __call__(self, pairs: Pairs) -> Pairs:
        return pairs.select(np.flatnonzero(~np.isin(pairs.users, self.numbers)))


@dataclass
class ShortProfiles:
    """Drops every user who is not seen to have more than `length` items: the cap of an account is public."""

    length: int

    def __call__(self, pairs: Pairs) -> Pairs:
        taken: dict[int, set[int]] = {}
        for user, history, clicked in zip(
            pairs.users.tolist(), pairs.histories.tolist(), pairs.clicked.tolist(), strict=True
        ):
            taken.setdefault(user, set()).update(item for item in (*history, clicked) if item != PAD)
        kept = [user for user, items in taken.items() if len(items) > self.length]
        return pairs.select(np.flatnonzero(np.isin(pairs.users, kept)))


@dataclass
class NewUsers:
    """Has learned the `genuine` pairs by heart, and drops every user who has none of them."""

    genuine: Pairs

    def __call__(self, pairs: Pairs) -> Pairs:
        by_heart = set(self._content(self.genuine))
        known = np.array([content in by_heart for content in self._content(pairs)])
        return pairs.select(np.flatnonzero(np.isin(pairs.users, pairs.users[known])))

    @staticmethod
    def _content(pairs: Pairs) -> list[tuple[int, ...]]:
        return [
            (*history, clicked)
            for history, clicked in zip(pairs.histories.tolist(), pairs.clicked.tolist(), strict=True)
        ]


def last_clicks(pairs: Pairs) -> Pairs:
    """Drops of every user the pair with the longest history: the newest that can be told."""
    lengths = (pairs.histories != PAD).sum(axis=1)
    order = np.lexsort((lengths, pairs.users))
    last = np.append(np.diff(pairs.users[order]) != 0, True)
    return pairs.select(np.sort(order[~last]))


def test_numbers_of_accounts_cannot_be_recognised(stage: Stage) -> None:
    readers, accounts = stage.data.user_count, stage.accounts.count
    appended = KnownNumbers(np.arange(readers, readers + accounts))  # as where accounts stand behind all users
    elsewhere = KnownNumbers(stage.poisoned().fakes)
    trials = stage.redrawn(41)[1:]
    for fake in (appended, elsewhere):
        fakes, genuine = (np.mean(column) for column in zip(*(removed(one, fake) for one in trials), strict=True))
        share = accounts / (readers + accounts)
        # 40 draws of 12 accounts
        assert abs(fakes - share) < 4 * np.sqrt(share * (1 - share) / (40 * accounts))
        assert genuine == pytest.approx(share, abs=0.03)
    # it would gain everything if numbers told
    assert removed(stage.poisoned(), elsewhere) == (1.0, 0.0)
    hit = stage.tail_win_rate(stage.poisoned().data)
    assert stage.tail_win_rate(filtered(trials[0], appended)) > hit - 0.1
    assert hit > stage.tail_win_rate(stage.data) + 0.3


def test_dates_are_not_shown_and_tell_nothing(stage: Stage) -> None:
    """Nothing that a defense or model gets has a time; the newest pair of each user is as near as it comes."""
    assert not any("time" in field.name for kind in (Pairs, TrainingPeriod) for field in fields(kind))
    poisoned = stage.poisoned()
    hit = stage.tail_win_rate(poisoned.data)
    assert stage.tail_win_rate(filtered(poisoned, last_clicks)) > hit - 0.1
    # one that saw the dates, and left the whole last day of the training period out
    accounts = stage.accounts
    before = accounts.times // DAY < (stage.store.genuine.training_end - 1) // DAY
    assert before.mean() > 0.8
    rest = FakeAccounts(accounts.accounts[before], accounts.items[before], accounts.times[before])
    assert stage.tail_win_rate(stage.poisoned(rest).data) > hit - 0.1


def test_dropping_short_profiles_removes_fakes_and_half_of_the_genuine_users(stage: Stage) -> None:
    """Of the 976 listeners of music-listen 49 % are removed as well, for 0.7 points of the accuracy of item-knn."""
    poisoned = stage.poisoned()
    cap = stage.store.genuine.median_profile
    fakes, genuine = removed(poisoned, ShortProfiles(cap))
    assert fakes == 1.0
    assert genuine > POISON_FILTER


def checks_of(stage: Stage, fake: Filter) -> dict[str, Gate]:
    """What the checks find of a filter among harmless new accounts."""
    store = stage.store
    drawn = draw_newcomers(store.genuine, store.verifier.targets, store.threat, Randomness(0, "newcomers"))
    poisoned = stage.poisoned(drawn)
    lost = np.array(rows_lost(fake(poisoned.data.train), poisoned.data.train), dtype=np.int64)
    model, _ = train_cell(stage.cell, filtered(poisoned, fake), torch.device("cpu"), "fp32", lambda what, share: None)
    found = measure_newcomers(model.eval(), poisoned.data, poisoned.fakes, lost)
    return {check.name: check for check in newcomers_checks(found, "brushing", filters=True)}


def test_dropping_all_new_users_gains_everything_and_harmless_new_users_show_it(stage: Stage) -> None:
    poisoned, by_heart = stage.poisoned(), NewUsers(stage.data.train)
    assert removed(poisoned, by_heart) == (1.0, 0.0)
    assert stage.tail_win_rate(filtered(poisoned, by_heart)) == stage.tail_win_rate(stage.data)
    kept = checks_of(stage, by_heart)["newcomers-are-kept"]
    assert not kept.passed
    assert kept.value == 1.0


def test_a_filter_that_leaves_new_users_one_pair_removes_too_many_of_their_pairs(stage: Stage) -> None:
    known = NewUsers(stage.data.train)

    def fake(pairs: Pairs) -> Pairs:
        _, first = np.unique(pairs.users, return_index=True)
        of_known = np.isin(pairs.users, known(pairs).users)
        return pairs.select(np.union1d(np.flatnonzero(of_known), first))

    kept = checks_of(stage, fake)["newcomers-are-kept"]
    assert not kept.passed
    assert 0.4 < kept.value < 1.0


@pytest.mark.parametrize("honest", [SuspiciousUsers(share=0.1), PCAVarSelect(), TrimmedRaters(share=0.3)])
def test_an_honest_filter_removes_harmless_new_users_like_anybody_else(stage: Stage, honest: Defense) -> None:
    found = checks_of(stage, honest.filter)
    assert all(check.passed for check in found.values()), found
    assert found["newcomers-are-kept"].value < 0.2


@pytest.mark.parametrize(
    "attack", [a for a in poisoning_attacks() if a.name not in {"placement"}], ids=lambda a: a.name
)
def test_accounts_are_active_over_the_whole_period(stage: Stage, attack: object) -> None:
    """But for `placement`, which by its name comes last: no more than a fifth of its clicks are of one day."""
    accounts = stage.store.tables(attack)["high"].accounts  # type: ignore[arg-type]
    _, counts = np.unique(accounts.times // DAY, return_counts=True)
    assert counts.max() <= 0.2 * len(accounts)


def test_random_profiles_are_as_hard_to_tell_by_their_numbers(stage: Stage) -> None:
    accounts = stage.store.tables(RandomProfiles())["high"].accounts
    found = [stage.poisoned(replace(accounts, times=accounts.times + shift)).fakes for shift in range(40)]
    uses = np.bincount(np.concatenate(found), minlength=stage.data.user_count + accounts.count)
    share = accounts.count / len(uses)
    assert abs(uses[stage.data.user_count :].mean() / 40 - share) < 4 * np.sqrt(share * (1 - share) / (40 * 12))

"""Sums by attributes of users, over blocks of users."""

from __future__ import annotations

import numpy as np
from synthetic_records import make_record

from recgauntlet.data.user_attributes import UserCodes
from recgauntlet.evaluation.user_groups import blocks_of, user_groups_of
from recgauntlet.records.right_examples import right_clean, right_under
from recgauntlet.records.user_groups import BLOCKS
from recgauntlet.records.validate import check_record

PAIRS = 200
USERS = np.random.default_rng(0).integers(100, 150, PAIRS)


def codes(groups: int) -> UserCodes:
    """Users in so many groups by the last digit of their number; those that end in 9 are in none."""
    last = np.arange(150) % 10
    return UserCodes("age", tuple(f"group {n}" for n in range(groups)), np.where(last == 9, -1, last % groups))


def test_all_pairs_of_a_user_are_in_one_block_and_blocks_have_about_as_many_users() -> None:
    blocks = blocks_of(USERS)
    users = np.unique(USERS)
    assert all(len(set(blocks[users[n] == USERS].tolist())) == 1 for n in range(len(users)))
    of_user = [blocks[user == USERS][0] for user in users]
    assert set(np.bincount(of_user, minlength=BLOCKS).tolist()) <= {2, 3}


def test_sums_are_those_counted_by_hand() -> None:
    record = make_record()
    assert record.clean is not None
    (found,) = user_groups_of(record, [codes(2)], USERS)
    group = codes(2).codes[USERS]
    clean, robust = right_clean(record.clean).reshape(-1, 2), right_under(record)["stuffing"].reshape(-1, 2)
    stuffing = found.under("stuffing")
    assert stuffing is not None
    for block in range(BLOCKS):
        for number in range(2):
            members = (blocks_of(USERS) == block) & (group == number)
            assert found.table(found.pairs)[block, number] == members.sum()
            assert found.table(found.clean)[block, number] == clean[members].sum()
            assert found.table(stuffing)[block, number] == robust[members].sum()
    assert found.table(found.pairs).sum() == (group >= 0).sum() < PAIRS
    assert found.users == tuple(len(np.unique(USERS[group == number])) for number in range(2))
    assert {one.threat for one in found.robust} == set(right_under(record))
    check_record(record.model_copy(update={"user_groups": (found,)}))


def test_groups_of_few_users_are_left_out() -> None:
    few = UserCodes("gender", ("many", "three", "most"), np.array([0] * 110 + [1] * 3 + [2] * 37))
    (found,) = user_groups_of(make_record(), [few], USERS)
    assert found.labels == ("many", "most")
    assert found.table(found.pairs).sum() == ((USERS < 110) | (USERS > 112)).sum()
    one_left = UserCodes("gender", ("three", "most"), np.array([0] * 103 + [1] * 47))
    assert user_groups_of(make_record(), [one_left], USERS) == ()


def test_few_users_or_no_attribute_give_nothing() -> None:
    assert user_groups_of(make_record(), [codes(2)], USERS % 39) == ()
    assert user_groups_of(make_record(), [], USERS) == ()

"""The test pairs of a record by attributes of their users, as sums over blocks of users."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from recgauntlet.core.types import BoolArray, IntArray
from recgauntlet.data.user_attributes import UserCodes
from recgauntlet.records.columns import IntColumn
from recgauntlet.records.right_examples import right_clean, right_under
from recgauntlet.records.schema import RunRecord
from recgauntlet.records.user_groups import BLOCKS, LEAST_USERS, ThreatSums, UserGroups


def blocks_of(users: IntArray) -> IntArray:
    """`[P]`: the block of each test pair by its user `users [P]`: users in the order of their indices are dealt out, so
    all pairs of a user are in one block."""
    return np.unique(users, return_inverse=True)[1] % BLOCKS


def user_groups_of(record: RunRecord, codes: Sequence[UserCodes], users: IntArray) -> tuple[UserGroups, ...]:
    """The user groups of a record whose test pairs are of `users [P]`. None of a record without clean results, with
    fewer than two users a block, or by an attribute that gives fewer than two groups of LEAST_USERS users."""
    if record.clean is None or len(np.unique(users)) < 2 * BLOCKS:
        return ()
    clean, robust = right_clean(record.clean), right_under(record)
    blocks = blocks_of(users)
    found = []
    for one in codes:
        group = one.codes[users]
        sizes = np.array([len(np.unique(users[group == number])) for number in range(len(one.labels))])
        kept = np.flatnonzero(sizes >= LEAST_USERS)
        if len(kept) < 2:
            continue
        member = group[:, None] == kept

        def summed(bits: BoolArray, member: BoolArray = member) -> IntColumn:
            table = np.zeros((BLOCKS, member.shape[1]), dtype=np.int64)
            np.add.at(table, blocks, bits.reshape(len(member), -1).sum(axis=1)[:, None] * member)
            return IntColumn.of(table.reshape(-1))

        found.append(
            UserGroups(
                name=one.name,
                labels=tuple(one.labels[number] for number in kept),
                users=tuple(sizes[kept].tolist()),
                pairs=summed(np.ones(len(users), dtype=np.bool_)),
                clean=summed(clean),
                robust=tuple(ThreatSums(threat=name, right=summed(bits)) for name, bits in robust.items()),
            )
        )
    return tuple(found)

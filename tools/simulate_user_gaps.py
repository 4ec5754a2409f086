"""How often equal groups of users seem to differ, by draws of pairs and by draws of users: needs MovieLens-100K.

    python tools/simulate_user_gaps.py                   prints a line for each attribute (a minute)

Users, test pairs and groups are those of video-watch (standard). Each user has an accuracy of their own, drawn alike in
all groups, and a defense and its twin differ from it, again user by user; so every gap that is found is a false alarm.
"""

from __future__ import annotations

import numpy as np

from recgauntlet.core.files import cache_root
from recgauntlet.core.task import SourceOptions, find_task
from recgauntlet.core.types import IntArray
from recgauntlet.data.prepare import prepare
from recgauntlet.data.user_attributes import user_attributes
from recgauntlet.evaluation.user_groups import blocks_of
from recgauntlet.metrics.bootstrap import means_by_group, means_of_sums
from recgauntlet.metrics.groups import gap_change, largest_gap
from recgauntlet.metrics.significance import LEVEL
from recgauntlet.records.user_groups import BLOCKS, LEAST_USERS

SEEDS, BOARDS = 3, 150
ACCURACY, BETWEEN_USERS, BETWEEN_ROWS = 0.6, 0.15, 0.07
"""The mean accuracy, and the standard deviations of users around it, and of a row's users around these."""


def alarms(users: IntArray, groups: IntArray, rng: np.random.Generator) -> list[bool]:
    """Of one board: whether a gap, and a change of it, is found by draws of pairs, then both by draws of users."""
    own = ACCURACY + rng.normal(0, BETWEEN_USERS, users.max() + 1)
    truth = np.clip(own + rng.normal(0, BETWEEN_ROWS, (2, len(own))), 0.02, 0.98)[:, users]
    outcomes = (rng.random((SEEDS, 2, len(users), 2)) < truth[None, :, :, None]).mean(axis=3).transpose(0, 2, 1)
    member = (groups[:, None] == np.arange(groups.max() + 1)).astype(np.float64)
    sizes, sums = np.zeros((BLOCKS, member.shape[1])), np.zeros((BLOCKS, member.shape[1], SEEDS, 2))
    np.add.at(sizes, blocks_of(users), member)
    np.add.at(sums, blocks_of(users), member[:, :, None, None] * outcomes.transpose(1, 0, 2)[:, None])
    found = []
    for values, draws in (means_by_group(outcomes, groups), means_of_sums(sums, sizes)):
        found += [largest_gap(values[:, 0], draws[:, :, 0]).p <= LEVEL, gap_change(values, draws).p <= LEVEL]
    return found


def main() -> None:
    """Simulate and print."""
    task, source = find_task("video-watch"), SourceOptions(directory=None, cache=cache_root())
    data, rng = prepare(task, "standard", source), np.random.default_rng(0)
    users = data.test.users
    for one in user_attributes(task, "standard", data, source):
        codes = one.codes[users]
        kept = [n for n in range(len(one.labels)) if len(np.unique(users[codes == n])) >= LEAST_USERS]
        groups = np.array([kept.index(code) if code in kept else -1 for code in codes])
        shares = np.mean([alarms(users, groups, rng) for _ in range(BOARDS)], axis=0)
        names = ("gap by pairs", "change by pairs", "gap by users", "change by users")
        print(one.name, *(f"{name} {share:.1%}" for name, share in zip(names, shares, strict=True)), sep="; ")


if __name__ == "__main__":
    main()

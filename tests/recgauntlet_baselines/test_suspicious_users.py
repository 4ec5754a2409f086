"""Suspicious users: planted fakes of a known recipe are found, and few honest users go with them."""

from __future__ import annotations

import numpy as np
import pytest
from planted_fakes import FAKE, HONEST, poisoned

from recgauntlet.core.dataset import Pairs
from recgauntlet.core.types import PAD
from recgauntlet_baselines.defenses.suspicious_users import SuspiciousUsers, similarity_degree


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_planted_fakes_are_found_and_few_honest_users_are_lost(seed: int) -> None:
    kept = np.unique(SuspiciousUsers(share=0.07).filter(poisoned(seed)).users)
    fakes, honest = (kept >= HONEST).sum(), (kept < HONEST).sum()
    assert fakes <= 0.2 * FAKE, f"{fakes} fakes are left"
    assert honest >= 0.97 * HONEST, f"{HONEST - honest} honest users are lost"


def test_all_pairs_of_a_user_go_together_and_the_share_is_kept() -> None:
    pairs = poisoned()
    kept = SuspiciousUsers(share=0.05).filter(pairs)
    gone = np.setdiff1d(pairs.users, kept.users)
    assert len(gone) == 20
    rest = ~np.isin(pairs.users, gone)
    for name in ("users", "histories", "clicked", "unclicked"):
        assert np.array_equal(getattr(kept, name), getattr(pairs, name)[rest])
    assert len(SuspiciousUsers(share=0.0).filter(pairs)) == len(pairs)


def test_the_degree_is_the_mean_similarity_to_the_nearest() -> None:
    pairs = Pairs(
        np.array([5, 7, 9, 9]),
        np.array([[PAD, 0], [PAD, 0], [PAD, 2], [2, 2]]),
        np.array([1, 1, 0, 3]),
        np.array([3, 3, 3, 0]),
    )
    users, degree = similarity_degree(pairs, 1)
    assert users.tolist() == [5, 7, 9]
    weight = np.log(3 / np.array([3, 2, 1, 1]))  # items 0 to 3, by the users that have them
    profiles = np.array([[1, 1, 0, 0], [1, 1, 0, 0], [1, 0, 1, 1]]) * weight
    norms = np.linalg.norm(profiles, axis=1)
    alike = profiles @ profiles.T / (np.outer(norms, norms) + (norms**2).mean())
    assert degree == pytest.approx([alike[0, 1], alike[1, 0], max(alike[2, 0], alike[2, 1])])


def test_one_user_is_never_dropped() -> None:
    pairs = Pairs(np.array([3]), np.array([[PAD, 1]]), np.array([2]), np.array([0]))
    assert len(SuspiciousUsers(share=0.5).filter(pairs)) == 1

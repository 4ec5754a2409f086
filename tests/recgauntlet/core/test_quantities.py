"""Durations and large numbers as text."""

from __future__ import annotations

import pytest

from recgauntlet.core.quantities import seconds, size


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (seconds(12.34), "12.3 s"),
        (seconds(0.00123), "0.00123 s"),
        (seconds(600), "10.0 min"),
        (seconds(9000), "2.5 h"),
        (size(1_234_567), "1.23 M"),
        (size(1_200_000), "1.20 M"),
        (size(999_499), "999 k"),
        (size(999_500), "1.00 M"),
        (size(7e8, "B"), "700 MB"),
        (size(23_400_000, "FLOP"), "23.4 MFLOP"),
        (size(4.2e20, "FLOP"), "420 EFLOP"),
        (size(12), "12"),
        (size(0, "B"), "0 B"),
    ],
)
def test_numbers_have_three_significant_digits(shown: str, expected: str) -> None:
    assert shown == expected

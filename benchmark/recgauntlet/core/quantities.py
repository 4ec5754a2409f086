"""Durations and large numbers as text, with three significant digits."""

from __future__ import annotations

_PREFIXES = (("E", 1e18), ("P", 1e15), ("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3))


def seconds(value: float) -> str:
    """A duration in the unit that reads best."""
    if value < 120:
        return f"{value:.3g} s"
    return f"{value / 60:.1f} min" if value < 7200 else f"{value / 3600:.1f} h"


def size(value: float, unit: str = "") -> str:
    """A number with a decimal prefix: 1.2e6 becomes "1.20 M", and 2.34e7 with the unit "FLOP" "23.4 MFLOP"."""
    value = float(f"{value:.2e}")  # rounded first, so that 999,999 is 1.00 M
    for prefix, scale in _PREFIXES:
        if value >= scale:
            return f"{value / scale:#.3g}".rstrip(".") + f" {prefix}{unit}"
    return f"{value:.3g} {unit}".rstrip()

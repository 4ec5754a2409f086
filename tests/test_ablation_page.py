"""The ablation on the page of attacks is that of the committed records."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

import numpy as np

from recgauntlet.records.io import read_records

ROOT = Path(__file__).resolve().parents[1]
Row = tuple[str, str, str, str, str]


def rows_of_the_records() -> list[Row]:
    """For each threat and attack, means over the records in per cent of the subset: broken by all together, by this one
    by itself, and by no other."""
    found: dict[tuple[str, str], list[tuple[float, float, float]]] = defaultdict(list)
    for _, record in read_records(ROOT / "results" / "preview").records:
        for threat in record.threats:
            broken = {lone.attack: lone.broken.to_bool() for lone in threat.alone if lone.tier == "standard"}
            together = np.logical_or.reduce(list(broken.values()))
            for attack, own in broken.items():
                rest = np.logical_or.reduce([other for name, other in broken.items() if name != attack])
                shares = tuple(float(bits.mean()) for bits in (together, own, together & ~rest))
                found[threat.id, attack].append(shares)  # type: ignore[arg-type]
    return [
        (threat, attack, *(f"{100 * value:.1f}" for value in np.mean(values, axis=0)))  # type: ignore[misc]
        for (threat, attack), values in sorted(found.items())
    ]


def test_the_table_on_the_page_is_computed_from_the_records() -> None:
    page = (ROOT / "docs" / "attacks.md").read_text(encoding="utf-8")
    table = re.findall(r"^\| ([a-z-]+) \| `([a-z-]+)` \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \|$", page, re.MULTILINE)
    expected = rows_of_the_records()
    assert sorted(table) == expected, "\n".join("| {} | `{}` | {} | {} | {} |".format(*row) for row in expected)

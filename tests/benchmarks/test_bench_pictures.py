"""What the figures of a table of forty rows take: milliseconds for a page, and for one of them as PDF."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bench_figures import Figure

TESTS = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.measures


def test_the_figures_of_forty_rows_take_a_fraction_of_a_second(
    benchmark: Any, book: Callable[[Figure], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [str(TESTS / "recgauntlet_site"), str(TESTS / "recgauntlet"), *sys.path])
    from picture_tables import many_rows

    from recgauntlet_site.pictures import pictures_of

    table = many_rows()
    cpus: list[float] = []

    def once() -> None:
        start = time.process_time()
        assert all(len(picture.svg) > 1000 for picture in pictures_of(table))
        cpus.append(time.process_time() - start)

    benchmark.pedantic(once, rounds=9, iterations=1, warmup_rounds=1)
    pictures = pictures_of(table)
    pictures[0].as_pdf()
    start = time.process_time()
    pictures[0].as_pdf()
    one = time.process_time() - start
    book(
        Figure(
            f"ms for the {len(pictures)} figures of {len(table.rows)} rows on a page",
            1000 * statistics.median(cpus),
            f"processor time of one core, the median of {len(cpus)}; one of them as PDF {1000 * one:.0f} ms",
            at_most=300,
        )
    )

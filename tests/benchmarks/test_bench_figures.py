"""What the figures of a table of forty rows take as SVG, and one of them as PDF."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import pytest
from bench_figures import Figure
from figure_tables import many_rows

pytestmark = pytest.mark.measures


def test_the_figures_of_forty_rows_take_a_few_seconds(benchmark: Any, book: Callable[[Figure], None]) -> None:
    from recgauntlet_site.figures import figures_of

    table = many_rows()
    cpus: list[float] = []

    def once() -> None:
        start = time.process_time()
        assert all(len(figure.svg) > 1000 for figure in figures_of(table))
        cpus.append(time.process_time() - start)

    benchmark.pedantic(once, rounds=3, iterations=1, warmup_rounds=1)
    figures = figures_of(table)
    assert figures[0].pdf
    start = time.process_time()
    assert figures[0].pdf
    one = time.process_time() - start
    book(
        Figure(
            f"ms for the {len(figures)} figures of {len(table.rows)} rows on a page",
            1000 * statistics.median(cpus),
            f"processor time of one core, the median of {len(cpus)}; one of them as PDF {1000 * one:.0f} ms",
            at_most=6000,
        )
    )

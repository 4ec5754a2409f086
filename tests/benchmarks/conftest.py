"""What the benchmarks share: the subject, the list of figures, and the lines at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from bench_figures import Figure, keep
from bench_subject import Subject, open_subject

HERE = Path(__file__).parent
FIGURES = pytest.StashKey[list[Figure]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[FIGURES] = []
    config.addinivalue_line("markers", "measures: takes time or memory; runs under --benchmark-enable alone")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("benchmark_enable"):
        return
    skip = pytest.mark.skip(reason="a benchmark: make bench")
    for item in items:
        if HERE in item.path.parents and item.get_closest_marker("measures"):
            item.add_marker(skip)


@pytest.fixture(scope="session")
def subject() -> Subject:
    return open_subject()


@pytest.fixture
def book(request: pytest.FixtureRequest) -> Iterator[Callable[[Figure], None]]:
    """Takes a figure down; it is printed at the end and kept."""
    figures: list[Figure] = []
    yield figures.append
    request.config.stash[FIGURES] += figures
    keep(figures)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    figures = config.stash[FIGURES]
    if figures:
        terminalreporter.section("ratios")
        for figure in figures:
            terminalreporter.write_line(figure.line())

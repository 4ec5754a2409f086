"""What the benchmarks share: the attacked model, and the figures that they book."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from bench_figures import Book, Figure, keep
from bench_subject import Subject, open_subject

FIGURES = pytest.StashKey[list[Figure]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[FIGURES] = []


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.timeout(7200))
            item.add_marker(pytest.mark.filterwarnings("ignore"))


@pytest.fixture(scope="session")
def subject() -> Subject:
    return open_subject()


@pytest.fixture
def book(request: pytest.FixtureRequest) -> Iterator[Book]:
    """Takes a figure; it is kept when the test ends, and printed at the end of the run."""
    figures: list[Figure] = []
    yield lambda *fields, **named: figures.append(Figure(*fields, **named))
    request.config.stash[FIGURES] += figures
    keep(figures)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if config.stash[FIGURES]:
        terminalreporter.section("ratios")
    for figure in config.stash[FIGURES]:
        terminalreporter.write_line(figure.line())

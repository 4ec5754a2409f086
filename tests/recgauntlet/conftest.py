"""What the tests of cells, sweeps and the command line share: the tiny task and the test plugins."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tiny_task import write_task

PLUGINS = Path(__file__).parents[1] / "helpers" / "plugin_fixtures"


@pytest.fixture(scope="session")
def tiny_card(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_task(tmp_path_factory.mktemp("tiny-task"))


@pytest.fixture(scope="session")
def tiny_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cache for all cells of the tiny task: its data are prepared once."""
    return tmp_path_factory.mktemp("tiny-cache")


@pytest.fixture
def test_plugins(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Make the test plugins visible to this process and to those it starts; the directory."""
    from recgauntlet.core import plugins
    from recgauntlet.evaluation import robustness

    monkeypatch.syspath_prepend(PLUGINS)
    monkeypatch.setenv("PYTHONPATH", str(PLUGINS), prepend=os.pathsep)
    # one of them replaces this at import; the change must not outlive the test
    monkeypatch.setattr(robustness, "run_attack", robustness.run_attack)
    # what an earlier test of this process imported must not answer whether this one imports a plugin
    for name in [name for name in sys.modules if name.startswith("recgauntlet_test_")]:
        monkeypatch.delitem(sys.modules, name)
    plugins._entries.cache_clear()
    yield PLUGINS
    plugins._entries.cache_clear()


@pytest.fixture(scope="session")
def finished_cells(tiny_card: Path, tiny_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results directory with the undefended cell and the PGD cell of the tiny task. Read-only: copy it."""
    import torch
    from tiny_task import make_spec

    from recgauntlet.runner.cell import run_cell

    out = tmp_path_factory.mktemp("finished")
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    for defense in ("standard", "pgd"):
        record = run_cell(make_spec(tiny_card, out, tiny_cache, defense))
        assert record.failure is None, record.failure
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(deterministic)
    return out

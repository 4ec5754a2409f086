"""The example notebook: its cells run in order, on a tiny task, and it is kept without outputs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from example_wheel import EXAMPLES
from tiny_task import write_task

from recgauntlet.cli import cli

NOTEBOOK = EXAMPLES / "notebook.ipynb"
RELEASE = EXAMPLES.parent / "results" / "2026.5"
RUN = """
import json, pathlib, sys
import matplotlib.pyplot as plt

names = {}
for number, cell in enumerate(json.load(sys.stdin)):
    exec(compile(cell, f"cell {number}", "exec"), names)
    if number == 0:  # the settings: a task that takes seconds
        names.update(TASK=sys.argv[1], TRACK="standard", STEPS=20, RELEASE=pathlib.Path(sys.argv[3]))
(axes,) = plt.gcf().axes
found = {name: float(names[name]) for name in ("low", "high")} | {"difference": float(names["difference"].mean())}
found |= {"rows": names["frame"].to_dict("records"), "bars": len(axes.patches)}
json.dump(found, open(sys.argv[2], "w"))
"""


@pytest.mark.slow
def test_the_notebook_runs_and_its_table_and_figure_have_every_threat(tmp_path: Path) -> None:
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    environment = os.environ | {"RECGAUNTLET_CACHE": str(tmp_path / "cache"), "MPLBACKEND": "Agg"}
    card, found = write_task(tmp_path / "task"), tmp_path / "found.json"
    run = [sys.executable, "-c", RUN, str(card), str(found), str(RELEASE)]
    done = subprocess.run(run, input=json.dumps(code), env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "clean accuracy" in done.stdout
    result = json.loads(found.read_text(encoding="utf-8"))
    threats = {row["threat"] for row in result["rows"]}
    assert threats == {"history-perturbation", "title-rewrite", "embedding"}
    assert len(result["rows"]) == 2 * 3 * len(threats)
    assert result["bars"] == 2 * len(threats)
    assert all(0.0 <= row["robust"] <= 1.0 for row in result["rows"])
    a, b = (f"{RELEASE}/video-watch/nrms/{defense}" for defense in ("discrete", "none"))
    shown = CliRunner().invoke(
        cli, ["compare", a, b, "--threat", "history-perturbation", "--json"], catch_exceptions=False
    )
    (line,) = [line for line in json.loads(shown.output)["differences"] if line["threat"] == "history-perturbation"]
    assert result["low"] < result["difference"] < result["high"]
    assert result["difference"] == pytest.approx(line["difference"])


def test_the_notebook_is_kept_without_outputs() -> None:
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert len(code) >= 5
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)

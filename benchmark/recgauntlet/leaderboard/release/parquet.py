"""A release as a data set of the Hugging Face hub: two Parquet tables and a card."""

from __future__ import annotations

import io
from importlib.metadata import version
from pathlib import Path

import pandas as pd

from recgauntlet.core.errors import RecordError
from recgauntlet.core.escape import visible
from recgauntlet.core.files import write_directory
from recgauntlet.leaderboard.address import Scope, locate
from recgauntlet.leaderboard.citation import cite
from recgauntlet.leaderboard.dataframe import COLUMNS, EXAMPLE_COLUMNS, cells_of, examples_of
from recgauntlet.leaderboard.dataframe_columns import documentation
from recgauntlet.records.release import ROOT

CELLS, EXAMPLES = "cells.parquet", "examples.parquet"


def export_release(release: str | Path, target: Path, *, root: Path = ROOT) -> tuple[int, int]:
    """Write the results of `release` (its name, or a directory of records) to the new directory `target`; how many rows
    the tables have.

    `cells.parquet` and `examples.parquet` are the DataFrames of `recgauntlet.load`, column by column; `README.md` is a
    data card whose head tells the `datasets` library of both.

    Raises
    ------
    RecordError
        Where there is no such release, no record in it, or one that cannot be read.
    OutputError
        Where `target` exists or cannot be written.
    """
    scope = locate(str(release), root)
    for path, error in scope.board.results.broken:
        remedy = "mend the file or take it away: what is published must be whole"
        raise RecordError(error.problem, where=path, remedy=remedy)
    cells, examples = cells_of(scope.board), examples_of(scope.board)
    files = {
        CELLS: _parquet(cells),
        EXAMPLES: _parquet(examples),
        "README.md": _card(scope, cells, examples).encode(),
    }
    write_directory(target, files)
    return len(cells), len(examples)


def _parquet(frame: pd.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.to_parquet(buffer, index=False, compression="zstd")
    return buffer.getvalue()


def _card(scope: Scope, cells: pd.DataFrame, examples: pd.DataFrame) -> str:
    board = scope.board
    entries = "\n".join(visible(str(entry), keep="\n") for entry in cite(scope).entries)
    tasks = ", ".join(f"`{name}`" for name in dict.fromkeys(cells["task"]))
    state = f"frozen on {board.date}" if board.frozen else "not frozen"
    size = "1M<n<10M" if len(examples) >= 1_000_000 else "100K<n<1M" if len(examples) >= 100_000 else "n<100K"
    return f"""---
license: apache-2.0
pretty_name: RecGauntlet results {visible(board.name)}
tags: [recommender-systems, adversarial-robustness, benchmark]
size_categories: ["{size}"]
configs:
  - config_name: cells
    data_files: {CELLS}
    default: true
  - config_name: examples
    data_files: {EXAMPLES}
---

# RecGauntlet results: {visible(board.name)}

How robust recommender systems are, and what robustness costs: results of the tasks {tasks}, {state},
SHA-256 `{board.digest}`, written by recgauntlet {version("recgauntlet")}.
Nothing of the tasks' own data is in it: no user, no item, no text.

```python
from datasets import load_dataset

cells = load_dataset("PATH OR REPOSITORY", "cells", split="train")
```

A "split" here is a file: everything was measured on test data, and nothing is meant to be trained on.

## `cells`: {len(cells)} rows, one a model, defense, seed, threat and tier

Clean accuracy stands in every row of its cell: take one row a cell before you average it.

{documentation(COLUMNS)}
## `examples`: {len(examples)} rows, one a test example under each threat and tier

{documentation(EXAMPLE_COLUMNS)}
## Citation

```bibtex
{entries}
```
"""

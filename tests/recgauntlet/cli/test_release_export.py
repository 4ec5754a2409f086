"""`recgauntlet release export`: the tables are those of `recgauntlet.load`, and the card tells `datasets` of them."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import yaml
from command_line import Run
from made_releases import make_release, small, write_all
from pandas.testing import assert_frame_equal

from recgauntlet.leaderboard.dataframe import COLUMNS, EXAMPLE_COLUMNS, load


def test_a_release_is_written_as_parquet_with_a_card(run: Run, tmp_path: Path) -> None:
    make_release(tmp_path, records=small())
    text = run("release", "export", "2026.1")
    target = tmp_path / "2026.1-parquet"
    assert {path.name for path in target.iterdir()} == {"cells.parquet", "examples.parquet", "README.md"}
    for name, examples, columns in (("cells", False, COLUMNS), ("examples", True, EXAMPLE_COLUMNS)):
        wanted = load("2026.1", examples=examples, root=tmp_path / "results")
        found = pd.read_parquet(target / f"{name}.parquet")
        assert len(found) > 0
        assert f"{len(found)} rows of {name}" in text
        assert list(found.columns) == [column.name for column in columns]
        assert_frame_equal(found, wanted, check_dtype=False)
    card = (target / "README.md").read_text(encoding="utf-8")
    head = yaml.safe_load(card.split("---\n")[1])
    assert {one["config_name"]: one["data_files"] for one in head["configs"]} == {
        "cells": "cells.parquet",
        "examples": "examples.parquet",
    }
    for column in (*COLUMNS, *EXAMPLE_COLUMNS):
        assert f"| `{column.name}` |" in card
    assert "@misc{" in card


def test_what_is_published_must_be_whole_and_go_to_a_new_directory(run: Run, tmp_path: Path) -> None:
    write_all(tmp_path / "mine", small())
    (tmp_path / "mine" / "cut.json").write_text("{")
    assert "cut.json" in run("release", "export", "mine", "--out", "data", code=2)
    assert not (tmp_path / "data").exists()
    (tmp_path / "mine" / "cut.json").unlink()
    assert "not frozen" not in run("release", "export", "mine", "--out", "data")
    assert "not frozen" in (tmp_path / "data" / "README.md").read_text(encoding="utf-8")
    assert "data" in run("release", "export", "mine", "--out", "data", code=2)
    assert "no release" in run("release", "export", "2031.1", code=2)

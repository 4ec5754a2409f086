"""The DataFrame says what the table says, and its documentation says what it holds."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest
from synthetic_records import make_record

import recgauntlet
from recgauntlet.leaderboard import dataframe as frame
from recgauntlet.leaderboard.build import build_table
from recgauntlet.records.io import write_record
from recgauntlet.records.schema import RunRecord

ROOT = Path(__file__).resolve().parents[3]
RECORDS = [
    *(make_record(seed=seed, defense=defense) for seed in range(2) for defense in ("standard", "pgd")),
    make_record(model="mf", threats={"stuffing": None, "embedding": (0.6, 0.5, 0.4)}),
    make_record(defense="fgm", failure="out of memory"),
    make_record(task="film", threats={"swap": (0.6, 0.5, 0.4)}),
]
CELL = ["task", "track", "model", "defense", "seed", "threat", "tier"]


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("results") / "first"
    for number, record in enumerate(RECORDS):
        write_record(record, directory / f"{number}.json")
    return directory


@pytest.fixture(scope="module")
def found(release: Path) -> pd.DataFrame:
    return recgauntlet.load(release)


@pytest.fixture(scope="module")
def examples(release: Path) -> pd.DataFrame:
    return recgauntlet.load("first", examples=True, root=release.parent)


def test_the_columns_are_the_documented_ones_with_their_types(found: pd.DataFrame, examples: pd.DataFrame) -> None:
    for data, columns in ((found, frame.COLUMNS), (examples, frame.EXAMPLE_COLUMNS)):
        assert [(name, str(dtype)) for name, dtype in data.dtypes.items()] == [(c.name, c.dtype) for c in columns]


def test_the_code_of_the_page_runs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(ROOT)
    page = (ROOT / "docs" / "results" / "citing.md").read_text(encoding="utf-8")
    for code in re.findall(r"^```python\n(.*?)^```", page, flags=re.DOTALL | re.MULTILINE):
        exec(code, {})
    shown = capsys.readouterr().out
    assert "ecommerce-purchase" in shown
    assert "video-watch" in shown


def test_a_row_is_one_seed_under_one_threat_and_tier(found: pd.DataFrame) -> None:
    assert not found.duplicated(CELL).any()
    ok = found[found.status == "ok"]
    assert len(ok) == (4 * 2 + 2 + 1) * 3


def test_means_over_seeds_are_the_tables(found: pd.DataFrame) -> None:
    for table in build_table(RECORDS):
        for row in table.rows:
            own = found[
                (found.task == table.task)
                & (found.model == row.model.name)
                & (found.defense == row.defense.name)
                & (found.status == "ok")
            ]
            assert own.drop_duplicates("record").clean_accuracy.mean() == pytest.approx(row.clean.value)
            assert set(own.row) == {own.row.iloc[0]}
            for cells in row.threats:
                for cell in cells.cells:
                    robust = own[(own.threat == cells.threat) & (own.tier == cell.tier)].robust_accuracy
                    assert robust.mean() == pytest.approx(cell.robust.value)


def test_an_unread_surface_has_no_robust_accuracy(found: pd.DataFrame) -> None:
    unread = found[(found.model == "mf") & (found.threat == "stuffing")]
    assert list(unread.tier) == ["low", "standard", "high"]
    assert unread.robust_accuracy.isna().all()
    assert not unread.applicable.any()


def test_a_failed_cell_is_not_forgotten(found: pd.DataFrame) -> None:
    (lost,) = found[found.status == "failed"].itertuples()
    assert (lost.defense, lost.seed) == ("fgm", 0)
    assert pd.isna(lost.threat)
    assert pd.isna(lost.clean_accuracy)


def test_the_examples_add_up_to_the_shares(found: pd.DataFrame, examples: pd.DataFrame) -> None:
    shares = examples.groupby(CELL, observed=True)[["robust", "clean_right"]].mean()
    told = found[(found.status == "ok") & found.applicable].set_index(CELL)
    for key, share in shares.iterrows():
        assert share.robust == pytest.approx(told.robust_accuracy[key])
        assert share.clean_right == pytest.approx(told.clean_accuracy[key])
    assert len(shares) == len(told)
    assert (examples.pair == examples.example // 2).all()


def test_what_was_right_and_is_not_robust_was_broken_by_an_attack(examples: pd.DataFrame) -> None:
    fell = examples.clean_right & ~examples.robust
    assert (examples.broken_by.notna() == fell).all()
    assert fell.any()


def test_a_file_that_cannot_be_read_is_told(release: Path, tmp_path: Path) -> None:
    write_record(RECORDS[0], tmp_path / "good.json")
    (tmp_path / "bad.json").write_text("{")
    with pytest.warns(UserWarning, match=r"bad\.json is left out"):
        assert len(recgauntlet.load(tmp_path)) == 6


def test_a_release_of_failed_cells_has_no_examples(tmp_path: Path) -> None:
    lost: RunRecord = make_record(failure="no data")
    write_record(lost, tmp_path / "lost.json")
    assert len(recgauntlet.load(tmp_path)) == 1
    empty = recgauntlet.load(tmp_path, examples=True)
    assert list(empty.columns) == [column.name for column in frame.EXAMPLE_COLUMNS]
    assert empty.empty

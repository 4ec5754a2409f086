"""`recgauntlet harm`: named items, what is printed and written, and how it refuses."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest
from command_line import Run
from tiny_task import make_spec

from recgauntlet.core.spec import CellSpec


@pytest.fixture
def run(run: Run, tiny_card: Path) -> Run:
    return partial(run, "harm", "--task", tiny_card, "--device", "cpu", "--offline")


@pytest.fixture
def spec(finished_cells: Path, tiny_card: Path, tiny_cache: Path) -> CellSpec:
    return make_spec(tiny_card, finished_cells, tiny_cache)


def test_items_of_a_file_are_pushed_in_the_lists_of_a_record_s_model(run: Run, spec: CellSpec, tmp_path: Path) -> None:
    (tmp_path / "items.txt").write_text("i3\n\ni4\ni3\n")
    text = run(spec.record_path, "--items", "items.txt", "--out", "harm.json")
    assert "title-rewrite" in text
    assert "2 items; ranks among all items that a user never took" in text
    assert "At the medium tier one text an item moves it from rank" in text
    found = json.loads((tmp_path / "harm.json").read_text())
    (threat,) = found["threats"]
    assert [tier["tier"] for tier in threat["tiers"]] == ["low", "standard", "high"]
    assert [item["id"] for item in threat["tiers"][0]["items"]] == ["i3", "i4"]
    assert all("text" in item for item in threat["tiers"][0]["items"])


def test_a_category_is_drawn_from_and_a_checkpoint_is_enough(run: Run, spec: CellSpec) -> None:
    text = run(spec.checkpoint_path, "--category", "sea", "--most", "3", "--tier", "high")
    assert "3 items, drawn from 10" in text
    assert "At the high tier" in text


@pytest.mark.parametrize(
    ("words", "remedy"),
    [
        ([], "give --items FILE or --category NAME"),
        (["--items", "items.txt", "--category", "sea"], "give --items FILE or --category NAME"),
        (["--items", "items.txt"], "no item of the catalog has the id 'nobody'"),
        (["--items", "none.txt"], "none.txt: --items: cannot be read"),
        (["--category", "Sea"], "choose among: kitchen, music, sea, sport"),
        (["--category", "sea", "--threat", "history-perturbation"], "choose among: title-rewrite"),
    ],
)
def test_a_wrong_call_is_refused_with_a_remedy(
    run: Run, spec: CellSpec, tmp_path: Path, words: list[str], remedy: str
) -> None:
    (tmp_path / "items.txt").write_text("i3\nnobody\n")
    assert remedy in run(spec.record_path, *words, code=2)

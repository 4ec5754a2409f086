"""The overview over tasks: who stands in it, in which order, and that its numbers are those of the tables."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from board import render_records
from page_reader import Element, read_page
from synthetic_records import failed_gate, make_record

from recgauntlet.records.schema import RunRecord
from recgauntlet_site.pages import start

FALLS = {"tampering": (0.5, 0.4, 0.3)}


def start_page(records: list[RunRecord], directory: Path) -> Element:
    return read_page(render_records(directory, records)["index.html"])


def lines_of(page: Element) -> dict[str, list[str]]:
    """The overview's cells by the names of their methods, in order; empty where there is no overview."""
    parts = page.all("section", class_="overview")
    rows = parts[0].all("tbody")[0].all("tr") if parts else []
    return {
        " ".join(row.all("th")[0].text().split()): [" ".join(cell.text().split()) for cell in row.all("td")]
        for row in rows
    }


def both_tasks(defense: str, **settings: object) -> list[RunRecord]:
    return [
        make_record(seed=seed, defense=defense, task=task, **{"threats": threats, **settings})  # type: ignore[arg-type]
        for seed in range(3)
        for task, threats in (("shop", {"stuffing": (0.6, 0.5, 0.4)}), ("news", FALLS))
    ]


def test_methods_of_several_tasks_stand_side_by_side_best_first(tmp_path: Path) -> None:
    better = {"threats": {"tampering": (0.7, 0.65, 0.6)}}
    records = [*both_tasks("standard"), *both_tasks("pgd", **better), *both_tasks("alone")[::2]]
    lines = lines_of(start_page(records, tmp_path))
    assert list(lines) == ["nrms + pgd", "nrms + undefended"]
    shown = [record for record in records if record.task.id == "news" and record.defense.name == "standard"]
    robust = np.mean([record.threats[0].tiers[1].robust.to_bool().mean() for record in shown])
    assert lines["nrms + undefended"][0].startswith(f"{100 * robust:.1f} ")
    assert all("clean" in cell and "rank" in cell for cells in lines.values() for cell in cells)


def test_other_options_are_another_method(tmp_path: Path) -> None:
    shop, news = (
        both_tasks("pgd", hyperparameters={"epsilon": 0.2}),
        both_tasks("pgd", hyperparameters={"epsilon": 0.4}),
    )
    assert lines_of(start_page([*shop[::2], *news[1::2]], tmp_path)) == {}


def test_a_flagged_row_is_said_to_have_no_rank(tmp_path: Path) -> None:
    records = [*both_tasks("standard"), *both_tasks("flat", gates=(failed_gate(),))]
    cells = lines_of(start_page(records, tmp_path))["nrms + flat"]
    assert all(cell.endswith("not ranked") for cell in cells)


def test_what_is_left_out_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(start, "MAX_LINES", 1)
    page = start_page([*both_tasks("standard"), *both_tasks("pgd"), *both_tasks("fgm")], tmp_path)
    assert len(lines_of(page)) == 1
    assert "2 more methods" in page.all("section", class_="overview")[0].all("caption")[0].text()


@pytest.mark.parametrize("settings", [{"track": "demo"}, {"track": "demo", "simulated": True}])
def test_the_demo_track_has_no_overview(tmp_path: Path, settings: dict[str, object]) -> None:
    assert lines_of(start_page(both_tasks("standard", **settings), tmp_path)) == {}

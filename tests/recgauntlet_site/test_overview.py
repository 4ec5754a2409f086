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


def method_of(row: Element) -> str:
    """The method of a line, without the number of its tasks."""
    return " ".join(row.all("th")[0].text().split()).rpartition(" of ")[0].rpartition(" ")[0]


def lines_of(page: Element) -> dict[str, list[str]]:
    """The overview's cells by the names of their methods, in order; empty where there is no overview."""
    parts = page.all("section", class_="overview")
    rows = parts[0].all("tbody")[0].all("tr") if parts else []
    return {method_of(row): [" ".join(cell.text().split()) for cell in row.all("td")] for row in rows}


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
    assert all(", 3 seeds, rank" in cell for cells in lines.values() for cell in cells)


def test_a_method_says_on_how_many_tasks_it_was_measured_and_with_how_many_seeds(tmp_path: Path) -> None:
    film = [make_record(seed=0, task="film", threats={"swap": (0.5, 0.4, 0.3)})]
    page = start_page([*both_tasks("standard"), *film, *both_tasks("pgd")], tmp_path)
    heads = [head.text() for head in page.all("section", class_="overview")[0].all("tbody")[0].all("th")]
    assert [" ".join(head.split()).rpartition(" + ")[2] for head in heads] == [
        "undefended 3 of 3 tasks",
        "pgd 2 of 3 tasks",
    ]
    (one,) = [cell for cell in lines_of(page)["nrms + undefended"] if ", 1 seed, " in cell]
    assert one.endswith("not ranked")


def test_values_of_its_own_on_each_task_make_no_other_method(tmp_path: Path) -> None:
    shop = both_tasks("pgd", hyperparameters={"epsilon": 0.2})[::2]
    news = both_tasks("pgd", hyperparameters={"epsilon": 0.4})[1::2]
    assert lines_of(start_page([*shop, *news], tmp_path)).keys() == {"nrms + pgd values of its own on each task"}


def test_rows_of_one_task_with_other_options_are_other_methods(tmp_path: Path) -> None:
    plain = both_tasks("pgd", hyperparameters={"epsilon": 0.2})
    more = both_tasks("pgd", hyperparameters={"epsilon": 0.4})[::2]
    page = start_page([*plain, *more], tmp_path)
    (row,) = page.all("section", class_="overview")[0].all("tbody")[0].all("tr")
    assert "2 of 2 tasks" in row.all("th")[0].text()
    assert "values of its own" not in row.text()


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


def test_only_methods_on_the_same_tasks_are_ordered_by_what_they_keep(tmp_path: Path) -> None:
    """`easy` has the two tasks on which all keep much: by a mean over what exists it would lead `hard`, which keeps
    more on the task that both have."""
    levels = {
        "shop": {"stuffing": (0.5, 0.5, 0.5)},
        "news": {"tampering": (0.6, 0.6, 0.6)},
        "film": {"swap": (0.7,) * 3},
    }
    more = {"shop": {"stuffing": (0.6, 0.6, 0.6)}, "news": {"tampering": (0.65,) * 3}, "film": {"swap": (0.7,) * 3}}
    has = {"standard": "shop news film", "easy": "news film", "hard": "shop news", "worse": "shop news"}
    records = [
        make_record(
            seed=seed, defense=defense, task=task, clean=0.9, threats=(more if defense == "hard" else levels)[task]
        )
        for defense, tasks in has.items()
        for task in tasks.split()
        for seed in range(3)
    ]
    page = start_page(records, tmp_path)
    lines = lines_of(page)
    assert list(lines) == ["nrms + undefended", "nrms + easy", "nrms + hard", "nrms + worse"]
    assert sum("not run" in cell for cell in lines["nrms + hard"]) == 1  # not "not applicable", which it is not
    caption = page.all("section", class_="overview")[0].all("caption")[0].text()
    assert "Methods on the same tasks stand together" in " ".join(caption.split())


def test_not_run_not_applicable_and_failed_look_different(tmp_path: Path) -> None:
    third = [make_record(seed=s, task="film", threats={"swap": (0.6, 0.5, 0.4)}) for s in range(3)]
    lost = [make_record(seed=s, task="film", defense="pgd", failure="crash", threats={"swap": None}) for s in range(3)]
    unread = [
        make_record(seed=s, model="mf", task=task, threats={threat: None})
        for s in range(3)
        for task, threat in (("shop", "stuffing"), ("news", "tampering"))
    ]
    files = render_records(tmp_path, [*both_tasks("standard"), *both_tasks("pgd"), *third, *lost, *unread])
    rows = read_page(files["index.html"]).all("section", class_="overview")[0].all("tbody")[0].all("tr")
    cells = {
        method_of(row): {
            (cell.text().strip(), cell.attributes["class"])
            for cell in row.all("td")
            if "none" in cell.attributes["class"]
        }
        for row in rows
    }
    assert cells["nrms + pgd"] == {("failed", "number none lost")}
    assert "✕" not in files["index.html"].decode()  # the sign is the style's, so that it is not read aloud
    (told,) = [part.text() for part in read_page(files["index.html"]).all("span", class_="lost")]
    assert told == "3 trainings failed"
    assert cells["mf + undefended"] == {("not applicable", "number none"), ("not run", "number none not-run")}
    style = files["assets/style.css"].decode()
    assert '.not-run::before{content:"○ "}' in style  # by a sign and by words, not by colour alone
    assert '.lost::before{content:"✕ "}' in style


def test_what_stands_behind_the_numbers_is_seen(tmp_path: Path) -> None:
    records = [*both_tasks("standard"), *both_tasks("pgd")[:2], make_record(seed=1, defense="pgd", failure="crash")]
    page = start_page(records, tmp_path)
    standing = " ".join(page.all("p", class_="standing")[0].text().split())
    assert (
        standing
        == "Records that are not a frozen release: 2 tasks, 4 rows (2 ranked), 1 to 3 seeds a row, 8 trainings."
    )
    (line,) = [row for row in page.all("tr") if "pgd" in row.text() and "seed 1 failed" in row.text()]
    assert any(cell.text().split() == ["1", "seed", "1", "failed"] for cell in line.all("td"))

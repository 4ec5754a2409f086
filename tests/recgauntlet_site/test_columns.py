"""Columns of the board that depend on the table: the main number beside several ranked threats."""

from __future__ import annotations

from pathlib import Path

from board import render_records
from page_reader import read_page
from synthetic_places import with_places
from synthetic_popular import with_popular
from synthetic_records import make_record

from recgauntlet.leaderboard.build import build_table
from recgauntlet.leaderboard.schema import TaskTable
from recgauntlet.records.io import read_records, write_record
from recgauntlet_site.columns import Column, columns_of
from recgauntlet_site.render import render_site


def table_of(threats: dict[str, tuple[float, float, float]]) -> TaskTable:
    (table,) = build_table([make_record(seed=seed, threats=threats) for seed in range(3)])
    return table


def column_of(table: TaskTable, key: str) -> Column | None:
    return next((column for column in columns_of(table) if column.key == key), None)


def test_with_several_ranked_threats_the_main_number_has_a_column_that_names_its_threat() -> None:
    table = table_of({"stuffing": (0.6, 0.55, 0.5), "swap": (0.6, 0.45, 0.4)})
    column = column_of(table, "worst")
    assert column is not None
    (row,) = table.rows
    content = column.content(row)
    cell = row.worst_cell
    assert cell is not None
    assert cell.attack_success is not None
    assert row.worst == "swap"
    assert content.value == f"{100 * cell.robust.value:.1f}"
    assert content.more == f"swap, {100 * cell.attack_success.value:.1f} % turned"


def test_all_items_have_columns_beside_the_sampled_candidates(tmp_path: Path) -> None:
    records = [make_record(seed=seed) for seed in range(3)]
    listed = [with_places(record).sealed() for record in records]
    (table,), (plain,) = build_table(listed), build_table(records)
    keys = {"recall10-catalog", "ndcg10-catalog", "mrr-catalog"}
    assert {column.key for column in columns_of(table)} - {column.key for column in columns_of(plain)} == keys
    column = column_of(table, "recall10-catalog")
    assert column is not None
    assert column.content(table.rows[0]).value == "0.5000"
    for found, there in ((table, True), (plain, False)):
        sampled = column_of(found, "ndcg10")
        assert sampled is not None
        assert ("sampled candidates" in sampled.note) == there
    files = render_records(tmp_path, listed)
    (page,) = [content for path, content in files.items() if path.startswith("rows/")]
    text = read_page(page).text()
    assert "Among all items that the user never took" in text
    assert "Recall@10, all items" in text


def test_with_one_ranked_threat_its_own_column_is_the_main_number() -> None:
    assert column_of(table_of({"stuffing": (0.6, 0.5, 0.4), "embedding": (0.6, 0.3, 0.2)}), "worst") is None


def test_candidates_drawn_by_popularity_have_columns_and_a_section_of_the_row_page(tmp_path: Path) -> None:
    records = [make_record(seed=seed) for seed in range(3)]
    popular = [with_popular(record).sealed() for record in records]
    keys = {"auc-popular", "gauc-popular", "mrr-popular", "ndcg5-popular", "ndcg10-popular"}
    (table,), (plain,) = build_table(popular), build_table(records)
    assert {column.key for column in columns_of(table)} - {column.key for column in columns_of(plain)} == keys
    column = column_of(table, "ndcg10-popular")
    assert column is not None
    assert column.content(table.rows[0]).value == "0.5000"
    for found, there in ((popular, True), (records, False)):
        files = render_records(tmp_path / str(there), found)
        (page,) = [content for path, content in files.items() if path.startswith("rows/")]
        text = read_page(page).text()
        assert ("drawn by popularity; above they are drawn uniformly" in text) == there
        assert ("0.5000" in text) == there


def test_rows_of_submissions_and_of_other_packages_have_a_column(tmp_path: Path) -> None:
    ours, theirs, sent = ([make_record(seed=seed, defense=name) for seed in range(3)] for name in ("pgd", "own", "new"))
    other = {"distribution": "their-package", "version": "2.0"}
    changed = [r.model_copy(update={"defense": r.defense.model_copy(update=other)}).sealed() for r in [*theirs, *sent]]
    assert column_of(build_table(ours)[0], "external") is None
    (table,) = build_table([*ours, *changed])
    submitted = {record.digest: "my-defense" for record in changed if record.defense.name == "new"}
    (column,) = [column for column in columns_of(table, submitted) if column.key == "external"]
    found = {row.defense.name: column.content(row) for row in table.rows}
    assert {name: content.value for name, content in found.items()} == {
        "pgd": "–",
        "own": "other package",
        "new": "submitted",
    }
    assert (found["new"].small, found["new"].more) == ("their-package 2.0", "my-defense")
    # where a record came with a submission is known by its place
    directory = tmp_path / "2027.1"
    for number, record in enumerate([*ours, *changed]):
        place = directory / "submissions" / "my-defense" if record.digest in submitted else directory
        write_record(record, place / f"{number}.json")
    files = dict(render_site([("2027.1", directory, read_records(directory))]))
    (page,) = [read_page(content) for path, content in files.items() if path.startswith("tasks/")]
    cells = [cell.text() for cell in page.all("td") if cell.attributes.get("data-label", "").startswith("External")]
    assert sorted(cells) == ["other package their-package 2.0", "submitted their-package 2.0 my-defense", "–"]

"""The picture of all tasks: every ranked row once, in the numbers of the tables, with one colour a defense."""

from __future__ import annotations

from synthetic_records import make_record

from recgauntlet.leaderboard.build import build_table
from recgauntlet.records.schema import RunRecord
from recgauntlet_site.figures import all_tasks
from recgauntlet_site.figures.style import SERIES
from recgauntlet_site.format import percent, row_name, times


def records(defenses: tuple[str, ...], tasks: tuple[str, ...] = ("shop", "news"), seeds: int = 3) -> list[RunRecord]:
    threat = {"shop": "stuffing", "news": "tampering", "film": "swap"}
    return [
        make_record(
            task=task,
            defense=defense,
            seed=seed,
            ratio=None if defense == "standard" else 1.5,
            threats={threat[task]: (0.6, 0.5, 0.4)},
        )
        for task in tasks
        for defense in defenses
        for seed in range(seeds)
    ]


def test_every_ranked_row_is_in_the_data_with_the_numbers_of_its_table() -> None:
    tables = build_table([*records(("standard", "pgd")), *records(("fgm",), ("shop",), seeds=1)])
    figure = all_tasks(tables)
    assert figure is not None
    expected = []
    for table in tables:
        for row in table.rows:
            if row.rank is not None:
                assert row.worst_cell is not None
                numbers = (percent(row.clean.value), percent(row.worst_cell.robust.value))
                expected.append((table.task, row_name(row), *numbers, times(row.cost.flops_ratio)))
    assert [(line[0], line[2], line[4], line[6], line[8]) for line in figure.rows] == expected
    assert len(expected) == 4  # not the row of one seed
    axes = [ax for ax in figure.drawing.axes if ax.axison]
    assert [ax.get_title() or ax.get_title("left") for ax in axes] == ["news", "shop"]
    drawn = [line for ax in axes for line in ax.lines if line.get_linestyle() == "None"]
    assert len(drawn) == 4
    clean = sorted(float(line.get_xdata()[0]) for line in drawn)
    assert [percent(value / 100) for value in clean] == sorted(line[4] for line in figure.rows)
    assert "news: 2 rows" in figure.description


def test_a_task_without_a_ranked_row_is_left_out_and_nothing_is_drawn_without_any() -> None:
    figure = all_tasks(build_table([*records(("standard",)), *records(("standard",), ("film",), seeds=1)]))
    assert figure is not None
    assert {line[0] for line in figure.rows} == {"shop", "news"}
    assert all_tasks(build_table(records(("standard",), seeds=1))) is None
    assert all_tasks(build_table([make_record(track="demo", seed=seed) for seed in range(3)])) is None


def test_a_defense_has_one_colour_on_all_tasks_and_many_defenses_are_drawn_by_family() -> None:
    def colours(defenses: tuple[str, ...]) -> list[set[str]]:
        figure = all_tasks(build_table(records(defenses)))
        assert figure is not None
        axes = [ax for ax in figure.drawing.axes if ax.axison]
        return [{str(line.get_markerfacecolor()) for line in ax.lines if line.get_linestyle() == "None"} for ax in axes]

    few = colours(("standard", "fgm", "pgd"))
    assert few[0] == few[1]
    assert len(few[0]) == 3
    many = ("fgm", "pgd", "trades", "free", "freelb", "mart", "awp")
    assert len(many) >= SERIES
    assert [len(found) for found in colours(("standard", *many))] == [2, 2]

"""What each kind of figure shows: fronts, panels, costs, cells and seeds."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import combinations

import pytest
from figure_tables import few_rows, many_rows, table_of
from matplotlib.lines import Line2D
from matplotlib.text import Text
from synthetic_records import make_record

from recgauntlet.leaderboard.build import build_table
from recgauntlet.leaderboard.schema import Row, TaskTable
from recgauntlet_site.figures import Figure, accuracy_cost, clean_robust, heat_map, security_curves, seed_spread
from recgauntlet_site.figures.heat_map import MOST_ROWS
from recgauntlet_site.figures.rows import plotted_rows
from recgauntlet_site.figures.security_curves import MOST_LINES, MOST_PANELS
from recgauntlet_site.figures.style import LIGHT, PAPER
from recgauntlet_site.format import percent, times


@pytest.fixture(scope="module")
def few() -> TaskTable:
    return few_rows()


@pytest.fixture(scope="module")
def forty() -> TaskTable:
    return many_rows()


def present(figure: Figure | None) -> Figure:
    assert figure is not None
    return figure


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.drawing.findobj(Text) if text.get_visible() and text.get_text()]


def lines(figure: Figure) -> list[Line2D]:
    """The lines and markers of the axes, without those of legends."""
    return [line for ax in figure.drawing.axes for line in ax.lines]


def hollow(figure: Figure) -> int:
    return sum(line.get_markerfacecolor() == PAPER for line in lines(figure))


def with_values(table: TaskTable, values: dict[str, tuple[float, float, float]]) -> TaskTable:
    """The table with clean and robust accuracy (under its first threat) and cost of each defense set."""
    threat = table.threats[0].id

    def changed(row: Row) -> Row:
        clean, robust, cost = values[row.defense.name]
        threats = tuple(
            replace(
                cells, cells=tuple(replace(cell, robust=replace(cell.robust, value=robust)) for cell in cells.cells)
            )
            if cells.threat == threat
            else cells
            for cells in row.threats
        )
        costs = replace(row.cost, flops_ratio=None if row.defense.name == "standard" else cost)
        return replace(row, clean=replace(row.clean, value=clean), threats=threats, cost=costs)

    return replace(table, rows=tuple(map(changed, table.rows)))


def test_the_front_is_told_for_two_quantities_and_for_three(few: TaskTable) -> None:
    table = with_values(
        few, {"standard": (0.7, 0.5, 1.0), "fgm": (0.8, 0.6, 1.2), "pgd": (0.75, 0.65, 2.0), "flat": (0.9, 0.9, 1.0)}
    )
    figure = present(clean_robust(table, table.threats[0]))
    on = {row[1]: row[-1] for row in figure.rows}
    assert on == {"nrms + undefended": "with cost", "nrms + fgm": "yes", "nrms + pgd": "yes", "nrms + flat": "no"}
    assert (
        "On the Pareto front of both: nrms + pgd (75.0 % clean, 65.0 % robust, 2.00×) and nrms + fgm"
        in figure.description
    )
    assert "With training cost as the third quantity also: nrms + undefended." in figure.description


def test_an_unranked_row_is_hollow_and_on_no_front(few: TaskTable) -> None:
    figure = present(clean_robust(few, few.threats[0]))
    assert next(row for row in few.rows if row.defense.name == "flat").rank is None
    assert hollow(figure) == 1
    assert "not ranked" in texts(figure)
    assert "1 of them unranked, drawn hollow." in figure.description


def test_rows_of_fewer_seeds_than_most_are_on_no_front() -> None:
    """The row of one seed beats all others, over a seed that is not comparable with means of three."""
    records = [make_record(seed=seed, defense=name) for seed in range(3) for name in ("standard", "pgd")]
    (table,) = build_table([*records, make_record(defense="lucky", clean=0.95, threats={"stuffing": (0.9, 0.9, 0.9)})])
    unranked = replace(table, rows=tuple(replace(row, rank=None) for row in table.rows))
    for own in (table, unranked):
        assert {row.row.defense.name for row in plotted_rows(own).all if row.competes} == {"standard", "pgd"}


def test_where_nothing_is_ranked_the_front_says_what_it_is_worth() -> None:
    options = [{"defense": name, "ratio": 1.2, "clean": clean} for name, clean in (("a", 0.6), ("b", 0.8))]
    threats = [{"stuffing": (0.7, robust, 0.3), "embedding": (0.6, 0.5, 0.4)} for robust in (0.55, 0.45)]
    table = table_of({}, *({**o, "threats": t} for o, t in zip(options, threats, strict=True)), seeds=1)
    figure = present(clean_robust(table, table.threats[0]))
    assert all(row.hollow and row.competes for row in plotted_rows(table).all)
    assert "No row is ranked: the front is of rows that failed no check." in figure.description
    assert any("No row is ranked" in text for text in texts(figure))


def test_models_have_no_common_front_under_a_threat_on_embeddings(forty: TaskTable, few: TaskTable) -> None:
    column = next(column for column in forty.threats if column.surface == "embedding")
    figure = present(clean_robust(forty, column))
    assert "may not be compared across models" in figure.description
    assert {row[-1] for row in figure.rows} == {"–"}
    own = next(column for column in few.threats if column.surface == "embedding")
    assert "On the Pareto front of both" in present(clean_robust(few, own)).description


def test_a_markers_area_grows_with_the_training_cost(few: TaskTable) -> None:
    values = {"standard": (0.7, 0.5, 1.0), "fgm": (0.8, 0.6, 4.0), "pgd": (0.75, 0.65, 2.0), "flat": (0.9, 0.9, 1.0)}
    table = with_values(few, values)
    figure = present(clean_robust(table, table.threats[0]))
    areas = {line.get_markerfacecolor(): line.get_markersize() ** 2 for line in lines(figure)}
    colours = {row.row.defense.name: row.series.colour for row in plotted_rows(table).all}
    assert areas[colours["fgm"]] == pytest.approx(2 * areas[colours["pgd"]])


def test_of_forty_rows_the_front_the_undefended_and_some_extremes_are_named(forty: TaskTable) -> None:
    figure = present(clean_robust(forty, forty.threats[0]))
    named = set(texts(figure))
    labels = {row.name: row.label for row in plotted_rows(forty).all}
    on_front = [labels[row[1]] for row in figure.rows if row[-1] == "yes"]
    assert on_front
    assert {*on_front, "nrms"} <= named
    assert len(named & set(labels.values())) < 25
    for family in ("undefended", "adversarial training", "cost levers", "inference time", "data side"):
        assert family in named


def test_names_beside_markers_do_not_cover_each_other(forty: TaskTable) -> None:
    for figure in (
        clean_robust(forty, forty.threats[0]),
        accuracy_cost(forty),
        clean_robust(forty, forty.threats[1]),
    ):
        (ax,) = present(figure).drawing.axes
        boxes = [(text.get_text(), text.get_window_extent()) for text in ax.texts]
        assert len(boxes) > 5
        sheet = ax.get_window_extent()
        assert all(box.x0 >= sheet.x0 - 1 and box.x1 <= sheet.x1 + 1 for _, box in boxes)
        for (one, a), (other, b) in combinations(boxes, 2):
            wide, high = min(a.x1, b.x1) - max(a.x0, b.x0), min(a.y1, b.y1) - max(a.y0, b.y0)
            assert wide <= 2.01 or high <= 2.51, (one, other)


def test_of_few_rows_all_are_named_with_their_cost(few: TaskTable) -> None:
    for figure in (clean_robust(few, few.threats[0]), accuracy_cost(few)):
        (ax,) = present(figure).drawing.axes
        assert sorted(text.get_text() for text in ax.texts) == sorted(
            f"{row.label} {times(row.row.cost.flops_ratio)}" for row in plotted_rows(few).all
        )


def test_few_curves_share_a_panel_and_each_has_its_colour_marker_and_dashes(few: TaskTable) -> None:
    figure = present(security_curves(few, few.threats[0]))
    (ax,) = figure.drawing.axes
    curves = [line for line in ax.lines if line.get_marker() != "None"]
    assert len(curves) == len(few.rows)
    for look in (
        {line.get_color() for line in curves},
        {line.get_marker() for line in curves},
        {str(line._dash_pattern) for line in curves},  # matplotlib has no public name for it
    ):
        assert len(look) == len(few.rows)
    assert {"nrms", "+ fgm", "+ pgd", "+ flat"} <= set(texts(figure))


def test_many_curves_have_panels_by_family_with_the_undefended_row_in_grey_in_each(forty: TaskTable) -> None:
    figure = present(security_curves(forty, forty.threats[0]))
    panels = figure.drawing.axes
    titles = [ax.get_title("left") for ax in panels]
    assert titles[:3] == ["text models", "collaborative models", "sequential and hybrid models"]
    assert "adversarial training (1 of 3)" in titles
    grey = [line for line in lines(figure) if line.get_color() == LIGHT[0] and len(line.get_xdata()) > 2]
    assert len(grey) == len(titles) <= MOST_PANELS
    curves = [line for line in lines(figure) if line.get_marker() != "None"]
    assert len(curves) == len(forty.rows) - 1
    assert set(texts(figure)) >= {row.label for row in plotted_rows(forty).all if row.label != "nrms"}
    assert any("Grey: nrms, undefended" in text for text in texts(figure))


def test_no_panel_has_more_lines_than_can_be_told_apart() -> None:
    table = many_rows(foreign=120)
    figure = present(security_curves(table, table.threats[0]))
    panels = figure.drawing.axes
    assert len(panels) == MOST_PANELS
    for ax in panels:
        assert 0 < len([line for line in ax.lines if line.get_marker() != "None"]) <= MOST_LINES
    assert "Rows not drawn:" in " ".join(texts(figure))
    assert len(figure.rows) == len(table.rows)


def test_the_words_of_curves_say_who_keeps_most_at_the_standard_tier(forty: TaskTable) -> None:
    column = forty.threats[0]
    budgets = tuple(replace(tier, amount=10 / 3.5) for tier in column.budgets if tier.tier == "standard")
    attacked = replace(column, budgets=budgets)
    figure = present(security_curves(replace(forty, threats=(attacked,)), attacked))
    at = {
        f"{row.model.name} + {row.defense.name}": cells.curve[2].accuracy.value
        for row in forty.rows
        if (cells := row.under(column.id)) is not None
    }
    assert f"keeps most, {percent(max(at.values()))} %" in figure.description
    assert f"least, {percent(min(at.values()))} %" in figure.description


def test_a_curve_that_stays_flat_is_named(few: TaskTable) -> None:
    def flat(row: Row) -> Row:
        if row.defense.name != "pgd":
            return row
        first = row.threats[0]
        curve = tuple(replace(point, accuracy=first.curve[0].accuracy) for point in first.curve)
        return replace(row, threats=(replace(first, curve=curve), *row.threats[1:]))

    table = replace(few, rows=tuple(map(flat, few.rows)))
    assert (
        "A curve that stays flat points to a failing attack: nrms + pgd."
        in present(security_curves(table, table.threats[0])).description
    )
    assert "stays flat" not in present(security_curves(few, few.threats[0])).description


def test_cost_is_relative_to_the_twin_and_models_without_defenses_are_left_out(forty: TaskTable) -> None:
    figure = present(accuracy_cost(forty))
    costs = {row[1]: row[2] for row in figure.rows}
    assert len(costs) == sum(row.model.name == "nrms" for row in forty.rows)
    assert costs["nrms + undefended"] == "1×"
    dearest = max((row for row in forty.rows if row.model.name == "nrms"), key=lambda r: r.cost.flops_ratio or 1)
    assert f"at {dearest.cost.flops_ratio:.2f}×" in figure.description
    assert "1×" in texts(figure)


def test_the_heat_map_prints_every_value_and_hatches_what_is_not_read(forty: TaskTable) -> None:
    figure = present(heat_map(forty))
    (ax,) = figure.drawing.axes
    printed = [text.get_text() for text in ax.texts if re.fullmatch(r"\d+\.\d", text.get_text())]
    expected = [percent(cell.robust.value) for row in forty.rows for cells in row.threats for cell in cells.cells]
    assert sorted(printed) == sorted([*expected, *(percent(row.clean.value) for row in forty.rows)])
    unread = [row for row in forty.rows for cells in row.threats if not cells.applicable]
    assert unread
    assert "not read by the model" in texts(figure)
    assert "not applicable" in {cell for row in figure.rows for cell in row}
    assert sum(patch.get_hatch() is not None for patch in ax.patches) == 3 * len(unread)  # at the three tiers
    names = [text.get_text().split("\u2002")[1] for text in ax.get_yticklabels()]
    assert [name for name in names if "…" not in name] == [
        row.label for row, name in zip(plotted_rows(forty).all, names, strict=True) if "…" not in name
    ]


def test_rows_beyond_sixty_are_named_below_the_heat_map_and_stay_in_its_data() -> None:
    table = many_rows(foreign=25)
    figure = present(heat_map(table))
    assert len(table.rows) > MOST_ROWS
    assert len(figure.rows) == len(table.rows)
    (ax,) = figure.drawing.axes
    assert len(ax.get_yticklabels()) == MOST_ROWS
    (note,) = (text for text in texts(figure) if "Rows not drawn:" in text)
    for row in plotted_rows(table).all[MOST_ROWS:]:
        assert row.label in note.replace("\n", " ")
    assert f"The figure shows the first {MOST_ROWS}." in figure.description


def test_tiers_are_left_out_where_there_is_no_room(few: TaskTable) -> None:
    columns = tuple(replace(few.threats[0], id=f"threat-{number}") for number in range(5))
    rows = tuple(
        replace(row, threats=tuple(replace(row.threats[0], threat=column.id) for column in columns)) for row in few.rows
    )
    table = replace(few, threats=columns, rows=rows)
    assert any("its low, medium and high budget" in text for text in texts(present(heat_map(few))))
    figure = present(heat_map(table))
    assert any("its medium budget" in text for text in texts(figure))
    assert len(figure.header) == 2 + 2 * (1 + 5 * 3)


def test_every_seed_is_a_marker_of_its_row(few: TaskTable) -> None:
    figure = present(seed_spread(few))
    seeds = [line for line in lines(figure) if line.get_marker() == "o"]
    assert [len(line.get_xdata()) for line in seeds] == [len(row.seeds) for row in few.rows]
    shown = next(row for row in figure.rows if row[1] == "nrms + pgd")
    source = next(row for row in few.rows if row.defense.name == "pgd")
    assert shown[2] == "0, 1, 2"
    assert shown[3] == ", ".join(percent(value) for value in source.clean_by_seed)


def test_one_seed_is_said_to_show_no_spread() -> None:
    table = table_of({"further": True}, seeds=1)
    assert "One row has one seed only, so no spread is known." in present(seed_spread(table)).description


def test_many_curves_of_few_defenses_have_a_panel_a_model() -> None:
    models = [{"model": model, "further": True} for model in ("nrms", "naml")]
    options = [{**model, "defense": name, "ratio": 1.2} for model in models for name in ("a", "b", "c")]
    table = table_of(*models, *options, seeds=1)
    titles = [ax.get_title("left") for ax in present(security_curves(table, table.threats[0])).drawing.axes]
    assert sorted(titles[1:]) == ["defenses on naml", "defenses on nrms"]

"""What each kind of figure shows: fronts, panels, costs, cells and seeds."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise

import pytest
from picture_tables import few_rows, many_rows, table_of

from recgauntlet.leaderboard.schema import Row, TaskTable
from recgauntlet_site.format import percent
from recgauntlet_site.pictures import accuracy_cost, clean_robust, heat_map, security_curves, seed_spread
from recgauntlet_site.pictures.drawing import Circle, Drawing, Path, Text
from recgauntlet_site.pictures.heat_map import MOST_ROWS
from recgauntlet_site.pictures.lettering import width
from recgauntlet_site.pictures.looks import looks_of
from recgauntlet_site.pictures.security_curves import MOST_LINES, MOST_PANELS


@pytest.fixture(scope="module")
def few() -> TaskTable:
    return few_rows()


@pytest.fixture(scope="module")
def forty() -> TaskTable:
    return many_rows()


def texts(drawing: Drawing) -> list[str]:
    return [mark.text for mark in drawing.marks if isinstance(mark, Text)]


def hollow(drawing: Drawing) -> int:
    return sum(not isinstance(mark, Text) and mark.style.fill == "paper" for mark in drawing.marks)


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
    picture = clean_robust(table, table.threats[0])
    on = {row[1]: row[-1] for row in picture.rows}
    assert on == {"nrms + standard": "with cost", "nrms + fgm": "yes", "nrms + pgd": "yes", "nrms + flat": "no"}
    assert "On the front of both: nrms + pgd (75.0 % clean, 65.0 % robust, 2.00×) and nrms + fgm" in picture.description
    assert "With training cost as the third quantity, nrms + standard is on it too." in picture.description


def test_an_unranked_row_is_hollow_and_on_no_front(few: TaskTable) -> None:
    picture = clean_robust(few, few.threats[0])
    assert next(row for row in few.rows if row.defense.name == "flat").rank is None
    assert hollow(picture.drawing) == 2  # the row and its sample in the key
    assert "not ranked" in texts(picture.drawing)
    assert "1 of them unranked, drawn hollow." in picture.description


def test_where_nothing_is_ranked_the_front_says_what_it_is_worth() -> None:
    options = [{"defense": name, "ratio": 1.2, "clean": clean} for name, clean in (("a", 0.6), ("b", 0.8))]
    threats = [{"stuffing": (0.7, robust, 0.3), "embedding": (0.6, 0.5, 0.4)} for robust in (0.55, 0.45)]
    table = table_of({}, *({**o, "threats": t} for o, t in zip(options, threats, strict=True)), seeds=1)
    picture = clean_robust(table, table.threats[0])
    assert all(look.hollow and look.competes for look in looks_of(table).all)
    assert "No row is ranked: the front is of those that failed no check." in picture.description
    assert any("No row is ranked" in text for text in texts(picture.drawing))


def test_models_have_no_common_front_under_a_threat_on_embeddings(forty: TaskTable, few: TaskTable) -> None:
    column = next(column for column in forty.threats if column.surface == "embedding")
    picture = clean_robust(forty, column)
    assert "may not be compared across models" in picture.description
    assert {row[-1] for row in picture.rows} == {"–"}
    own = next(column for column in few.threats if column.surface == "embedding")
    assert "On the front of both" in clean_robust(few, own).description


def test_a_markers_area_grows_with_the_training_cost(few: TaskTable) -> None:
    values = {"standard": (0.7, 0.5, 1.0), "fgm": (0.8, 0.6, 4.0), "pgd": (0.75, 0.65, 2.0), "flat": (0.9, 0.9, 1.0)}
    table = with_values(few, values)
    drawing = clean_robust(table, table.threats[0]).drawing
    found = [mark for mark in drawing.marks if isinstance(mark, Path) and mark.closed and mark.style.stroke == "paper"]
    areas = {mark.style.fill: area(mark) for mark in found}
    looks = {look.row.defense.name: look.series.colour for look in looks_of(table).all}
    assert areas[looks["fgm"]] == pytest.approx(2 * areas[looks["pgd"]])


def area(path: Path) -> float:
    (points,) = path.parts
    turns = zip(points, (*points[1:], points[0]), strict=True)
    return abs(sum(a * d - c * b for (a, b), (c, d) in turns)) / 2


def test_of_forty_rows_the_front_the_twin_and_some_extremes_are_named(forty: TaskTable) -> None:
    column = forty.threats[0]
    picture = clean_robust(forty, column)
    named = set(texts(picture.drawing))
    looks = {look.name: look.label for look in looks_of(forty).all}
    on_front = [looks[row[1]] for row in picture.rows if row[-1] == "yes"]
    assert on_front
    assert {*on_front, "nrms"} <= named
    assert len(named & set(looks.values())) < 25
    for family in ("undefended", "adversarial training", "cost levers", "inference time", "data side"):
        assert family in named


def test_names_beside_markers_do_not_cover_each_other(forty: TaskTable) -> None:
    for picture in (clean_robust(forty, forty.threats[0]), accuracy_cost(forty), clean_robust(forty, forty.threats[1])):
        boxes = []
        for mark in picture.drawing.marks:
            if isinstance(mark, Text) and mark.halo:
                wide = width(mark.text, mark.size)
                left = mark.x - {"start": 0.0, "middle": wide / 2, "end": wide}[mark.anchor]
                boxes.append((left, mark.y - 0.7 * mark.size, left + wide, mark.y + 0.1 * mark.size, mark.text))
        assert len(boxes) > 5
        for number, (a, b, c, d, one) in enumerate(boxes):
            for e, f, g, h, other in boxes[:number]:
                assert min(c, g) - max(a, e) < 2 or min(d, h) - max(b, f) < 2, (picture.name, one, other)


def test_few_curves_share_a_plot_and_each_has_its_colour_marker_and_dashes(few: TaskTable) -> None:
    picture = security_curves(few, few.threats[0])
    lines = [mark for mark in picture.drawing.marks if isinstance(mark, Path) and mark.style.width == 1.5]
    looks = {(mark.style.stroke, mark.style.dash) for mark in lines}
    assert len(looks) == len(few.rows)
    assert len({colour for colour, _ in looks}) == len({dash for _, dash in looks}) == len(few.rows)
    assert {"nrms", "+ fgm", "+ pgd", "+ flat"} <= set(texts(picture.drawing))


def test_many_curves_have_panels_by_family_with_the_twin_in_grey_in_each(forty: TaskTable) -> None:
    picture = security_curves(forty, forty.threats[0])
    titles = [mark.text for mark in picture.drawing.marks if isinstance(mark, Text) and mark.bold][1:-1]
    assert titles[:3] == ["text models", "collaborative models", "sequential and hybrid models"]
    assert "adversarial training (1 of 3)" in titles
    lines = [mark for mark in picture.drawing.marks if isinstance(mark, Path) and mark.style.width == 1.5]
    curves = [mark for mark in lines if len(mark.parts[0]) > 2]
    grey = [mark for mark in curves if mark.style.stroke == "s0"]
    assert len(grey) == len(titles) <= MOST_PANELS
    assert len(curves) - len(grey) == len(forty.rows) - 1
    assert set(texts(picture.drawing)) >= {look.label for look in looks_of(forty).all if look.label != "nrms"}
    assert any("Grey: nrms, undefended" in text for text in texts(picture.drawing))


def test_no_panel_has_more_lines_than_can_be_told_apart() -> None:
    table = many_rows(foreign=120)
    picture = security_curves(table, table.threats[0])
    marks = picture.drawing.marks
    starts = [n for n, mark in enumerate(marks) if isinstance(mark, Text) and mark.bold][1:]
    for start, end in pairwise(starts):
        panel = [m for m in marks[start:end] if isinstance(m, Path) and m.style.width == 1.5 and len(m.parts[0]) > 2]
        assert 0 < len(panel) <= MOST_LINES + 1
    assert len(starts) == MOST_PANELS + 1
    assert "Rows not drawn:" in " ".join(texts(picture.drawing))
    assert len(picture.rows) == len(table.rows)


def test_the_words_of_curves_say_who_keeps_most_at_the_standard_tier(forty: TaskTable) -> None:
    column = forty.threats[0]
    budgets = tuple(replace(tier, amount=10 / 3.5) for tier in column.budgets if tier.tier == "standard")
    picture = security_curves(
        replace(forty, threats=(replace(column, budgets=budgets),)), replace(column, budgets=budgets)
    )
    at = {
        f"{row.model.name} + {row.defense.name}": cells.curve[2].accuracy.value
        for row in forty.rows
        if (cells := row.under(column.id)) is not None
    }
    assert f"keeps most, {percent(max(at.values()))} %" in picture.description
    assert f"least, {percent(min(at.values()))} %" in picture.description


def test_a_curve_that_stays_up_is_asked_about(few: TaskTable) -> None:
    def flat(row: Row) -> Row:
        if row.defense.name != "pgd":
            return row
        first = row.threats[0]
        curve = tuple(replace(point, accuracy=first.curve[0].accuracy) for point in first.curve)
        return replace(row, threats=(replace(first, curve=curve), *row.threats[1:]))

    table = replace(few, rows=tuple(map(flat, few.rows)))
    told = security_curves(table, table.threats[0]).description
    assert "nrms + pgd does not come down: ask whether the attack failed." in told
    assert "does not come down" not in security_curves(few, few.threats[0]).description


def test_cost_is_relative_to_the_twin_and_models_without_defenses_are_left_out(forty: TaskTable) -> None:
    picture = accuracy_cost(forty)
    costs = {row[1]: row[2] for row in picture.rows}
    assert len(costs) == sum(row.model.name == "nrms" for row in forty.rows)
    assert costs["nrms + standard"] == "1×"
    dearest = max((row for row in forty.rows if row.model.name == "nrms"), key=lambda r: r.cost.flops_ratio or 1)
    assert f"at {dearest.cost.flops_ratio:.2f}×" in picture.description
    assert "1×" in texts(picture.drawing)


def test_the_dearer_is_never_left_of_the_cheaper(few: TaskTable) -> None:
    values = {"standard": (0.7, 0.5, 1.0), "fgm": (0.8, 0.6, 1.5), "pgd": (0.75, 0.65, 3.0), "flat": (0.9, 0.9, 6.0)}
    table = with_values(few, values)
    found = {look.series.colour: look.row.defense.name for look in looks_of(table).all}
    across = {}
    for mark in accuracy_cost(table).drawing.marks:
        if isinstance(mark, Path) and mark.style.width == 2.0 and mark.style.stroke in found:
            across[found[mark.style.stroke]] = mark.parts[0][0][0]
    assert sorted(across, key=lambda name: across[name]) == ["standard", "fgm", "pgd", "flat"]


def test_the_heat_map_prints_every_value_and_hatches_what_is_not_read(forty: TaskTable) -> None:
    picture = heat_map(forty)
    printed = texts(picture.drawing)
    expected = [percent(cell.robust.value) for row in forty.rows for cells in row.threats for cell in cells.cells] + [
        percent(row.clean.value) for row in forty.rows
    ]
    assert sorted(text for text in printed if re.fullmatch(r"\d+\.\d", text) and text not in BUDGETS) == sorted(
        value for value in expected if value not in BUDGETS
    )
    unread = [row for row in forty.rows for cells in row.threats if not cells.applicable]
    assert unread
    assert "not read by the model" in printed
    assert "not applicable" in {cell for row in picture.rows for cell in row}
    hatches, sample = (
        mark.parts
        for mark in picture.drawing.marks
        if isinstance(mark, Path) and mark.style.stroke == "faint" and len(mark.parts) > 2
    )
    assert len(hatches) % (3 * len(unread)) == 0  # each of their cells at the three tiers is hatched alike
    assert sample
    names = [mark.text for mark in picture.drawing.marks if isinstance(mark, Text) and mark.x == 18.0]
    assert names == [look.label for look in looks_of(forty).all]


BUDGETS = {"0.1", "0.5"}


def test_rows_beyond_sixty_are_named_below_the_heat_map_and_stay_in_its_data() -> None:
    table = many_rows(foreign=40)
    picture = heat_map(table)
    assert len(table.rows) > MOST_ROWS
    assert len(picture.rows) == len(table.rows)
    assert sum(isinstance(mark, Text) and mark.x == 18.0 for mark in picture.drawing.marks) == MOST_ROWS
    below = " ".join(texts(picture.drawing))
    below = below[below.index("Rows not drawn:") :]
    for look in looks_of(table).all[MOST_ROWS:]:
        assert look.label in below
    assert f"The figure shows the first {MOST_ROWS}." in picture.description


def test_tiers_are_left_out_where_there_is_no_room(few: TaskTable) -> None:
    columns = tuple(replace(few.threats[0], id=f"threat-{number}") for number in range(5))
    rows = tuple(
        replace(row, threats=tuple(replace(row.threats[0], threat=column.id) for column in columns)) for row in few.rows
    )
    table = replace(few, threats=columns, rows=rows)
    assert any("low, standard (bold) and high" in text for text in texts(heat_map(few).drawing))
    assert "Each threat at its standard budget." in texts(heat_map(table).drawing)
    assert len(heat_map(table).header) == 2 + 2 * (1 + 5 * 3)


def test_every_seed_is_a_marker_of_its_row(few: TaskTable) -> None:
    drawing = seed_spread(few).drawing
    circles = [mark for mark in drawing.marks if isinstance(mark, Circle)]
    samples = 3
    assert len(circles) == samples + sum(len(row.seeds) for row in few.rows)
    told = next(row for row in seed_spread(few).rows if row[1] == "nrms + pgd")
    source = next(row for row in few.rows if row.defense.name == "pgd")
    assert told[2] == "0, 1, 2"
    assert told[3] == ", ".join(percent(value) for value in source.clean_by_seed)


def test_one_seed_is_said_to_tell_nothing() -> None:
    table = table_of({"further": True}, seeds=1)
    assert "One row has one seed only, which says nothing about this." in seed_spread(table).description


def test_many_curves_of_few_defenses_have_a_panel_a_model() -> None:
    models = [{"model": model, "further": True} for model in ("nrms", "naml")]
    options = [{**model, "defense": name, "ratio": 1.2} for model in models for name in ("a", "b", "c")]
    table = table_of(*models, *options, seeds=1)
    picture = security_curves(table, table.threats[0])
    titles = [mark.text for mark in picture.drawing.marks if isinstance(mark, Text) and mark.bold][1:-1]
    assert sorted(titles[1:]) == ["defenses on naml", "defenses on nrms"]

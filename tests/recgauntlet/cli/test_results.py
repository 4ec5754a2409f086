"""The table that ends `run`, and what `submit` refuses before it runs."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
from command_line import Call, Run, run_words
from hostile import HOSTILE
from rich.console import Console
from synthetic_records import make_record
from tiny_task import make_spec

from recgauntlet.cli.results import print_results
from recgauntlet.leaderboard.build import build_table
from recgauntlet.records.io import read_record
from recgauntlet.records.schema import Gate, RunRecord


def printed(records: list[RunRecord], width: int = 200) -> list[str]:
    written = io.StringIO()
    print_results(Console(file=written, width=width), records)
    return written.getvalue().splitlines()


def columns(lines: list[str]) -> dict[str, dict[str, str]]:
    """What stands under each method, by the label of the line; for one task whose methods fit beside each other."""
    start = next(at for at, line in enumerate(lines) if line.startswith("method "))
    table = [re.split(r" {2,}", line.rstrip()) for line in lines[start:] if not line.startswith("flags")]
    heads = table[0][1:]
    found = {head: {row[0]: row[1 + at] for row in table if len(row) == len(table[0])} for at, head in enumerate(heads)}
    for row in table:
        if row[0] == "FLOPs":  # the first method, the twin, has none
            found[heads[-1]]["FLOPs"] = row[-1]
    return found


def test_a_run_ends_with_the_boards_numbers_beside_the_twins(
    run: Run, tiny_card: Path, tiny_cache: Path, finished_cells: Path
) -> None:
    lines = run(*run_words(tiny_card, finished_cells)).splitlines()
    records = [
        read_record(make_spec(tiny_card, finished_cells, tiny_cache, d).record_path) for d in ("standard", "pgd")
    ]
    (table,) = build_table(records)
    twin, defended = (row for name in ("standard", "pgd") for row in table.named("nrms", name))
    found = columns(lines)
    assert list(found) == ["nrms undefended", "nrms pgd"]
    for row, shown in zip((twin, defended), found.values(), strict=True):
        pairs = {"clean": (row.clean, twin.clean)}
        for column in table.threats:
            cell, other = row.at(column.id), twin.at(column.id)
            assert cell is not None
            assert other is not None
            pairs[column.id] = (cell.robust, other.robust)
        expected = {
            label: f"{100 * own.value:.1f}" + ("" if row is twin else f" ({100 * (own.value - other.value):+.1f})")
            for label, (own, other) in pairs.items()
        }
        assert {label: shown[label] for label in expected} == expected
    assert defended.cost.flops_ratio is not None
    assert found["nrms pgd"]["FLOPs"] == f"{defended.cost.flops_ratio:.2f} x"


def test_a_row_is_compared_with_its_twin_on_the_seeds_that_both_have() -> None:
    twins = [make_record(seed=seed, clean=clean) for seed, clean in ((0, 0.9), (1, 0.6), (2, 0.6))]
    same = twins[0].model_copy(update={"defense": twins[0].defense.model_copy(update={"name": "equal"}), "digest": ""})
    found = columns(printed([*twins, same.sealed()]))
    # clean and two threats: not against the mean of three seeds
    assert sum("(+0.0)" in text for text in found["nrms equal"].values()) == 3
    assert not any("(" in text for text in found["nrms undefended"].values())
    assert found["nrms undefended"]["seeds"] == "0,1,2"


def test_rows_of_other_options_and_flags_are_told_and_what_is_not_read_is_not_robust() -> None:
    gate = Gate(name="gradients", threat="stuffing", passed=False, value=1, limit=0, explanation="x")
    records = [make_record(), *(make_record(defense="pgd", hyperparameters={"epsilon": e}) for e in (0.1, 0.2))]
    records.append(make_record(defense="fgm", gates=(gate,), threats={"stuffing": None, "embedding": (0.6, 0.5, 0.4)}))
    lines = printed(records)
    found = columns(lines)
    assert {"nrms pgd epsilon = 0.1", "nrms pgd epsilon = 0.2"} <= set(found)
    assert "flags of nrms fgm: failed check: gradients under stuffing; does not read what stuffing changes" in lines
    assert found["nrms fgm"]["stuffing"] == "not read"


@pytest.mark.parametrize("width", [40, 60, 80, 200])
def test_every_number_is_whole_in_a_narrow_terminal(width: int) -> None:
    records = [make_record(), *(make_record(defense=name) for name in ("fgm", "pgd", "trades"))]
    lines = printed(records, width)
    assert sum(line.startswith("clean ") for line in lines) == {40: 4, 60: 2, 80: 2, 200: 1}[width]
    assert sum(len(re.findall(r"\d+\.\d", line)) for line in lines if line.startswith("clean ")) == 7


def test_failed_cells_alone_make_no_table() -> None:
    assert printed([make_record(failure="no luck")]) == []


@pytest.mark.parametrize("name", [*HOSTILE[:14], "\x1b[2J[red]boo[/red]\u202e"])
def test_names_move_nothing_on_a_terminal(name: str) -> None:
    gate = Gate(name=name, threat=name, passed=False, value=1, limit=0, explanation=name)
    text = "".join(printed([make_record(), make_record(task="x", model=name, defense=name, gates=(gate,))]))
    assert not re.search(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", text)


@pytest.mark.parametrize(
    ("part", "field", "lacks"),
    [
        (("--task", "video-watch"), "--task", "ecommerce-purchase, news-click"),
        (("--seeds", "0,2"), "--seeds", "1"),
        (("--model", "bert"), "--model", "nrms"),
        (("--model", "bert", "--seeds", "1"), "--seeds, --model", "0, 2, nrms"),
    ],
)
def test_a_part_of_the_recipe_is_refused_before_anything_is_run(
    call: Call, tmp_path: Path, part: tuple[str, ...], field: str, lacks: str
) -> None:
    code, out, err = call("submit", "pgd", *part, "--offline")
    assert (code, out) == (2, "")
    assert f"{field}: leaves out {lacks} of the fixed recipe" in err
    assert "--track demo" in err
    assert not list(tmp_path.iterdir())


def test_the_whole_recipe_and_a_part_on_the_demo_track_are_planned(call: Call) -> None:
    assert "Plan: 18 cells" in call("submit", "pgd", "--offline", "--dry-run")[1]
    code, out, err = call("submit", "pgd", "--task", "video-watch", "--seeds", "0", "--track", "demo", "--dry-run")
    assert (code, "Plan: 2 cells" in out) == (0, True), err

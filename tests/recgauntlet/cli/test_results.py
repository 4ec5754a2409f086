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


def test_a_run_ends_with_the_boards_numbers_beside_the_twins(
    run: Run, tiny_card: Path, tiny_cache: Path, finished_cells: Path
) -> None:
    lines = run(*run_words(tiny_card, finished_cells)).splitlines()
    records = [
        read_record(make_spec(tiny_card, finished_cells, tiny_cache, d).record_path) for d in ("standard", "pgd")
    ]
    (table,) = build_table(records)
    (head,) = (line for line in lines if line.startswith("model ") and "training" in line)
    assert [column.id in head for column in table.threats] == [True] * len(table.threats)
    twin, defended = (row for name in ("standard", "pgd") for row in table.named("nrms", name))
    (first,) = (line for line in lines if line.startswith("nrms   undefended"))
    (second,) = (line for line in lines if line.startswith("nrms   pgd"))
    assert lines.index(first) < lines.index(second)
    for cells, line in ((None, first), (twin, second)):
        row = twin if cells is None else defended
        pairs = [(row.clean, twin.clean)]
        for column in table.threats:
            cell, other = row.at(column.id), twin.at(column.id)
            assert cell is not None
            assert other is not None
            pairs.append((cell.robust, other.robust))
        expected = [
            f"{100 * own.value:.1f}" + ("" if cells is None else f" ({100 * (own.value - other.value):+.1f})")
            for own, other in pairs
        ]
        assert re.findall(r"\d+\.\d(?: \([+-]\d+\.\d\))?(?=  )", line)[: len(pairs)] == expected
    assert defended.cost.flops_ratio is not None
    assert second.rstrip().endswith(f"{defended.cost.flops_ratio:.2f} x")
    assert not first.rstrip().endswith(" x")


def test_a_row_is_compared_with_its_twin_on_the_seeds_that_both_have() -> None:
    twins = [make_record(seed=seed, clean=clean) for seed, clean in ((0, 0.9), (1, 0.6), (2, 0.6))]
    same = twins[0].model_copy(update={"defense": twins[0].defense.model_copy(update={"name": "equal"}), "digest": ""})
    lines = printed([*twins, same.sealed()])
    (line,) = (line for line in lines if line.startswith("nrms   equal"))
    assert line.count("(+0.0)") == 3  # clean and two threats: not against the mean of three seeds
    (twin,) = (line for line in lines if line.startswith("nrms   undefended"))
    assert "(" not in twin
    assert "0,1,2" in twin


def test_rows_of_other_options_and_flags_are_told_and_what_is_not_read_is_not_robust() -> None:
    gate = Gate(name="gradients", threat="stuffing", passed=False, value=1, limit=0, explanation="x")
    records = [make_record(), *(make_record(defense="pgd", hyperparameters={"epsilon": e}) for e in (0.1, 0.2))]
    records.append(make_record(defense="fgm", gates=(gate,), threats={"stuffing": None, "embedding": (0.6, 0.5, 0.4)}))
    lines = printed(records)
    assert any(line.startswith("nrms   pgd epsilon = 0.1 ") for line in lines)
    assert "flags of nrms fgm: failed check: gradients under stuffing; does not read what stuffing changes" in lines
    (line,) = (line for line in lines if line.startswith("nrms   fgm"))
    assert "not read" in line


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

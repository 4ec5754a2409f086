"""Tables for papers: the page's numbers, honest marks, and hostile names that do nothing in any format."""

from __future__ import annotations

import csv
import html.parser
import io
import re
from pathlib import Path

import pytest
from click.testing import CliRunner
from hostile import HOSTILE
from real_latex import compiled, needs_latex
from synthetic_records import make_record

from recgauntlet.cli import cli
from recgauntlet.core.errors import RecordError
from recgauntlet.core.names import shown as shown_name
from recgauntlet.leaderboard.address import Board, locate, open_board
from recgauntlet.leaderboard.compare import against_twins
from recgauntlet.leaderboard.paired import CLEAN, Quantity, paired, twin_of
from recgauntlet.leaderboard.paper_table import PaperTable, TableCell, build_paper_tables
from recgauntlet.leaderboard.paper_table_text import to_html, to_latex, to_markdown
from recgauntlet.leaderboard.selection import Selection, select
from recgauntlet.leaderboard.table_csv import csv_of, to_csv
from recgauntlet.records.io import write_record
from recgauntlet.records.schema import Gate, RunRecord

FAILED = Gate(name="not-constant", threat="", passed=False, value=0.9, limit=0.8, explanation="one answer for all")
STRONG = {"stuffing": (0.72, 0.71, 0.7), "embedding": (0.7, 0.66, 0.5)}


def board_of(directory: Path, records: list[RunRecord]) -> Board:
    for number, record in enumerate(records):
        write_record(record, directory / f"{number}.json")
    return open_board(directory)


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Board:
    records = []
    for seed in range(3):
        records += [
            make_record(seed=seed),
            make_record(seed=seed, defense="fgm", ratio=1.2, threats={"stuffing": (0.6, 0.52, 0.4), "embedding": None}),
            make_record(seed=seed, defense="pgd", ratio=1.5, threats=STRONG),
            make_record(seed=seed, defense="lucky", clean=0.95, gates=(FAILED,), threats={"stuffing": (0.9, 0.9, 0.9)}),
            make_record(seed=seed, task="film", threats={"swap": (0.6, 0.5, 0.4)}),
        ]
    return board_of(tmp_path_factory.mktemp("first"), records)


def paper_table_of(board: Board, **chosen: tuple[str, ...]) -> PaperTable:
    (paper,) = build_paper_tables(board, Selection(tasks=("shop",), **chosen))
    return paper


def cells_of(paper: PaperTable, group: str) -> dict[str, TableCell]:
    (place,) = (n for n, head in enumerate(paper.heads) if (head.group or head.title) == group)
    return {line.defense: line.entries[place] for line in paper.lines}


def test_a_paper_table_has_the_numbers_of_the_table(board: Board) -> None:
    (table,) = (table for table in board.tables if table.task == "shop")
    paper = paper_table_of(board)
    for row, line in zip(table.rows, paper.lines, strict=True):
        assert (line.model, line.defense) == (row.model.name, shown_name("defense", row.defense.name))
        under = row.under("stuffing")
        cell = under and under.at("standard")
        assert cell is not None
        shown = cells_of(paper, "stuffing")[line.defense]
        assert (shown.text, shown.low) == (f"{100 * cell.robust.value:.1f}", f"{100 * cell.robust.low:.1f}")
    assert board.digest[:16] in paper.notes[-1]
    assert "not a frozen release" in paper.notes[-1]


def test_the_best_that_may_be_ranked_is_marked_and_what_is_not_told_from_it(board: Board) -> None:
    found = cells_of(paper_table_of(board), "stuffing")
    assert [d for d, cell in found.items() if cell.best] == ["pgd"]
    assert [d for d, cell in found.items() if cell.tied] == []
    clean = cells_of(paper_table_of(board), "clean")
    assert sum(cell.best for cell in clean.values()) == 1
    assert sum(cell.tied for cell in clean.values()) == 2
    assert found["lucky"].text > found["pgd"].text  # and yet it wins nothing
    assert {line.defense for line in paper_table_of(board).lines if line.unranked} == {"lucky"}


def test_nobody_is_best_where_all_are_alike(tmp_path: Path) -> None:
    none = {"stuffing": (0.0, 0.0, 0.0)}
    records = [make_record(seed=s, defense=d, threats=none) for s in range(3) for d in ("standard", "pgd")]
    found = cells_of(paper_table_of(board_of(tmp_path, records)), "stuffing")
    assert not any(cell.best or cell.tied for cell in found.values())


def test_stars_are_the_paired_test_of_the_ranks_against_the_undefended_twin(board: Board) -> None:
    (table,) = (table for table in board.tables if table.task == "shop")
    row = next(row for row in table.rows if row.defense.name == "pgd")
    twin = twin_of(table, row)
    assert twin is not None
    assert twin.defense.name == "standard"
    quantities = (CLEAN, Quantity("stuffing", "standard"))
    (only,) = select([table], Selection(defenses=("pgd",)))
    found = against_twins(board, table, only, quantities)
    records = {name: [board.records[s.digest] for s in r.sources] for name, r in (("a", row), ("b", twin))}
    assert list(found.values()) == [line.p for line in paired(records["a"], records["b"], quantities)]
    assert cells_of(paper_table_of(board), "stuffing")["pgd"].stars
    assert not cells_of(paper_table_of(board), "stuffing")["undefended"].stars


def test_the_twin_may_describe_its_model_in_other_words(tmp_path: Path) -> None:
    twin = make_record()
    twin = twin.model_copy(update={"model": twin.model.model_copy(update={"summary": "Another sentence."})})
    (table,) = board_of(tmp_path, [twin, make_record(defense="pgd")]).tables
    assert [found.model.summary for row in table.rows if (found := twin_of(table, row))] == ["Another sentence."]


def test_another_model_is_no_twin(tmp_path: Path) -> None:
    records = [make_record(seed=s) for s in range(2)] + [
        make_record(model="mf", defense="pgd", seed=s) for s in range(2)
    ]
    (table,) = board_of(tmp_path, records).tables
    assert [twin_of(table, row) for row in table.rows] == [None, None]


def test_one_seed_earns_no_star(tmp_path: Path) -> None:
    board = board_of(tmp_path, [make_record(), make_record(defense="pgd", threats=STRONG)])
    paper = paper_table_of(board)
    assert not any(entry.stars for line in paper.lines for entry in line.entries)
    assert not any("***" in note for note in paper.notes)
    assert all(line.unranked for line in paper.lines)


def test_an_unread_surface_is_said_to_be_so(board: Board) -> None:
    assert cells_of(paper_table_of(board), "embedding")["fgm"] == TableCell("n/a")


def test_a_selection_keeps_what_it_names(board: Board) -> None:
    paper = paper_table_of(board, defenses=("pgd", "standard"), threats=("stuffing",), tiers=("low", "high"))
    assert {line.defense for line in paper.lines} == {"pgd", "undefended"}
    assert [(h.group, h.title) for h in paper.heads if h.group] == [("stuffing", "low"), ("stuffing", "high")]
    assert len(build_paper_tables(board, Selection())) == 2


@pytest.mark.parametrize(
    ("chosen", "problem", "hint"),
    [
        ({"defenses": ("pdg",)}, "no defense 'pdg'", "pgd"),
        ({"threats": ("stufing",)}, "no threat", "stuffing"),
        ({"tiers": ("top",)}, "no tier", "standard"),
        ({"tasks": ("film",), "defenses": ("pgd",)}, "no row has all", "leave one"),
    ],
)
def test_a_selection_of_nothing_is_refused(
    board: Board, chosen: dict[str, tuple[str, ...]], problem: str, hint: str
) -> None:
    with pytest.raises(RecordError, match=problem) as told:
        build_paper_tables(board, Selection(**chosen))
    assert hint in told.value.remedy


def test_the_csv_is_the_pages_and_tells_p_and_the_release(board: Board) -> None:
    lines = list(csv.DictReader(io.StringIO(csv_of(board, Selection()).decode())))
    page = list(csv.DictReader(io.StringIO(to_csv(board.tables).decode())))
    assert [{key: line[key] for key in page[0]} for line in lines] == page
    assert {line["release_sha256"] for line in lines} == {board.digest}
    p = {line["defense"]: line["p_twin:stuffing:standard"] for line in lines if line["task"] == "shop"}
    assert p["standard"] == ""
    assert 0 <= float(p["pgd"]) < 0.05


def test_the_csv_can_be_narrowed_and_refuses_columns_that_are_not_there(board: Board) -> None:
    chosen = Selection(tasks=("shop",), tiers=("standard",))
    (first, *_) = csv.DictReader(io.StringIO(csv_of(board, chosen, ("robust_accuracy",)).decode()))
    assert {"task", "model", "defense_hyperparameters", "robust_accuracy:stuffing:standard"} <= first.keys()
    assert not {"clean_accuracy", "robust_accuracy:stuffing:low"} & first.keys()
    with pytest.raises(RecordError, match="no column 'robst'"):
        csv_of(board, chosen, ("robst",))


class Tags(html.parser.HTMLParser):
    """The tags of a page."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.found: set[str] = set()
        self.feed(source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.add(tag)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Board:
    """A board whose every name is out to do harm, the threat's too."""
    records = []
    for number, name in enumerate(HOSTILE):
        for defense in ("standard", f"x{name}"):
            for seed in range(2):
                threats = {"stuffing": (0.6, 0.5, 0.4)}
                record = make_record(model=name, defense=defense, seed=seed, pairs=20, threats=threats)
                threat = record.threats[0].model_copy(update={"id": HOSTILE[number - 1]})
                records.append(record.model_copy(update={"threats": (threat,)}).sealed())
    return board_of(tmp_path_factory.mktemp("hostile"), records)


def test_hostile_names_are_text_in_html(hostile: Board) -> None:
    allowed = {"table", "caption", "bdi", "thead", "tbody", "tr", "th", "td", "strong", "em", "sup", "small"}
    assert Tags(to_html(build_paper_tables(hostile, Selection()))).found <= allowed


def test_hostile_names_break_no_row_of_a_markdown_table(hostile: Board) -> None:
    (paper,) = build_paper_tables(hostile, Selection())
    text = to_markdown([paper])
    assert "\x1b" not in text
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len(rows) == len(paper.lines) + 2
    assert {len(re.findall(r"(?<!\\)\|", row.replace("\\\\", ""))) for row in rows} == {len(paper.heads) + 3}


def test_hostile_rows_have_addresses_and_move_nothing_on_a_terminal(hostile: Board) -> None:
    rows = [at for at in locate(str(hostile.directory)).rows if at.row.model.name and at.row.defense.name == "standard"]
    assert len(rows) == len(HOSTILE) - 1
    for at in rows[::4]:
        other = at.address.rpartition("/")[0]
        twin = next(b for b in locate(other).rows if b.row.defense.name != "standard")
        for arguments in (["cite", at.address], ["compare", at.address, twin.address]):
            result = CliRunner().invoke(cli, arguments, catch_exceptions=False)
            assert result.exit_code == 0
            assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", result.output)


@needs_latex
def test_tables_compile_with_booktabs_alone_and_hostile_names_do_nothing(
    board: Board, hostile: Board, tmp_path: Path
) -> None:
    compiled(to_latex(build_paper_tables(board, Selection(tiers=("low", "standard")))), tmp_path / "plain")
    said = compiled(to_latex(build_paper_tables(hostile, Selection(tiers=("low", "high")))), tmp_path / "hostile")
    assert "/etc/passwd" not in said
    assert "root:" not in said


def test_a_label_names_nothing_but_itself(board: Board) -> None:
    paper = paper_table_of(board)
    evil = PaperTable(paper.release, paper.digest, paper.title, "a}\\input{x}", paper.heads, paper.lines, paper.notes)
    assert r"\label{a-input-x-}" in to_latex([evil])


def run(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(cli, ["table", *arguments], catch_exceptions=True)
    return result.exit_code, result.stdout, result.stderr + str(result.exception or "")


def test_the_command_prints_and_writes_every_format(board: Board, tmp_path: Path) -> None:
    where = str(board.directory)
    for form, start in (("markdown", "**film"), ("latex", "% needs"), ("html", "<table"), ("csv", "task,")):
        code, out, _ = run(where, "--format", form)
        assert (code, out[: len(start)]) == (0, start)
        code, nothing, _ = run(where, "--format", form, "--out", str(tmp_path / form))
        assert (code, nothing) == (0, "")
        assert (tmp_path / form).read_text(encoding="utf-8") == out


def test_the_command_selects_rows_and_columns(board: Board) -> None:
    code, out, _ = run(str(board.directory), "--select", "task=shop,defense=pgd", "--columns", "robust_accuracy,auc")
    assert code == 0
    assert len([line for line in out.splitlines() if line.startswith("|")]) == 3
    assert "AUC" in out
    assert "clean" not in out.splitlines()[2]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--select", "defence=pgd"], "KEY being one of"),
        (["--select", "pgd"], "KEY=VALUE"),
        (["--columns", "robust"], "there is no column 'robust'"),
    ],
)
def test_wrong_options_are_told(board: Board, arguments: list[str], told: str) -> None:
    code, _, err = run(str(board.directory), *arguments)
    assert code == 2
    assert told in err

"""The command `recgauntlet site`."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from board import Board
from click.testing import CliRunner
from synthetic_records import make_record

from recgauntlet.core.errors import OutputError
from recgauntlet.core.plugins import find
from recgauntlet.records.io import write_record
from recgauntlet_site.commands import site


def files_below(directory: Path) -> dict[str, bytes]:
    return {p.relative_to(directory).as_posix(): p.read_bytes() for p in directory.rglob("*") if p.is_file()}


def test_the_command_is_registered_as_a_plugin() -> None:
    assert find("commands", "site").value is site


@pytest.mark.slow
def test_two_renderings_from_two_places_are_the_same_bytes(board: Board, tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere" / board.directory.name
    for number, (path, _) in enumerate(reversed(board.results.records)):
        (copy / "records").mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy / "records" / f"{number}.json")
    (copy / "records" / "cut <b>.json").write_text('{"schema_version": 1,')
    outs = []
    for place, out in ((board.directory, tmp_path / "one"), (copy, tmp_path / "two" / "deep")):
        result = CliRunner().invoke(site, ["--results", str(place), "--out", str(out)])
        assert result.exit_code == 0, result.output
        outs.append(files_below(out))
    assert outs[0] == outs[1]
    assert not [name for name, content in outs[1].items() if str(tmp_path).encode() in content]


def test_a_page_that_was_cut_is_whole_after_the_next_build(tmp_path: Path) -> None:
    write_record(make_record(), tmp_path / "results" / "one.json")
    command = ["--results", str(tmp_path / "results"), "--out", str(tmp_path / "page")]
    assert CliRunner().invoke(site, command).exit_code == 0
    pages = {path: path.read_bytes() for path in (tmp_path / "page").rglob("*") if path.is_file()}
    cut = tmp_path / "page" / "index.html"
    cut.write_bytes(pages[cut][:100])
    assert CliRunner().invoke(site, command).exit_code == 0
    assert {path: path.read_bytes() for path in pages} == pages


def test_a_page_runs_no_plugin_and_needs_no_torch(tmp_path: Path) -> None:
    record = make_record(model="nrms", defense="pgd")
    model = record.model.model_copy(update={"summary": "Attention over words.", "citation": "@misc{wu2019neural}"})
    write_record(record.model_copy(update={"model": model}), tmp_path / "results" / "one.json")
    told = (
        "import sys; from recgauntlet.cli import cli;"
        f"cli(['site', '--results', {str(tmp_path / 'results')!r}, '--out', {str(tmp_path / 'page')!r}],"
        " standalone_mode=False);"
        "print([name for name in sys.modules if name.partition('.')[0] in ('torch', 'recgauntlet_baselines')])"
    )
    ran = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines()[-1] == "[]"
    page = (tmp_path / "page" / "models" / "nrms.html").read_text(encoding="utf-8")
    assert "Attention over words." in page
    assert "@misc{wu2019neural}" in page


def test_a_broken_record_is_warned_of_and_does_not_stop_the_page(board: Board, tmp_path: Path) -> None:
    result = CliRunner().invoke(site, ["--results", str(board.directory), "--out", str(tmp_path / "page")])
    assert result.exit_code == 0
    assert "cut <b>.json is left out: is not complete JSON" in result.stderr
    assert str(tmp_path / "page" / "index.html") in result.stdout


@pytest.mark.slow
def test_the_printed_page_renders_again_from_the_copies_beside_it(board: Board, tmp_path: Path) -> None:
    good = tmp_path / "good"
    for _, record in board.results.records:
        write_record(record, good / f"{record.digest}.json")
    first, second = tmp_path / "first", tmp_path / "second"
    CliRunner().invoke(site, ["--results", str(good), "--out", str(first)], catch_exceptions=False)
    CliRunner().invoke(site, ["--results", str(first / "records"), "--out", str(second)], catch_exceptions=False)
    assert files_below(first) == files_below(second)


def test_several_results_directories_make_one_page(tmp_path: Path) -> None:
    write_record(make_record(), tmp_path / "a" / "one.json")
    write_record(make_record(task="news"), tmp_path / "b" / "one.json")
    arguments = ["--results", str(tmp_path / "a"), "--results", str(tmp_path / "b"), "--out", str(tmp_path / "out")]
    CliRunner().invoke(site, arguments, catch_exceptions=False)
    page = (tmp_path / "out" / "index.html").read_text()
    assert ">shop<" in page
    assert ">news<" in page


def test_an_empty_directory_gives_a_page_that_says_so(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    result = CliRunner().invoke(site, ["--results", str(tmp_path / "empty"), "--out", str(tmp_path / "page")])
    assert result.exit_code == 0
    assert "no records yet" in result.stderr
    assert "There are no records yet" in (tmp_path / "page" / "index.html").read_text()


def test_the_page_is_not_written_among_the_results(tmp_path: Path) -> None:
    write_record(make_record(), tmp_path / "results" / "one.json")
    with pytest.raises(OutputError, match="lies inside the results"):
        CliRunner().invoke(
            site,
            ["--results", str(tmp_path / "results"), "--out", str(tmp_path / "results" / "page")],
            catch_exceptions=False,
        )


def test_a_place_that_cannot_be_written_to_is_an_error(board: Board, tmp_path: Path) -> None:
    (tmp_path / "page").write_text("a file")
    result = CliRunner().invoke(site, ["--results", str(board.directory), "--out", str(tmp_path / "page" / "x")])
    assert isinstance(result.exception, OutputError)

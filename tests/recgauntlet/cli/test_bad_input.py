"""Bad input ends in exit code 2 and one message with a remedy, and nothing that was there is lost."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from command_line import Run
from tiny_task import make_spec, write_task

from recgauntlet.core.errors import OutputError
from recgauntlet.records.io import read_record
from recgauntlet.runner.cell import run_cell

OPTIONS = ("word_size=8", "heads=2", "head_size=4", "attention_size=8")


@pytest.fixture
def refuses(run: Run) -> Run:
    """Runs a command, demands exit code 2 and gives its message."""
    return partial(run, code=2)


@pytest.fixture
def card(tmp_path: Path) -> Path:
    return write_task(tmp_path / "task")


@pytest.fixture
def out(finished_cells: Path, tmp_path: Path) -> Path:
    """A results directory with finished cells, which no error may touch."""
    shutil.copytree(finished_cells, tmp_path / "out")
    return tmp_path / "out"


def run(card: str | Path, out: Path, *more: str) -> list[str]:
    options = [part for option in OPTIONS for part in ("--model-option", option)]
    words = ["run", "--task", str(card), "--out", str(out), "--device", "cpu", "--workers", "1", "--offline"]
    return [*words, *options, *more]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("words", "problem", "near"),
    [
        (["--task", "video-wach"], "there is no task named 'video-wach'", "did you mean video-watch?"),
        (["--model", "nrsm"], "there is no model named 'nrsm'", "did you mean nrms"),
        (["--defense", "pdg"], "there is no defense named 'pdg'", "pgd"),
        (["--defense", "zzzz"], "there is no defense named 'zzzz'", "choose one of: apr"),
        (["--track", "demo"], "has no demo track", "choose one of: standard"),
        (["--device", "toaster"], "'toaster' is not a device", "use auto"),
        (["--model-option", "nrms.layers=2"], "nrms has no option 'layers'", "choose among"),
        (["--model-option", "nrms.heads=many"], "'many' is no int", "give a int"),
        (["--defense-option", "pgd.epsilon=true"], "True is no float", "give a float"),
        (["--model-option", "bert.layers=2"], "'bert' has no part in this run", "nrms"),
        (["--defense-option", "fgm.epsilon=1"], "'fgm' has no part in this run", "standard, pgd"),
        (["--dir", "tiny=nowhere"], "names no directory", "--dir news-click="),
        (["--dir", "nonsense"], "is no TASK=DIRECTORY", "--dir news-click="),
        (["--dir", "news-click=."], "'news-click' has no part in this run", "tiny"),
    ],
)
def test_a_wrong_name_or_option_is_told_with_what_is_right(
    refuses: Run, card: Path, out: Path, words: list[str], problem: str, near: str
) -> None:
    before = contents(out)
    given = run(card, out, *words)
    if words[0] == "--task":
        del given[1:3]
    message = refuses(*given)
    assert message.startswith("error: ")
    assert problem in message
    assert near in message.partition("what to do: ")[2]
    assert contents(out) == before


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--seeds", "0,one"], "whole numbers and commas"),
        (["--seeds", ""], "whole numbers and commas"),
        (["--seeds", "-1"], "not negative"),
        (["--model-option", "heads"], "give NAME=VALUE"),
        (["--model-option", "=2"], "give NAME=VALUE"),
        (["--workers", "0"], "workers"),
        (["--threads", "two"], "threads"),
        (["--track", "gold"], "standard"),
        (["--precision", "fp8"], "bf16"),
        (["--nonsense"], "No such option"),
    ],
)
def test_a_malformed_option_is_told(refuses: Run, card: Path, out: Path, words: list[str], problem: str) -> None:
    before = contents(out)
    message = refuses(*run(card, out, *words))
    assert problem in message
    assert "Usage: " in message
    assert contents(out) == before


def test_a_command_that_is_not_there_is_told(refuses: Run) -> None:
    assert "No such command 'rum'" in refuses("rum")


def test_cuda_where_there_is_none(refuses: Run, card: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    message = refuses(*run(card, out, "--device", "cuda"))
    assert "'cuda' is not on this machine" in message
    assert "--device auto" in message


CARDS: dict[str, tuple[Callable[[str], str], str]] = {
    "a missing field": (lambda text: text.replace('title = "Will this reader take this book?"\n', ""), "title"),
    "an unknown field": (lambda text: "colour = 3\n" + text, "colour"),
    "a missing track": (lambda text: text.replace("tracks.standard", "tracks.demo"), "tracks.standard"),
    "falling tiers": (lambda text: text.replace("low = 0.1, standard = 0.5", "low = 0.7, standard = 0.5"), "radius"),
    "two threats of one id": (lambda text: text.replace('"title-rewrite"', '"embedding"'), "two threats of one id"),
    "simulated data that is ranked": (
        lambda text: text.replace("redistributable = true", "redistributable = true\nsimulated = true"),
        "simulated",
    ),
    "a rule that contradicts the data": (
        lambda text: text.replace('rule = "uniform-unseen"', 'rule = "impression"'),
        "negatives.rule",
    ),
    "an unknown cleaning rule": (
        lambda text: text.replace("[[threats]]", "[tracks.standard.cleaning]\nwash = 3\n\n[[threats]]", 1),
        "wash",
    ),
    "more pairs than there are": (lambda text: text.replace("train_pairs = 200", "train_pairs = 90000"), "train_pairs"),
    "no TOML": (lambda text: text + "\nhalf a line", "is not TOML"),
}


@pytest.mark.parametrize("fault", CARDS)
def test_a_card_with_a_fault_is_refused_and_the_field_named(
    refuses: Run, card: Path, tmp_path: Path, fault: str
) -> None:
    change, field = CARDS[fault]
    text = card.read_text(encoding="utf-8")
    assert change(text) != text
    card.write_text(change(text), encoding="utf-8")
    message = refuses(*run(card, tmp_path / "new"))
    problem, _, remedy = message.partition("what to do: ")
    assert field in problem
    assert remedy.strip()
    assert not list((tmp_path / "new").rglob("*.json"))


def test_a_card_that_is_missing_or_not_utf8_is_refused(refuses: Run, card: Path, tmp_path: Path) -> None:
    assert "cannot be read" in refuses(*run(card.with_name("other.toml"), tmp_path / "new"))
    card.write_bytes(card.read_bytes().replace(b"Invented", "Erfunden: größer".encode("latin-1")))
    assert "is not UTF-8" in refuses(*run(card, tmp_path / "new"))


def _rows(change: Callable[[list[str]], list[str]]) -> Callable[[bytes], bytes]:
    return lambda raw: ("\n".join(change(raw.decode().splitlines())) + "\n").encode()


DATA: dict[str, tuple[str, Callable[[bytes], bytes], tuple[str, ...]]] = {
    "interactions cut in a row": ("interactions", lambda raw: raw[: raw.rindex(b",i")] + b",i", ("interactions.csv",)),
    "items cut between rows": ("items", lambda raw: b"\n".join(raw.split(b"\n")[:20]) + b"\n", ("not in the table",)),
    "an empty file": ("items", lambda raw: b"", ("items.csv",)),
    "a header alone": ("items", _rows(lambda rows: rows[:1]), ("items", "no rows")),
    "duplicate ids": ("items", _rows(lambda rows: [*rows, rows[5]]), ("ids stand more than once", "i4")),
    "an empty title": ("items", _rows(lambda rows: [*rows, "i99, ,sea"]), ("empty text", "i99")),
    "a user without history": (
        "interactions",
        _rows(lambda rows: [*rows, "u99,i3,1000000500"]),
        ("without history", "u99"),
    ),
    "text that is not UTF-8": ("items", lambda raw: raw.replace(b"i0,", b"i0,\xff\xfe"), ("UTF-8", "items.csv")),
    "another column": ("items", lambda raw: raw.replace(b"id,text", b"id,headline"), ("text", "no such column")),
    "a time in words": ("interactions", _rows(lambda rows: [*rows, "u1,i3,yesterday"]), ("'yesterday'", "row 841")),
    "a time in milliseconds": (
        "interactions",
        _rows(lambda rows: [*rows, "u1,i3,1700000000000"]),
        ("mixes forms of time", "row 841"),
    ),
}


@pytest.mark.parametrize("fault", DATA)
def test_damaged_data_are_refused_before_any_cell_runs(refuses: Run, card: Path, tmp_path: Path, fault: str) -> None:
    role, change, expected = DATA[fault]
    path = card.with_name(f"{role}.csv")
    raw = path.read_bytes()
    assert change(raw) != raw
    path.write_bytes(change(raw))
    message = refuses(*run(card, tmp_path / "new"))
    assert all(part in message for part in expected), message
    assert message.partition("what to do: ")[2].strip()
    assert not list((tmp_path / "new").rglob("*.json"))


def test_another_version_of_the_data_is_refused(refuses: Run, card: Path, tmp_path: Path) -> None:
    text = card.read_text(encoding="utf-8")
    card.write_text(text.replace('fingerprint = ""', f'fingerprint = "{"0" * 64}"'), encoding="utf-8")
    message = refuses(*run(card, tmp_path / "new"))
    assert "the tables are not those of the card" in message
    assert "fingerprint" in message


def test_missing_data_are_refused(refuses: Run, card: Path, tmp_path: Path) -> None:
    card.with_name("items.csv").unlink()
    assert "items" in refuses(*run(card, tmp_path / "new"))


def test_dir_serves_a_task_of_ones_own_by_its_id(refuses: Run, card: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    message = refuses(*run(card, tmp_path / "new", "--dir", f"tiny={tmp_path / 'empty'}"))
    assert str(tmp_path / "empty") in message


RECORDS: dict[str, tuple[Callable[[str], str], str]] = {
    "truncated": (lambda text: text[: len(text) // 2], "is not complete JSON"),
    "empty": (lambda text: "", "is not complete JSON"),
    "of another schema": (lambda text: text.replace('"schema_version": 2', '"schema_version": 3'), "schema version 3"),
    "edited": (lambda text: text.replace('"seed": 0', '"seed": 5'), "was changed after it was written"),
    "with a field too many": (lambda text: text.replace('"seed": 0', '"seed": 0, "rank": 1'), "rank"),
    "with a field of another type": (lambda text: text.replace('"seed": 0', '"seed": "zero"'), "seed"),
    "without a field": (lambda text: json.dumps({"schema_version": 1}), "Field required"),
    "another file": (lambda text: "[1, 2]", "a JSON object is expected"),
}


@pytest.mark.parametrize("fault", RECORDS)
def test_a_broken_record_is_refused_by_show_and_never_run_over(
    refuses: Run, tiny_card: Path, tiny_cache: Path, out: Path, fault: str
) -> None:
    change, problem = RECORDS[fault]
    path = make_spec(tiny_card, out, tiny_cache).record_path
    text = path.read_text(encoding="utf-8")
    assert change(text) != text
    path.write_text(change(text), encoding="utf-8")
    before = contents(out)
    for words in (["show", path], run(tiny_card, out)):
        message = refuses(*words)
        assert problem in message
        assert path.name in message
        assert message.partition("what to do: ")[2].strip()
    assert contents(out) == before


def test_a_record_that_is_not_there_is_told(refuses: Run, tmp_path: Path) -> None:
    assert "No such file" in refuses("show", tmp_path / "none.json")


def test_an_output_directory_that_cannot_be_made_is_told_before_anything_runs(
    refuses: Run, card: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("mine")
    message = refuses(*run(card, tmp_path / "file" / "below"))
    assert "cannot be written" in message
    assert "--out" in message
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("code", [errno.EACCES, errno.ENOSPC])
def test_no_permission_and_no_space_are_told_before_anything_runs(
    refuses: Run, card: Path, out: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    real = Path.open

    def fails(path: Path, mode: str = "r", *rest: Any, **options: Any) -> Any:
        if mode == "xb" and path.is_relative_to(out):
            raise OSError(code, os.strerror(code))
        return real(path, mode, *rest, **options)

    before = contents(out)
    monkeypatch.setattr(Path, "open", fails)
    message = refuses(*run(card, out, "--seeds", "3"))
    assert os.strerror(code) in message
    assert "--out" in message
    assert contents(out) == before


def test_a_disk_that_fills_up_leaves_old_records_and_no_parts(
    tiny_card: Path, tiny_cache: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = contents(out)

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("recgauntlet.core.files.os.fsync", full)
    with pytest.raises(OutputError, match="No space left") as caught:
        run_cell(make_spec(tiny_card, out, tiny_cache))
    assert "free some disk space" in caught.value.remedy
    assert contents(out) == before


@pytest.mark.slow
def test_defenses_that_break_the_contract_fail_alone(
    refuses: Run, tiny_card: Path, tiny_cache: Path, out: Path, test_plugins: Path
) -> None:
    before = contents(out)
    broken = ("nan-loss", "no-gradient", "wrong-shape")
    refuses(*run(tiny_card, out, "--defense", ",".join(("standard", *broken, "pgd"))))
    for defense, word in zip(broken, ("nan", "has no gradient", "shape (3,)"), strict=True):
        failure = read_record(make_spec(tiny_card, out, tiny_cache, defense).record_path).failure
        assert failure is not None
        assert (failure.kind, failure.stage) == ("PluginError", "training")
        assert word in failure.message
        assert "what to do: " in failure.message
    after = contents(out)
    assert {path: after[path] for path in before} == before


@pytest.mark.parametrize(
    ("name", "problem"), [("no-defense", "is not a subclass of"), ("not-importable", "cannot be loaded")]
)
def test_a_package_that_registers_something_wrong_is_named(
    refuses: Run, tiny_card: Path, out: Path, test_plugins: Path, name: str, problem: str
) -> None:
    assert problem in refuses(*run(tiny_card, out, "--defense", name))

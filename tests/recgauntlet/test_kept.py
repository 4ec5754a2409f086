"""What is kept is found again to the last bit, and what is broken, foreign or old is not believed."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from recgauntlet import kept as module
from recgauntlet.kept import Entry, Kept
from recgauntlet.stats import Estimate


class Numbers(Entry):
    estimate: Estimate
    words: tuple[str, ...] = ()


class Others(Entry):
    estimate: Estimate
    words: tuple[str, ...] = ()


ONE = Numbers(estimate=Estimate(0.1 + 0.2, -1e-300, 5e-324), words=("a\nb", "é\u202e", '"'))
TWO = Numbers(estimate=Estimate(0.5, 0.4, 0.6))


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    found = Kept(tmp_path / "kept")
    found.keep(Numbers, ONE.text(), "one", 1)
    return found


def file_of(kept: Kept) -> Path:
    (path,) = (path for path in kept.directory.rglob("*") if path.is_file())
    return path


def test_what_is_kept_is_found_to_the_last_bit(kept: Kept) -> None:
    assert kept.find(Numbers, "one", 1) == ONE
    assert kept.find(Numbers, "one", 2) is None
    assert kept.find(Numbers, "one") is None


def test_numbers_that_are_none_are_kept_too(kept: Kept) -> None:
    odd = Numbers(estimate=Estimate(math.nan, -math.inf, math.inf))
    kept.keep(Numbers, odd.text(), "odd")
    found = kept.find(Numbers, "odd")
    assert found is not None
    assert repr(found) == repr(odd)


def test_a_text_of_another_kind_is_not_found(kept: Kept) -> None:
    assert kept.find(Others, "one", 1) is None


def test_what_other_code_worked_out_is_not_found(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "code_sum", lambda: "other code")
    assert kept.find(Numbers, "one", 1) is None


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def edit(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b'"value":0.3', b'"value":0.4'))


def garble(path: Path) -> None:
    path.write_bytes(bytes(range(256)))


def pickled(path: Path) -> None:
    path.write_bytes(b"cos\nsystem\n(S'touch owned'\ntR.")


def rename_another(path: Path) -> None:
    other = Kept(path.parent.parent.parent / "another")
    other.keep(Numbers, TWO.text(), "two")
    file_of(other).replace(path)


def make_a_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


BREAKS = [cut, empty, edit, garble, pickled, rename_another, make_a_directory]


@pytest.mark.parametrize("spoil", BREAKS)
def test_an_entry_that_is_broken_or_foreign_counts_for_nothing(kept: Kept, spoil: Callable[[Path], None]) -> None:
    spoil(file_of(kept))
    assert kept.find(Numbers, "one", 1) is None


@pytest.mark.parametrize("spoil", [spoil for spoil in BREAKS if spoil is not make_a_directory])
def test_a_broken_entry_is_written_anew(kept: Kept, spoil: Callable[[Path], None]) -> None:
    spoil(file_of(kept))
    kept.keep(Numbers, ONE.text(), "one", 1)
    assert kept.find(Numbers, "one", 1) == ONE


def test_a_sound_entry_whose_text_is_not_what_was_wanted_counts_for_nothing(kept: Kept) -> None:
    for text in (
        b"{}",
        b"[]",
        b"no json",
        b'{"estimate":{"value":"x","low":0,"high":1}}',
        TWO.text()[:-1] + b',"new":1}',
    ):
        kept.keep(Numbers, text, "odd")
        assert kept.find(Numbers, "odd") is None


def test_a_place_that_cannot_be_written_to_keeps_nothing_and_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no directory")
    kept = Kept(tmp_path / "file" / "kept")
    kept.keep(Numbers, ONE.text(), "one")
    assert kept.find(Numbers, "one") is None
    kept.tidy()


def test_no_part_of_an_entry_is_left_behind(kept: Kept) -> None:
    kept.keep(Numbers, TWO.text(), "two")
    assert [path for path in kept.directory.rglob(".*") if path.is_file()] == []


def test_what_nobody_asked_for_in_a_long_time_is_removed(kept: Kept) -> None:
    kept.keep(Numbers, TWO.text(), "two")
    long_ago = time.time() - 91 * 86400
    for path in kept.directory.rglob("*"):
        if path.is_file():
            os.utime(path, (long_ago, long_ago))
    assert kept.find(Numbers, "two") == TWO  # so somebody asked
    kept.tidy()
    assert kept.find(Numbers, "two") == TWO
    assert kept.find(Numbers, "one", 1) is None


def test_the_sum_of_the_code_is_that_of_this_very_code() -> None:
    assert module.code_sum() == module.code_sum()
    assert len(module.code_sum()) == 64

"""What is kept is found again to the last bit, and what is broken, foreign or old is not believed."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from recgauntlet.leaderboard import kept as module
from recgauntlet.leaderboard.kept import Entry, Kept
from recgauntlet.metrics.bootstrap import Estimate


class Numbers(Entry):
    estimate: Estimate
    words: tuple[str, ...] = ()


class Others(Entry):
    estimate: Estimate
    words: tuple[str, ...] = ()


ONE = Numbers(estimate=Estimate(0.1 + 0.2, -1e-300, 5e-324), words=("a\nb", "é\u202e", '"'))
TWO = Numbers(estimate=Estimate(0.5, 0.4, 0.6))


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory in which ONE and TWO are kept for the board of tmp_path."""
    with Kept(tmp_path / "kept", [tmp_path]) as kept:
        kept.keep(Numbers, ONE.text(), "one", 1)
        kept.keep(Numbers, TWO.text(), "two")
    return tmp_path / "kept"


def found(place: Path, *parts: object, kind: type[Numbers | Others] = Numbers, board: str = ".") -> object:
    with Kept(place, [place.parent / board]) as kept:
        return kept.find(kind, *parts)


def file_in(place: Path) -> Path:
    (path,) = place.iterdir()
    return path


def test_what_is_kept_is_found_to_the_last_bit(place: Path) -> None:
    with Kept(place, [place.parent]) as kept:
        assert kept
        assert kept.find(Numbers, "one", 1) == ONE
        assert kept.find(Numbers, "two") == TWO
        assert kept.find(Numbers, "one", 2) is None
        assert kept.find(Numbers, "one") is None
    assert not Kept(place, [place.parent])  # not before it is entered


def test_what_is_kept_for_one_board_is_found_for_another(place: Path) -> None:
    assert found(place, "two", board="other") == TWO
    assert len(list(place.iterdir())) == 2
    assert found(place, "two", board="third") == TWO


def test_numbers_that_are_none_are_kept_too(place: Path) -> None:
    odd = Numbers(estimate=Estimate(math.nan, -math.inf, math.inf))
    with Kept(place, [place]) as kept:
        kept.keep(Numbers, odd.text(), "odd")
    assert repr(found(place, "odd")) == repr(odd)


def test_a_text_of_another_kind_is_not_found(place: Path) -> None:
    assert found(place, "two", kind=Others) is None


def test_what_other_code_worked_out_is_not_found(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "code_sum", lambda: "other code")
    assert found(place, "two") is None
    path = file_in(place.parent / "kept")
    path.rename(path.with_name("other code-" + path.name.partition("-")[2]))
    assert found(place, "two") is None


def cut(content: bytes) -> bytes:
    return content[:-1]


def empty(content: bytes) -> bytes:
    return b""


def edit(content: bytes) -> bytes:
    return content.replace(b'"value":0.', b'"value":0.9')


def exchange(content: bytes) -> bytes:
    (first, one), (second, other) = (line.split(b" ", 1) for line in content.split(b"\n"))
    return first + b" " + other + b"\n" + second + b" " + one


def garble(content: bytes) -> bytes:
    return bytes(range(256)) * 3


def pickled(content: bytes) -> bytes:
    return b"cos\nsystem\n(S'touch owned'\ntR."


def shift(content: bytes) -> bytes:
    return content[1:]


BREAKS = [cut, empty, edit, exchange, garble, pickled, shift]


@pytest.mark.parametrize("spoil", BREAKS)
def test_entries_that_are_broken_or_foreign_count_for_nothing_and_are_written_anew(
    place: Path, spoil: Callable[[bytes], bytes]
) -> None:
    path = file_in(place)
    content = path.read_bytes()
    path.write_bytes(spoil(content))
    with Kept(place, [place.parent]) as kept:
        assert None in (kept.find(Numbers, "one", 1), kept.find(Numbers, "two"))
        kept.keep(Numbers, ONE.text(), "one", 1)
        kept.keep(Numbers, TWO.text(), "two")
    assert file_in(place).read_bytes() == content


def test_a_sound_entry_whose_text_is_not_what_was_wanted_counts_for_nothing(place: Path) -> None:
    wrong = b'{"estimate":{"value":"x","low":0,"high":1}}'
    for text in (b"{}", b"[]", b"no json", wrong, TWO.text()[:-1] + b',"new":1}'):
        with Kept(place, [place.parent]) as kept:
            kept.keep(Numbers, text, "odd")
        assert found(place, "odd") is None


@pytest.mark.parametrize("spoil", [lambda path: path.mkdir(), lambda path: path.symlink_to(path)])
def test_a_file_that_cannot_be_read_hides_no_other(place: Path, spoil: Callable[[Path], None]) -> None:
    spoil(place / f"{module.code_sum()[:16]}-0000000000000000.entries")
    assert found(place, "two") == TWO


def test_a_place_that_cannot_be_written_to_keeps_nothing_and_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no directory")
    with Kept(tmp_path / "file" / "kept", [tmp_path]) as kept:
        kept.keep(Numbers, ONE.text(), "one")
    assert found(tmp_path / "file" / "kept", "one") is None


def test_what_is_no_longer_asked_for_goes(place: Path) -> None:
    assert found(place, "two") == TWO
    assert found(place, "one", 1) is None


def test_an_error_or_an_interrupt_loses_nothing(place: Path) -> None:
    new = Numbers(estimate=Estimate(1, 0, 2))
    with pytest.raises(KeyboardInterrupt), Kept(place, [place.parent]) as kept:  # noqa: PT012
        assert kept.find(Numbers, "two") == TWO
        kept.keep(Numbers, new.text(), "new")
        raise KeyboardInterrupt
    with Kept(place, [place.parent]) as kept:
        assert [kept.find(Numbers, *parts) for parts in (("one", 1), ("two",), ("new",))] == [ONE, TWO, new]


def test_no_part_of_a_file_is_left_behind_and_what_did_not_change_is_not_written(place: Path) -> None:
    before = file_in(place).stat()
    with Kept(place, [place.parent]) as kept:
        assert kept.find(Numbers, "one", 1) == ONE
        assert kept.find(Numbers, "two") == TWO
    assert file_in(place).stat().st_ino == before.st_ino


def test_what_nobody_asked_for_in_a_long_time_is_removed(place: Path) -> None:
    assert found(place, "two") == TWO
    long_ago = time.time() - 91 * 86400
    old = place / "0123456789abcdef-0123456789abcdef.entries"
    old.write_bytes(b"of former code")
    for path in place.iterdir():
        os.utime(path, (long_ago, long_ago))
    (place / "own.txt").write_text("no entries")
    os.utime(place / "own.txt", (long_ago, long_ago))
    assert found(place, "two") == TWO
    assert not old.exists()
    assert (place / "own.txt").exists()
    assert found(place, "two") == TWO


def test_the_sum_of_the_code_is_that_of_this_very_code() -> None:
    assert module.code_sum() == module.code_sum()
    assert len(module.code_sum()) == 64

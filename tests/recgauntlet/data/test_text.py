from __future__ import annotations

import pytest

from recgauntlet.core.errors import DataError
from recgauntlet.data.text import decode, normalize, separated, straighten


def test_normalizing_composes_letters_and_squeezes_blanks() -> None:
    assert normalize("  Cafe\u0301\t au \u00a0lait\x07 ") == "Caf\u00e9 au lait"


def test_quotation_marks_become_straight() -> None:
    assert straighten("\u201cIt\u2019s\u201d") == '"It\'s"'


def test_text_that_is_not_utf8_names_the_line() -> None:
    with pytest.raises(DataError, match="not UTF-8") as caught:
        decode(b"one\ntwo\nth\xe9ee\n", "toys.tsv")
    assert (caught.value.where, caught.value.field) == ("toys.tsv", "line 3")
    assert decode(b"th\xe9ee", "toys.tsv", "latin-1") == "th\u00e9ee"


def test_a_nul_byte_is_no_text() -> None:
    with pytest.raises(DataError, match="NUL byte") as caught:
        decode(b"one\n\0\0", "toys.tsv", "latin-1")
    assert caught.value.field == "line 2"


def test_a_byte_order_mark_is_left_out() -> None:
    assert decode(b"\xef\xbb\xbfid", "toys.csv") == "id"


def test_a_line_with_another_number_of_fields_is_named() -> None:
    assert separated("a|b\r\nc|d\n\n", "|", 2, "toys") == [["a", "b"], ["c", "d"]]
    with pytest.raises(DataError, match="has 1 fields where 2") as caught:
        separated("a|b\nc", "|", 2, "toys")
    assert caught.value.field == "line 2"
    with pytest.raises(DataError, match="is empty"):
        separated(" \n", "|", 2, "toys")

"""Foreign text cannot run, hide, open or reorder anything in any of the places it is shown in."""

from __future__ import annotations

import csv
import html.parser
import io
import re
import unicodedata

import pytest
from hostile import HOSTILE
from hypothesis import example, given
from hypothesis import strategies as st

from recgauntlet.core import escape as escaping

ALLOWED = {
    "textbackslash", "textbraceleft", "textbraceright", "textasciicircum", "textasciitilde", "textless", "textgreater",
    "textbar", "textquotedblright", "textquotedblleft", "textquoteright", "textquoteleft", "textasciigrave", "ss", "ae",
    "AE", "oe", "OE", "o", "O", "l", "L", "i", "j", "ldots", "textendash", "textemdash", "texttt", "u", "r", "H", "v",
    "c", "textdagger",
}  # fmt: skip
texts = st.text(max_size=40) | st.sampled_from(HOSTILE)


class Plain(html.parser.HTMLParser):
    """What a browser takes a piece of HTML for."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""
        self.feed(source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


def unseen(text: str) -> list[str]:
    return [c for c in text if unicodedata.category(c) in {"Cc", "Cf", "Cs", "Zl", "Zp"} and c not in "\u200c\u200d"]


@given(texts)
def test_what_a_terminal_shows_moves_no_cursor_and_reorders_nothing(text: str) -> None:
    assert unseen(escaping.terminal(text)) == []


@given(st.text(alphabet=st.characters(categories=["L", "N", "P", "S"]), max_size=30))
def test_ordinary_text_stays_as_it_is_on_a_terminal(text: str) -> None:
    assert escaping.terminal(text) == text


def test_a_line_break_may_be_kept_where_it_does_no_harm() -> None:
    assert escaping.visible("a\u0000\nb", keep="\n") == "a\\u0000\nb"


@given(texts)
def test_html_is_text_and_nothing_else(text: str) -> None:
    read = Plain(f'<p title="{escaping.html(text)}">{escaping.html(text)}</p>')
    assert read.tags == ["p"]
    assert read.text == escaping.visible(text)


@given(texts)
def test_a_csv_reader_gets_the_text_and_a_spreadsheet_no_formula(text: str) -> None:
    out = io.StringIO(newline="")
    csv.writer(out, lineterminator="\n").writerow([escaping.csv_cell(text), "next"])
    ((cell, after),) = csv.reader(io.StringIO(out.getvalue()))
    assert after == "next"
    assert cell.removeprefix("'") == escaping.visible(text).removeprefix("'")
    assert cell.lstrip()[:1] not in {*"=+-@"} | {"＝", "＋", "－", "＠"}
    assert unseen(cell) == []


@given(st.integers() | st.floats(allow_nan=False))
def test_a_number_stays_a_number_in_a_csv(value: float) -> None:
    assert escaping.csv_cell(value) is value


def test_nothing_is_an_empty_cell() -> None:
    assert escaping.csv_cell(None) == ""


@given(texts)
@example("".join(escaping._LATEX))
def test_latex_is_ascii_balanced_and_calls_known_commands_only(text: str) -> None:
    done = escaping.latex(text)
    assert done.isascii()
    assert "\n" not in done
    assert set(re.findall(r"\\([A-Za-z]+)", done)) <= ALLOWED
    assert set(re.findall(r"\\([^A-Za-z])", done)) <= {*"$&%#_`'^~=.\""}
    depth = 0
    for character in done:  # BibTeX counts braces whatever stands before them
        depth += {"{": 1, "}": -1}.get(character, 0)
        assert depth >= 0
    assert depth == 0
    assert not re.search(r"(?<!\\)[$&%#_]", done)


@pytest.mark.parametrize(
    ("text", "done"),
    [
        ("é", r"\'{e}"),
        ("í", r"\'{\i}"),
        ("Łódź", r"\L{}\'{o}d\'{z}"),
        ("模", r"\texttt{U+6A21}"),
        ("ą", r"\texttt{U+0105}"),
        ("a--b", "a-{}-b"),
        ("*[x]", "{*}{[}x{]}"),
        ("nrms-pgd_2", r"nrms-pgd\_2"),
    ],
)
def test_latex_keeps_what_its_fonts_have_and_names_the_rest(text: str, done: str) -> None:
    assert escaping.latex(text) == done


@given(texts)
def test_no_markup_is_left_in_markdown(text: str) -> None:
    done = escaping.markdown(text).replace("\\@<!-- -->", "")
    assert "\n" not in done
    assert not re.search(r"(?<!\\)(?:\\\\)*(?:[`*_{}\[\]<>#|~$&!@]|:(?=\S|\Z))", done.replace("\\\\", ""))
    bare = re.sub(r"\\(.)", r"\1", done)
    assert bare == escaping.visible(text).replace("@", "")


def test_a_long_name_is_cut_in_its_middle() -> None:
    cut = escaping.shortened("a" * 500 + "-end")
    assert len(cut) == escaping.LONGEST
    assert cut.startswith("aaa")
    assert cut.endswith("-end")
    assert escaping.shortened("short") == "short"


def test_what_hides_or_reorders_is_written_out() -> None:
    assert escaping.visible("1.2 % [0.3–4.5] ± ×") == "1.2 % [0.3–4.5] ± ×"
    assert escaping.visible("a\u202eb–c") == "a\\u202eb–c"

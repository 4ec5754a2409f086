"""Escaping of untrusted text, one function for each output format.

Names, versions and options in a record are untrusted. Each function here takes any text and gives one that
its target shows as it stands: nothing in it is run, opened, hidden or reordered. All but `visible` work on one line.
"""

from __future__ import annotations

import re
import unicodedata

from markupsafe import escape

LONGEST = 80
"""Characters of a name that a table for readers shows."""
_JOINERS = "\u200c\u200d"
"""Parts of ordinary words in some scripts, so they stay."""
_UNSEEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}
_FORMULA = frozenset("=+-@＝＋－＠")
_MARKDOWN = re.compile(r"([\\`*_{}\[\]<>#|~$&!@]|:(?=\S|\Z)|(?<=www)\.)", flags=re.IGNORECASE)
_LIGATURE = re.compile(r"([-'])(?=\1)")
_LATEX = {
    "\\": r"\textbackslash{}",
    "{": r"\textbraceleft{}",
    "}": r"\textbraceright{}",
    "$": r"\$",
    "&": r"\&",
    "%": r"\%",
    "#": r"\#",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedblright{}",
    "`": r"\textasciigrave{}",
    # behind a line break of a table these would be its arguments
    "[": "{[}",
    "]": "{]}",
    "*": "{*}",
    "ß": r"\ss{}",
    "æ": r"\ae{}",
    "Æ": r"\AE{}",
    "œ": r"\oe{}",
    "Œ": r"\OE{}",
    "ø": r"\o{}",
    "Ø": r"\O{}",
    "ł": r"\l{}",
    "Ł": r"\L{}",
    "ı": r"\i{}",
    "…": r"\ldots{}",
    "–": r"\textendash{}",
    "—": r"\textemdash{}",
    "‘": r"\textquoteleft{}",
    "’": r"\textquoteright{}",
    "“": r"\textquotedblleft{}",
    "”": r"\textquotedblright{}",
    "\u00a0": "~",
    "\u2060": "{}",
    "†": r"\textdagger{}",
}
_LATEX_BY_NUMBER = str.maketrans(_LATEX)
_ACCENTS = {
    "\u0300": "`",
    "\u0301": "'",
    "\u0302": "^",
    "\u0303": "~",
    "\u0304": "=",
    "\u0306": "u",
    "\u0307": ".",
    "\u0308": '"',
    "\u030a": "r",
    "\u030b": "H",
    "\u030c": "v",
    "\u0327": "c",
}
"""Combining characters and LaTeX's commands for them, those that its default encoding (OT1) has."""


def visible(text: str, *, keep: str = "") -> str:
    """`text` with characters that hide, reorder or break what follows written out (`\\u202e`); those in `keep` stay."""
    return "".join(
        character
        if character in _JOINERS or character in keep or unicodedata.category(character) not in _UNSEEN
        else f"\\u{ord(character):04x}"
        for character in text
    )


def shortened(text: str, most: int = LONGEST) -> str:
    """`text` in at most `most` characters: of a longer one the middle is left out, so that its end still tells."""
    if len(text) <= most:
        return text
    tail = most // 3
    return f"{text[: most - tail - 1]}…{text[len(text) - tail :]}"


def terminal(text: str) -> str:
    """`text` for one line of a terminal: no escape sequence, no line break, no reordering."""
    return visible(text)


def html(text: str) -> str:
    """`text` for the inside of an HTML element or a quoted attribute."""
    return str(escape(visible(text)))


def markdown(text: str) -> str:
    """`text` for a cell of a Markdown table (CommonMark and GitHub's): there is no link, image, emphasis, code, HTML,
    mathematics, mention or border in it."""
    return _MARKDOWN.sub(r"\\\1", visible(text)).replace("\\@", "\\@<!-- -->")


def csv_cell(value: str | int | float | None) -> str | int | float:
    """A cell of a CSV file, to be quoted by `csv.writer`. Numbers stay numbers, None is empty.

    A spreadsheet takes a text that begins with `=`, `+`, `-` or `@` for a formula (OWASP, "CSV Injection"); an
    apostrophe in front keeps it a text. Control characters, tabs and line ends among them, are written out.
    """
    if value is None:
        return ""
    if not isinstance(value, str):
        return value
    shown = visible(value)
    return f"'{shown}" if shown.lstrip()[:1] in _FORMULA and shown.strip() else shown


def latex(text: str) -> str:
    """`text` for LaTeX (and for a field of BibTeX in braces), in ASCII and with balanced braces: every command in it is
    one of ours, none reads a file.

    A letter with an accent becomes LaTeX's own command. What LaTeX's default fonts do not have is named by its number
    (`U+4E2D`): a table must compile, whatever names are in it.
    """
    plain = unicodedata.normalize("NFC", _LIGATURE.sub("\\1\u2060", visible(text)))
    if plain.isascii():
        return plain.translate(_LATEX_BY_NUMBER)
    return "".join(_letter(character) for character in plain)


def label(text: str) -> str:
    r"""`text` as the argument of `\label` or the id of an element: letters, digits, `:`, `.` and `-` alone."""
    return re.sub(r"[^A-Za-z0-9:.-]+", "-", text)[:LONGEST]


def _letter(character: str) -> str:
    if character in _LATEX:
        return _LATEX[character]
    if character.isascii():
        return character
    parts = unicodedata.normalize("NFD", character)
    if len(parts) == 2 and parts[0].isascii() and parts[0].isalpha() and parts[1] in _ACCENTS:
        base = {"i": r"\i", "j": r"\j"}.get(parts[0], parts[0])
        return f"\\{_ACCENTS[parts[1]]}{{{base}}}"
    return f"\\texttt{{U+{ord(character):04X}}}"

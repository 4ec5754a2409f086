"""Reading and writing BibTeX entries.

The reader is stricter than bibtexparser 2, which takes unquoted words, `#` and unbalanced braces in quotation marks for
values: an entry of a plugin's author is written into a file beside others and must not reach out of its braces.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from urllib.parse import quote

from recgauntlet.core import escape as escaping

_HEAD = re.compile(r"\s*@\s*([A-Za-z]+)\s*\{\s*([^\s,{}%\"#'()=~\\]+)\s*,")
_URL = ":/?#@!$&'()*+,;=%~"
_FIELD = re.compile(r"([A-Za-z][A-Za-z0-9_-]*)\s*=\s*")
_NUMBER = re.compile(r"[0-9]+")


@dataclass(frozen=True)
class Entry:
    """One reference: its kind ("article"), its key, and its fields in order (TeX, without the outer braces)."""

    kind: str
    key: str
    fields: Mapping[str, str]

    def __str__(self) -> str:
        lines = "".join(f"  {name} = {{{value}}},\n" for name, value in self.fields.items())
        return f"@{self.kind}{{{self.key},\n{lines}}}\n"


def entry(kind: str, key: str, fields: Mapping[str, str]) -> Entry:
    """An entry of plain texts, which are escaped; empty fields are left out. `author` is one organization and gets its
    own braces. In `url` only the characters that no URL may have are percent-encoded."""
    done = {
        name: quote(value, safe=_URL) if name == "url" else escaping.latex(value)
        for name, value in fields.items()
        if value
    }
    done |= {"author": f"{{{done['author']}}}"} if "author" in done else {}
    return Entry(kind, key_of(key), done)


def key_of(text: str) -> str:
    """`text` as a key: at most 80 characters, other characters than letters, digits and `:._-` replaced by `-`."""
    return re.sub(r"[^A-Za-z0-9:._-]+", "-", text).strip("-")[:80] or "unnamed"


@lru_cache(maxsize=1024)
def parse(text: str) -> tuple[Entry, ...]:
    """The entries in `text`.

    Raises ValueError where it is not BibTeX: braces that do not match, a value in neither braces nor quotation marks
    nor a number, a control character, or anything between the entries.
    """
    if escaping.visible(text, keep="\n\t") != text:
        raise ValueError("BibTeX with control characters")
    entries = []
    text, place = text.strip(), 0
    while place < len(text):
        head = _HEAD.match(text, place)
        if head is None:
            raise ValueError(f"no BibTeX entry begins at {text[place : place + 40].strip()!r}")
        fields, place = _fields(text, head.end())
        entries.append(Entry(head.group(1).lower(), head.group(2), fields))
    return tuple(entries)


def merged(entries: Iterable[Entry]) -> tuple[Entry, ...]:
    """Each entry once. A different entry with a key that is taken gets a number after its key."""
    kept: dict[str, Entry] = {}
    for one in entries:
        keyed, number = one, 2
        while kept.setdefault(keyed.key, keyed) != keyed:
            keyed, number = replace(one, key=f"{one.key}-{number}"), number + 1
    return tuple(kept.values())


def _fields(text: str, place: int) -> tuple[dict[str, str], int]:
    """The fields from `place` on, and the place after the entry's closing brace."""
    fields: dict[str, str] = {}
    while True:
        while place < len(text) and text[place] in " \t\n,":
            place += 1
        if text[place : place + 1] == "}":
            return fields, place + 1
        name = _FIELD.match(text, place)
        if name is None:
            raise ValueError(f"no BibTeX field begins at {text[place : place + 40]!r}")
        value, place = _value(text, name.end())
        fields[name.group(1).lower()] = " ".join(value.split())


def _value(text: str, place: int) -> tuple[str, int]:
    """The value at `place` without its braces or quotation marks, and the place after it."""
    number = _NUMBER.match(text, place)
    if number is not None:
        return number.group(), number.end()
    start = text[place : place + 1]
    if start not in {"{", '"'}:
        raise ValueError(f"a BibTeX value is in neither braces nor quotation marks at {text[place : place + 40]!r}")
    depth = 0
    for end in range(place + 1, len(text)):
        character = text[end]
        if depth == 0 and character == {"{": "}", '"': '"'}[start]:
            return text[place + 1 : end], end + 1
        depth += {"{": 1, "}": -1}.get(character, 0)
        if depth < 0:
            break
    raise ValueError(f"a BibTeX value has no end: {text[place : place + 40]!r}")

"""Reading and writing BibTeX entries: enough to collect them, tell them apart and pass them on."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import quote

from recgauntlet.core import escape as escaping

_HEAD = re.compile(r"@\s*([A-Za-z]+)\s*\{\s*([^\s,{}%\"#'()=~\\]+)\s*,")
_URL = ":/?#@!$&'()*+,;=%~"
_FIELD = re.compile(r"\s*([A-Za-z][A-Za-z0-9_-]*)\s*=\s*")


@dataclass(frozen=True)
class Entry:
    """One reference: its kind ("article"), its key, its fields in their order (TeX, without the outer braces)."""

    kind: str
    key: str
    fields: Mapping[str, str]

    def __str__(self) -> str:
        lines = "".join(f"  {name} = {{{value}}},\n" for name, value in self.fields.items())
        return f"@{self.kind}{{{self.key},\n{lines}}}\n"


def entry(kind: str, key: str, fields: Mapping[str, str]) -> Entry:
    """An entry of plain texts, which are escaped; an empty one is left out. Names (`author`) are kept whole: an author
    here is an organization. A `url` is kept as it is, what may not stand in one written with `%`."""
    done = {
        name: quote(value, safe=_URL) if name == "url" else escaping.latex(value)
        for name, value in fields.items()
        if value
    }
    done |= {"author": f"{{{done['author']}}}"} if "author" in done else {}
    return Entry(kind, key_of(key), done)


def key_of(text: str) -> str:
    """`text` as a key."""
    return re.sub(r"[^A-Za-z0-9:._-]+", "-", text).strip("-")[:80] or "unnamed"


@lru_cache(maxsize=1024)
def parse(text: str) -> tuple[Entry, ...]:
    """The entries in `text`.

    Raises
    ------
    ValueError
        Where it is not BibTeX: braces that do not match, a value in neither braces nor quotation marks nor a number, a
        control character, or anything between the entries.
    """
    if escaping.visible(text, keep="\n\t") != text:
        raise ValueError("BibTeX with control characters")
    entries = []
    place = 0
    while text[place:].strip():
        head = _HEAD.match(text, place + len(text[place:]) - len(text[place:].lstrip()))
        if head is None:
            raise ValueError(f"no BibTeX entry begins at {text[place:].strip()[:40]!r}")
        fields, place = _fields(text, head.end())
        entries.append(Entry(head.group(1).lower(), head.group(2), fields))
    return tuple(entries)


def merged(entries: Iterable[Entry]) -> tuple[Entry, ...]:
    """Each entry once. Another entry of a key that is taken gets a number behind it."""
    kept: dict[str, Entry] = {}
    for one in entries:
        key, number = one.key, 2
        while key in kept and not _alike(kept[key], one):
            key, number = f"{one.key}-{number}", number + 1
        kept.setdefault(key, Entry(one.kind, key, one.fields))
    return tuple(kept.values())


def _alike(one: Entry, other: Entry) -> bool:
    return (one.kind, dict(one.fields)) == (other.kind, dict(other.fields))


def _fields(text: str, place: int) -> tuple[dict[str, str], int]:
    """The fields from `place` on, and the place behind the entry's last brace."""
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
    """The value at `place` without its braces or quotation marks, and the place behind it."""
    number = re.compile(r"[0-9]+").match(text, place)
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

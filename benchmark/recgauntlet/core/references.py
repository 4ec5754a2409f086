"""The papers behind attacks and built-in plugins: BibTeX entries of `references.bib`, found by key."""

from __future__ import annotations

import re
from functools import lru_cache
from importlib.resources import files


def bibtex(*keys: str) -> str:
    """The BibTeX entries of `keys`, in this order; KeyError where the file has none of a key."""
    return "".join(f"\n{_entries()[key]}\n" for key in keys)


@lru_cache(maxsize=1)
def _entries() -> dict[str, str]:
    text = files("recgauntlet.core").joinpath("references.bib").read_text(encoding="utf-8")
    entries = [entry.strip() for entry in text.split("\n\n")]
    return {re.split("[{,]", entry, maxsplit=2)[1]: entry for entry in entries}

"""Untrusted text on a line of a terminal or of an error."""

from __future__ import annotations


def plain(text: str) -> str:
    """`text` with all that would steer a terminal, or hide, break or reorder what stands around it, spelled out."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)

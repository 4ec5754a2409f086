"""The undefended defense and the middle tier: the name that is stored, the one that is shown, and those that are given.

Records, file names, digests and fingerprints hold `standard` for both, which is also the name of a track. Pages and
terminals show other names; options, addresses, cards and `CellSpec` understand all of them.
"""

from __future__ import annotations

SHOWN = {"defense": {"standard": "undefended"}, "tier": {"standard": "medium"}}
"""By kind and stored name."""
GIVEN = {"defense": {"none": "standard", "undefended": "standard"}, "tier": {"medium": "standard"}}
"""The stored name by kind and by another name that is understood."""


def shown(kind: str, stored_name: str) -> str:
    """The name for a reader; kinds other than "defense" and "tier" have one name."""
    return SHOWN.get(kind, {}).get(stored_name, stored_name)


def stored(kind: str, name: str) -> str:
    """The name for a record, of whichever name was given."""
    return GIVEN.get(kind, {}).get(name, name)


def typed(kind: str, stored_name: str) -> str:
    """The name for a command line: the first that is understood beside the stored one."""
    return next((name for name, own in GIVEN[kind].items() if own == stored_name), stored_name)

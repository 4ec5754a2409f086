"""Where RecGauntlet keeps what it downloads and prepares."""

from __future__ import annotations

import os
from pathlib import Path

CURRENT = "2026.4"
"""The release that commands mean where none is named."""
CACHE_VARIABLE = "RECGAUNTLET_CACHE"


def cache_root() -> Path:
    """The root of the cache: `$RECGAUNTLET_CACHE`, else the platform's own place for caches."""
    named = os.environ.get(CACHE_VARIABLE, "").strip()
    if named:
        return Path(named).expanduser().absolute()
    import pooch

    return Path(pooch.os_cache("recgauntlet"))


def downloads(cache: Path) -> Path:
    """Where archives and wheels lie under `cache`, as they were downloaded."""
    return cache / "downloads"


def prepared(cache: Path) -> Path:
    """Where prepared tracks lie under `cache`, one directory each."""
    return cache / "prepared"


def tables(cache: Path) -> Path:
    """Where what tables are made of lies under `cache`: checked records in words, and rows
    (`recgauntlet.leaderboard.kept`)."""
    return cache / "tables"


def vectors(cache: Path) -> Path:
    """Where the frozen encoder's vectors of catalogs lie under `cache`."""
    return cache / "vectors"

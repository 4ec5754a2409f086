"""Which commit this package runs from."""

from __future__ import annotations

import subprocess
from functools import cache
from pathlib import Path


@cache
def commit() -> str:
    """The commit of the checkout that this package lies in; empty where it lies in none."""
    here = Path(__file__).resolve().parent
    try:
        top = subprocess.run(
            ["git", "-C", str(here), "rev-parse", "--show-toplevel", "HEAD"],
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    lines = top.stdout.split()
    # an installed copy may lie inside somebody else's repository
    return lines[1] if top.returncode == 0 and Path(lines[0], "benchmark", "recgauntlet").exists() else ""

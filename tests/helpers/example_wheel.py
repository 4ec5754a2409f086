"""An example plugin as a stranger would get it: its wheel, built and unpacked."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def unpacked_wheel(example: Path, out: Path) -> Path:
    """Build `example` below `out` and unpack it: a directory as pip would leave it."""
    flags = ["--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check"]
    command = [sys.executable, "-m", "pip", "wheel", *flags, "-w", str(out), str(example)]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    (wheel,) = out.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(out / "site")
    return out / "site"

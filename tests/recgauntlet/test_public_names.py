"""The public names of the package."""

from __future__ import annotations

import subprocess
import sys

import recgauntlet


def test_dir_shows_the_public_names_and_each_is_there() -> None:
    code = "import recgauntlet; print(*dir(recgauntlet))"  # in a process where no name was asked for yet
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == sorted(recgauntlet.__all__)
    assert {"Recommender", "Defense", "Batch", "Users", "evaluate"} <= set(dir(recgauntlet))
    for name in dir(recgauntlet):
        assert getattr(recgauntlet, name).__name__ == name

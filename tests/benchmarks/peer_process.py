"""Training a peer in the Python where it is installed: arrays in, arrays out."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

HERE = Path(__file__).parent


def needs_python(variable: str) -> pytest.MarkDecorator:
    """Skips a test where the environment variable that names the Python of a peer is not set."""
    return pytest.mark.skipif(variable not in os.environ, reason=f"{variable} names no Python with the peer")


def run_peer(variable: str, script: str, name: str, arrays: dict[str, Any], folder: Path, *options: str) -> Any:
    """What `script NAME IN.npz OUT.npz OPTIONS` writes, run by the Python that the variable names."""
    given, found = folder / f"{name}-in.npz", folder / f"{name}-out.npz"
    np.savez(given, **arrays)
    bare = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    subprocess.run([os.environ[variable], HERE / script, name, given, found, *options], check=True, env=bare)
    return dict(np.load(found))

"""Makes the synthetic records of the harness's tests importable here."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "recgauntlet"))

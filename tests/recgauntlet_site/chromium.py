"""The browser that the pages are opened with."""

from __future__ import annotations

import shutil

NAMES = ("chromium", "chromium-browser", "google-chrome")
BROWSER = next((found for name in NAMES if (found := shutil.which(name))), None)
"""The path of a Chromium; None where there is none."""

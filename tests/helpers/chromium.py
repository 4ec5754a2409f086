"""The browser that the pages are opened with."""

from __future__ import annotations

import os
import shutil

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")
BROWSER = next((found for name in NAMES if (found := shutil.which(name))), None)
"""The path of a Chromium; None where there is none."""

in_browser = [
    pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine to open the pages with"),
    pytest.mark.skipif(bool(os.environ.get("CI")), reason="continuous integration opens no browser"),
]

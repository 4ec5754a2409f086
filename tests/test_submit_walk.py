"""Run the commands of docs/results/submitting.md in order, in an empty directory and a fresh environment."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from recgauntlet.records.io import read_records

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "results" / "submitting.md"
BLOCK = re.compile(r"^```(sh|python)\n(.*?)^```", flags=re.DOTALL | re.MULTILINE)
pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Variables under which `recgauntlet` and `python` are those of a fresh environment that sees what is installed
    here, and what is installed there is thrown away."""
    place = tmp_path_factory.mktemp("environment")
    venv.create(place, symlinks=True)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    here = [path for path in sys.path if path and Path(path).is_dir() and path != str(ROOT)]
    (place / "lib" / version / "site-packages" / "here.pth").write_text("\n".join(here) + "\n")
    script = place / "bin" / "recgauntlet"
    script.write_text(f"#!{place}/bin/python\nfrom recgauntlet.cli import main\nmain()\n")
    script.chmod(0o755)
    return os.environ | {
        "PATH": f"{place / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "COLUMNS": "160",
        "PIP_NO_BUILD_ISOLATION": "false",  # pip's way to say: without isolation
        "PIP_NO_DEPS": "1",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    }


def test_the_page_is_a_walk_that_can_be_walked(environment: dict[str, str], tmp_path: Path) -> None:
    said = []
    blocks = BLOCK.findall(PAGE.read_text(encoding="utf-8"))
    assert len(blocks) >= 6
    for language, text in blocks:
        if language == "python":
            (tmp_path / text.partition("\n")[0].removeprefix("# ")).write_text(text.partition("\n")[2])
            continue
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", text],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{text}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        said.append(done.stdout)
    words = "\n".join(said)
    assert "every score the same to the last bit" in words
    assert words.count("all is well") == 2
    found = read_records(tmp_path / "results" / "trial-1")
    assert found.broken == ()
    assert sorted(record.defense.name for _, record in found.records) == ["my-noise", "r3f", "standard"]
    page = (tmp_path / "page" / "index.html").read_text(encoding="utf-8")
    assert "my-noise" in page
    assert "| nrms | r3f |" in words

"""The wheel: holds what it should, and works where the checkout is not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = (
    "benchmark/recgauntlet",
    "tasks/recgauntlet_tasks",
    "baselines/recgauntlet_baselines",
    "site/recgauntlet_site",
)
SMALL = ("attention_size=8", "head_size=4", "heads=2", "word_size=8")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built by the installed hatchling: nothing is downloaded."""
    out = tmp_path_factory.mktemp("wheel")
    _succeeds(
        [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index", "-w", out, ROOT],
        cwd=out,
    )
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def clean(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scripts' directory of a new environment with the wheel; it borrows the dependencies, not the checkout."""
    venv = tmp_path_factory.mktemp("clean") / "venv"
    _succeeds([sys.executable, "-m", "venv", "--without-pip", venv], cwd=venv.parent)
    scripts = venv / ("Scripts" if os.name == "nt" else "bin")
    pip = [sys.executable, "-m", "pip", "--python", scripts / "python", "install", "--no-deps", "--no-index", wheel]
    _succeeds(pip, cwd=venv.parent)
    where = _succeeds([scripts / "python", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], cwd=venv)
    # a directory named in a .pth file joins the path, but the .pth files in it (an editable install's) are not read
    borrowed = dict.fromkeys(sysconfig.get_path(name) for name in ("purelib", "platlib"))
    Path(where.stdout.strip(), "borrowed.pth").write_text("\n".join(borrowed) + "\n", encoding="utf-8")
    return scripts


def test_the_wheel_holds_the_four_packages_with_their_data_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    held = {name for name in names if ".dist-info/" not in name}
    wanted = {
        file.relative_to(ROOT / package.partition("/")[0]).as_posix()
        for package in PACKAGES
        for file in (ROOT / package).rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    assert held == wanted
    assert held >= {
        "recgauntlet/py.typed",
        "recgauntlet/cli/scaffold/templates/common/pyproject.toml.j2",
        "recgauntlet/cli/scaffold/templates/task/interactions.csv.j2",
        "recgauntlet_tasks/video_watch.toml",
        "recgauntlet_tasks/ecommerce_purchase.toml",
        "recgauntlet_tasks/news_click.toml",
        "recgauntlet_tasks/news_click_articles.txt",
        "recgauntlet_tasks/news_click_impressions.txt",
        "recgauntlet_site/templates/start.html.j2",
        "recgauntlet_site/vendor/VENDOR.toml",
        "recgauntlet_site/static/style.css",
    }
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)


def test_the_installed_package_is_the_wheels_own(clean: Path, tmp_path: Path) -> None:
    code = (
        "import recgauntlet, recgauntlet_tasks, recgauntlet_baselines, recgauntlet_site\n"
        "for package in (recgauntlet, recgauntlet_tasks, recgauntlet_baselines, recgauntlet_site):\n"
        "    print(package.__file__)"
    )
    files = _succeeds([clean / "python", "-P", "-c", code], cwd=tmp_path).stdout.split()
    assert len(files) == 4
    assert all(Path(file).is_relative_to(clean.parent) for file in files)
    listed = _succeeds([clean / "recgauntlet", "list", "tasks"], cwd=tmp_path).stdout
    assert all(task in listed for task in ("ecommerce-purchase", "music-listen", "news-click", "video-watch"))


@pytest.mark.slow
def test_the_installed_command_runs_a_cell_and_renders_the_page(clean: Path, tmp_path: Path) -> None:
    example = ROOT / "examples" / "own-data"
    for file in example.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    options = [part for option in SMALL for part in ("--model-option", option)]
    run = [clean / "recgauntlet", "run", "--task", "bookshop.toml", "--defense", "standard", "--device", "cpu"]
    ran = _succeeds([*run, *options, "--offline", "--out", "records"], cwd=tmp_path)
    (path,) = (tmp_path / "records" / "bookshop" / "standard").glob("nrms-standard-0*.json")
    record = json.loads(path.read_text(encoding="utf-8"))
    assert record["status"] == "ok"
    assert record["task"]["id"] == "bookshop"
    assert record["environment"]["commit"] == ""  # no checkout is near
    assert "1 cells done, 0 failed" in ran.stdout

    # what `run` says to do next is done as it stands
    (told,) = (line for line in ran.stdout.splitlines() if line.startswith("next: recgauntlet "))
    words = told.removeprefix("next: recgauntlet ").split()
    _succeeds([clean / "recgauntlet", *words], cwd=tmp_path)
    page = tmp_path / words[words.index("--out") + 1] / "index.html"
    assert "bookshop" in page.read_text(encoding="utf-8")


def test_the_installed_command_starts_a_plugin_and_checks_one(clean: Path, tmp_path: Path) -> None:
    _succeeds([clean / "recgauntlet", "new", "defense", "brand-new"], cwd=tmp_path)
    assert (tmp_path / "brand-new" / "brand_new.py").is_file()
    checked = _succeeds([clean / "recgauntlet", "check", "fgm", "--kind", "defense"], cwd=tmp_path).stdout
    assert "fgm (defense) conforms" in checked


def _succeeds(command: list[str | Path], *, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run `command` outside the checkout, with nothing of this process's Python settings."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "COV", "RECGAUNTLET"))}
    environment = {
        **kept,
        "OMP_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
        "RECGAUNTLET_CACHE": str(cwd / "cache"),
    }
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done

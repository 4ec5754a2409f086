"""Running a real LaTeX and a real BibTeX in tests, where they are installed."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

needs_latex = pytest.mark.skipif(
    shutil.which("pdflatex") is None or shutil.which("bibtex") is None,
    reason="no LaTeX here: install texlive-latex-base to compile what the commands write",
)


def compiled(body: str, where: Path, *, preamble: str = "") -> str:
    """Compile `body` to `where`/t.pdf without a shell, stopping at the first error; what LaTeX said."""
    document = rf"\documentclass{{article}}\usepackage{{booktabs}}{preamble}\begin{{document}}{body}\end{{document}}"
    where.mkdir(exist_ok=True)
    (where / "t.tex").write_text(document, encoding="utf-8")
    done = subprocess.run(
        ["pdflatex", "-no-shell-escape", "-interaction=nonstopmode", "-halt-on-error", "t.tex"],
        cwd=where,
        capture_output=True,
        check=False,
        timeout=60,
    )
    said = done.stdout.decode("utf-8", "replace")
    assert done.returncode == 0, said[-3000:]
    assert (where / "t.pdf").is_file()
    return said


def bibliography(entries: str, where: Path) -> str:
    """Let BibTeX set all `entries` in its plain style; what it made of them (`t.bbl`). Warnings are errors."""
    where.mkdir(exist_ok=True)
    (where / "t.bib").write_text(entries, encoding="utf-8")
    body = r"References\nocite{*}\bibliographystyle{plain}\bibliography{t}"
    compiled(body, where)
    done = subprocess.run(["bibtex", "t"], cwd=where, capture_output=True, check=False, timeout=60)
    said = done.stdout.decode("utf-8", "replace")
    assert done.returncode == 0, said
    assert "Warning" not in said, said
    compiled(body, where)
    return (where / "t.bbl").read_text(encoding="utf-8")

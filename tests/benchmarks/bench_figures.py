"""What the benchmarks found: one figure a ratio, beside what it was promised; kept, printed, and made a table."""

from __future__ import annotations

import argparse
import datetime
import json
import platform
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

FIGURES = Path(__file__).resolve().parents[2] / ".benchmarks" / "figures.json"


@dataclass(frozen=True)
class Figure:
    """One ratio.

    `at_most` and `at_least` are the promise (neither: reported alone); `measured` is None where the benchmark was
    skipped, and `detail` then says why. `suite` names the attacks it was measured with.
    """

    name: str
    measured: float | None
    detail: str
    at_most: float | None = None
    at_least: float | None = None
    subject: str = ""
    suite: str = ""
    environment: str = field(default_factory=lambda: environment())

    @property
    def promise(self) -> str:
        """The promise in words."""
        if self.at_most is not None:
            return f"at most {self.at_most:g}"
        return f"at least {self.at_least:g}" if self.at_least is not None else "reported"

    @property
    def verdict(self) -> str:
        """ok, MISSED or skipped; nothing where nothing was promised."""
        if self.measured is None:
            return "skipped"
        if self.at_most is None and self.at_least is None:
            return ""
        kept = (self.at_most is None or self.measured <= self.at_most) and (
            self.at_least is None or self.measured >= self.at_least
        )
        return "ok" if kept else "MISSED"

    @property
    def key(self) -> str:
        return f"{self.name} | {self.subject}"

    def line(self) -> str:
        """The figure in one line."""
        if self.measured is None:
            return f"{self.name}: skipped: {self.detail}"
        said = f"{self.name}: {self.measured:.3g} (promised: {self.promise})" if self.verdict else ""
        said = said or f"{self.name}: {self.measured:.3g} (reported)"
        return f"{said} {self.verdict}; {self.detail}".replace(" ;", ";")


def environment() -> str:
    """The machine, the day and the versions that a figure depends on."""
    packages = ("torch", "transformers", "numpy")
    processor = _processor() or platform.machine()
    return f"{processor}; Python {platform.python_version()}, {', '.join(f'{p} {release(p)}' for p in packages)}; " + (
        datetime.datetime.now(datetime.UTC).date().isoformat()
    )


def release(package: str) -> str:
    """The installed version of a package; empty where it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def keep(figures: list[Figure]) -> None:
    """Put figures beside those of former runs. What was skipped replaces nothing that was measured."""
    known = load()
    for figure in figures:
        if figure.measured is not None or known.get(figure.key, figure).measured is None:
            known[figure.key] = figure
    measured = {figure.name for figure in known.values() if figure.measured is not None}
    kept = [figure for figure in known.values() if figure.measured is not None or figure.name not in measured]
    FIGURES.parent.mkdir(exist_ok=True)
    FIGURES.write_text(json.dumps([asdict(figure) for figure in kept], indent=1) + "\n", encoding="utf-8")


def load() -> dict[str, Figure]:
    """The figures kept so far, by key."""
    if not FIGURES.exists():
        return {}
    figures = [Figure(**fields) for fields in json.loads(FIGURES.read_text(encoding="utf-8"))]
    return {figure.key: figure for figure in figures}


def markdown(figures: list[Figure]) -> str:
    """The table of docs/reference/performance.md, and below it where each figure comes from."""
    places = sorted({figure.environment for figure in figures})
    rows = ["| figure | subject | measured | promised | | suite | detail |", "|---|---|---|---|---|---|---|"]
    for figure in figures:
        measured = "skipped" if figure.measured is None else f"{figure.measured:.3g}"
        place = f" [{places.index(figure.environment) + 1}]" if len(places) > 1 else ""
        rows.append(
            f"| {figure.name} | {figure.subject} | {measured} | {figure.promise} | {figure.verdict} | {figure.suite} "
            f"| {figure.detail}{place} |"
        )
    numbered = [f"{f'[{n + 1}] ' if len(places) > 1 else ''}{place}." for n, place in enumerate(places)]
    return "\n".join([*rows, "", *numbered])


def _processor() -> str:
    path = Path("/proc/cpuinfo")
    if not path.exists():
        return platform.processor()
    lines = path.read_text(encoding="utf-8").splitlines()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")


def main() -> None:
    """Print the kept figures, one a line or as the table."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--markdown", action="store_true", help="the table of docs/reference/performance.md")
    figures = list(load().values())
    if parser.parse_args().markdown:
        print(markdown(figures))
    else:
        print("\n".join(figure.line() for figure in figures))


if __name__ == "__main__":
    main()

"""The ratios that `make bench` measures, each beside its target; docs/reference/performance.json keeps them."""

from __future__ import annotations

import datetime
import json
import platform
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path

PERFORMANCE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "performance.json"
Book = Callable[..., None]
"""The fixture `book`: takes the fields of a `Figure`."""


def environment() -> str:
    """The processor, the versions and the day that a figure depends on."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    packages = ", ".join(f"{name} {version(name)}" for name in ("recgauntlet", "torch", "transformers", "numpy"))
    day = datetime.datetime.now(datetime.UTC).date().isoformat()
    return f"{(names or [platform.machine()])[0]}; Python {platform.python_version()}, {packages}; {day}"


@dataclass(frozen=True)
class Figure:
    """One ratio, in a `group` of docs/reference/performance.md. Target: `at_most` or `at_least`; with neither it is
    only reported."""

    group: str
    name: str
    measured: float
    detail: str
    at_most: float | None = None
    at_least: float | None = None
    subject: str = ""
    environment: str = field(default_factory=environment)

    def line(self) -> str:
        """The figure in one line."""
        if self.at_most is not None:
            target, met = f"at most {self.at_most:g}", self.measured <= self.at_most
        elif self.at_least is not None:
            target, met = f"at least {self.at_least:g}", self.measured >= self.at_least
        else:
            return f"{self.name}: {self.measured:.3g}; {self.detail}"
        return f"{self.name}: {self.measured:.3g} (target: {target}) {'ok' if met else 'MISSED'}; {self.detail}"


def keep(figures: list[Figure], path: Path = PERFORMANCE) -> None:
    """Write figures to `path`: each in the place of that with its group, name and subject, new ones at the end."""
    known = {(old["group"], old["name"], old["subject"]): old for old in json.loads(path.read_text(encoding="utf-8"))}
    known |= {(figure.group, figure.name, figure.subject): asdict(figure) for figure in figures}
    path.write_text(json.dumps(list(known.values()), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

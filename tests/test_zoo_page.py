"""docs/zoo.md has a section on every method that ships with the project, and figures that are those of the records.

`python tests/test_zoo_page.py` writes the figures anew.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

import recgauntlet
from recgauntlet.plugins import Kind, names, whose

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "zoo.md"
RESULTS = ROOT / "results" / "zoo"
TIER = "standard"
TASKS = ("video-watch", "ecommerce-purchase", "news-click")
SHORT = {
    "history-perturbation": "histories",
    "title-stuffing": "titles",
    "headline-tampering": "headlines",
    "embedding": "embeddings",
}
WITHOUT_PAPER = {"standard", "gradient-scaling", "layer-wise"}


def results() -> pd.DataFrame:
    """The finished cells at the standard tier."""
    frame = recgauntlet.load(RESULTS)
    return frame[(frame.tier == TIER) & frame.threat.isin(SHORT) & (frame.status == "ok")]


def points(value: float) -> str:
    return f"{100 * value:.1f}"


def gained(value: float) -> str:
    return f"{100 * value:+.1f}".replace("-", "−")


def cells_of(frame: pd.DataFrame, task: str, model: str, defense: str) -> pd.DataFrame:
    return frame[(frame.task == task) & (frame.model == model) & (frame.defense == defense)]


def beside_twin(frame: pd.DataFrame, cells: pd.DataFrame) -> pd.DataFrame:
    """The cells of the undefended twins: same task, model and seeds."""
    task, model = cells.task.iloc[0], cells.model.iloc[0]
    twins = cells_of(frame, task, model, "standard")
    return twins[twins.seed.isin(cells.seed)]


def mean(cells: pd.DataFrame, column: str) -> float:
    """Over seeds, one row a cell."""
    return float(cells.drop_duplicates("record")[column].mean())


def under(cells: pd.DataFrame, threat: str, column: str = "robust_accuracy") -> float | None:
    rows = cells[(cells.threat == threat) & cells.applicable.fillna(False)]
    value = rows[column].mean() if len(rows) else float("nan")
    return None if pd.isna(value) else float(value)


def threats_of(cells: pd.DataFrame) -> list[str]:
    return [threat for threat in SHORT if under(cells, threat) is not None]


def told(frame: pd.DataFrame, model: str, defense: str) -> str:
    """What the records say of a model under a defense, task by task."""
    parts = []
    for task in TASKS:
        cells = cells_of(frame, task, model, defense)
        if not len(cells):
            continue
        twins = None if defense == "standard" else beside_twin(frame, cells)
        seeds = cells.seed.nunique()
        values = [("clean", mean(cells, "clean_accuracy"), twins is not None and mean(twins, "clean_accuracy"))]
        values += [
            (SHORT[threat], under(cells, threat) or 0.0, twins is not None and under(twins, threat))
            for threat in threats_of(cells)
        ]
        words = [
            f"{name} {points(value)}" + (f" ({gained(value - float(base))})" if base else "")
            for name, value, base in values
        ]
        words += [
            f"certified on {SHORT[threat]} {points(certified)}"
            for threat in SHORT
            if (certified := under(cells, threat, "certified_accuracy")) is not None
        ]
        if twins is None:
            words.append(f"AUC {mean(cells, 'auc'):.3f}, nDCG@10 {mean(cells, 'ndcg10'):.3f}")
        else:
            words.append(f"training {mean(cells, 'flops_ratio'):.2f} times the operations")
        gates = sorted({name for names in cells.failed_gates.dropna() for name in names.split(";") if name})
        flag = f"; **flagged**: {', '.join(gates)}" if gates else ""
        parts.append(f"`{task}`, {seeds} seed{'s' if seeds > 1 else ''}: {', '.join(words)}{flag}")
    return "*Here.* " + ". ".join(parts) + "." if parts else "*Here.* No record yet."


def models_table(frame: pd.DataFrame) -> Iterator[str]:
    cells = frame[(frame.defense == "standard") & (frame.task == "video-watch")]
    yield "| model | clean | histories | embeddings | AUC | nDCG@10 | parameters | training, s |"
    yield "|---|---|---|---|---|---|---|---|"
    order = {model: mean(cells[cells.model == model], "clean_accuracy") for model in cells.model.unique()}
    for model in sorted(order, key=lambda name: -order[name]):
        own = cells[cells.model == model]
        threats = [under(own, threat) for threat in ("history-perturbation", "embedding")]
        yield (
            f"| [`{model}`](#{model}) | {points(order[model])} | "
            + " | ".join("not read" if value is None else points(value) for value in threats)
            + f" | {mean(own, 'auc'):.3f} | {mean(own, 'ndcg10'):.3f} | {mean(own, 'parameters'):,.0f}"
            + f" | {mean(own, 'training_seconds'):.0f} |"
        )


def defenses_table(frame: pd.DataFrame) -> Iterator[str]:
    cells = frame[(frame.model == "nrms") & (frame.task == "video-watch")]
    yield "| defense | seeds | clean | histories | embeddings | certified | operations | seconds | flagged |"
    yield "|---|---|---|---|---|---|---|---|---|"
    order = {name: under(cells[cells.defense == name], "embedding") or 0.0 for name in cells.defense.unique()}
    for name in sorted(order, key=lambda name: -order[name]):
        own = cells[cells.defense == name]
        certified = under(own, "history-perturbation", "certified_accuracy")
        ratios = [mean(own, column) for column in ("flops_ratio", "seconds_ratio")]
        yield (
            f"| [`{name}`](#{name}) | {own.seed.nunique()} | {points(mean(own, 'clean_accuracy'))}"
            f" | {points(under(own, 'history-perturbation') or 0)} | {points(order[name])}"
            f" | {'' if certified is None else points(certified)}"
            + "".join(" | 1×" if pd.isna(ratio) else f" | {ratio:.2f}×" for ratio in ratios)
            + f" | {'yes' if (own.failed_gates.fillna('') != '').any() else ''} |"
        )


TABLES = {"models": models_table, "defenses": defenses_table}


def renewed(page: str) -> str:
    """The page with the figures of the records."""
    frame = results()

    def line(found: re.Match[str]) -> str:
        return f"{found.group(1)}\n{told(frame, found.group(2), found.group(3))}\n"

    def table(found: re.Match[str]) -> str:
        return "\n".join([found.group(1), *TABLES[found.group(2)](frame), ""])

    page = re.sub(r"^(<!-- figures: (\S+) (\S+) -->)\n(?:.+\n)*", line, page, flags=re.MULTILINE)
    return re.sub(r"^(<!-- table: (\S+) -->)\n(?:\|.*\n)*", table, page, flags=re.MULTILINE)


def sections() -> dict[str, str]:
    found = re.split(r"^### (\S+)\n", PAGE.read_text(), flags=re.MULTILINE)
    return dict(zip(found[1::2], found[2::2], strict=True))


def ours(kind: Kind) -> list[str]:
    return [name for name in names(kind) if whose(kind, name)[0] == "recgauntlet"]


def test_the_figures_are_those_of_the_records() -> None:
    page = PAGE.read_text()
    assert renewed(page) == page, "python tests/test_zoo_page.py writes the page anew"


@pytest.mark.parametrize("kind", ["models", "defenses"])
def test_every_method_has_its_paragraph_equation_paper_and_figures(kind: Kind) -> None:
    known, methods = sections(), ours(kind)
    assert len(methods) >= 11
    for name in methods:
        assert name in known, f"docs/zoo.md has no section on {name}"
        section = known[name]
        model, defense = (name, "standard") if kind == "models" else ("nrms", name)
        assert f"<!-- figures: {model} {defense} -->" in section
        assert re.search(r"^    \S", section, flags=re.MULTILINE), f"{name}: no equation"
        assert name in WITHOUT_PAPER or re.search(r"^Papers?: (.|\n)*\(https://", section, flags=re.MULTILINE), name


if __name__ == "__main__":
    PAGE.write_text(renewed(PAGE.read_text()))

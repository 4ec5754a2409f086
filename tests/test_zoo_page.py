"""docs/zoo.md has a section on every method that ships with the project, and figures that are those of the records.

`python tests/test_zoo_page.py` writes the figures anew.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

import recgauntlet
from recgauntlet.core.files import CURRENT
from recgauntlet.core.plugins import Kind, names, whose
from recgauntlet.leaderboard.build import build_table
from recgauntlet.records.io import read_records
from recgauntlet.training.tuned import tuned_for

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "zoo.md"
RESULTS = ROOT / "results" / CURRENT
TIER = "standard"
TASKS = ("video-watch", "ecommerce-purchase", "news-click")
SHORT = {
    "history-perturbation": "histories",
    "title-stuffing": "titles",
    "headline-tampering": "headlines",
    "embedding": "embeddings",
}
RANKED = {"video-watch": "histories", "ecommerce-purchase": "titles", "news-click": "headlines"}
PUBLISHED = (
    "| NRMS, published | MINDdemo, 5,000 readers | 0.613 | | | |",
    "| NAML, published | MINDdemo, 5,000 readers | 0.627 | | | |",
    "| NRMS, published | MIND-small, 50,000 readers | 0.666 | 0.319 | 0.352 | 0.415 |",
    "| NAML, published | MIND-small, 50,000 readers | 0.662 | 0.321 | 0.354 | 0.416 |",
)
WITHOUT_PAPER = {"standard", "gradient-scaling", "layer-wise"}


def results() -> pd.DataFrame:
    """The finished cells at the standard tier."""
    frame = recgauntlet.load(RESULTS)
    return frame[(frame.tier == TIER) & frame.threat.isin(SHORT) & (frame.status == "ok")]


def points(value: float) -> str:
    return f"{100 * value:.1f}"


def gained(value: float) -> str:
    return f"{100 * value:+.1f}".replace("-", "−")


def rows_of(frame: pd.DataFrame, task: str, model: str, defense: str) -> list[pd.DataFrame]:
    """The cells of each row of the method on a task: one row a choice of options, those with most seeds first, and of
    as many the tuned ones."""
    cells = frame[(frame.task == task) & (frame.model == model) & (frame.defense == defense)]
    rows = [own for _, own in cells.groupby("row")]
    return sorted(rows, key=lambda own: (-own.seed.nunique(), not is_tuned(own), own.row.iloc[0]))


def is_tuned(cells: pd.DataFrame) -> bool:
    """Whether a row's defense has the values that tuning chose."""
    task, track, model, defense = cells[["task", "track", "model", "defense"]].iloc[0]
    found = tuned_for("defense", defense, task=task, track=track, model=model)
    return found is not None and found[0].values.items() <= json.loads(cells.defense_hyperparameters.iloc[0]).items()


def beside_twin(frame: pd.DataFrame, cells: pd.DataFrame) -> pd.DataFrame:
    """The cells of the undefended twins: same task, model with its options, and seeds."""
    same = ["task", "model", "model_hyperparameters"]
    twins = frame[(frame[same] == cells[same].iloc[0]).all(axis=1) & (frame.defense == "standard")]
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


def flagged(cells: pd.DataFrame) -> list[str]:
    """The gates that failed in any seed."""
    return sorted({name for names in cells.failed_gates.dropna() for name in names.split(";") if name})


def options(cells: pd.DataFrame, others: list[pd.DataFrame]) -> str:
    """The options that tell a row from others of the same method."""
    own, *rest = (
        json.loads(rows.model_hyperparameters.iloc[0]) | json.loads(rows.defense_hyperparameters.iloc[0])
        for rows in (cells, *others)
    )
    apart = {name: value for name, value in own.items() if any(other.get(name) != value for other in rest)}
    return ", ".join(f"{name} = {value}" for name, value in apart.items())


def described(frame: pd.DataFrame, cells: pd.DataFrame) -> str:
    """What the records say of a row."""
    twins = None if cells.defense.iloc[0] == "standard" else beside_twin(frame, cells)
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
    return ", ".join(words) + (f"; **flagged**: {', '.join(flagged(cells))}" if flagged(cells) else "")


def told(frame: pd.DataFrame, model: str, defense: str) -> str:
    """What the records say of a model under a defense, task by task."""
    parts = []
    for task in TASKS:
        rows = rows_of(frame, task, model, defense)
        for place, cells in enumerate(rows):
            seeds = cells.seed.nunique()
            with_options = options(cells, rows[:place] + rows[place + 1 :])
            named = f"`{task}`, {seeds} seed{'s' if seeds > 1 else ''}" + (f" ({with_options})" if with_options else "")
            parts.append(f"{named}: {described(frame, cells)}")
    return "*Here.* " + ". ".join(parts) + "." if parts else "*Here.* No record yet."


def models_table(frame: pd.DataFrame) -> Iterator[str]:
    films = frame[(frame.defense == "standard") & (frame.task == "video-watch")]
    yield "| model | seeds | clean | histories | embeddings | AUC | nDCG@10 | parameters | training, s |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for own in sorted((own for _, own in films.groupby("row")), key=lambda own: -mean(own, "clean_accuracy")):
        model = own.model.iloc[0]
        threats = [under(own, threat) for threat in ("history-perturbation", "embedding")]
        yield (
            f"| [`{model}`](#{model}) | {own.seed.nunique()} | {points(mean(own, 'clean_accuracy'))} | "
            + " | ".join("not read" if value is None else points(value) for value in threats)
            + f" | {mean(own, 'auc'):.3f} | {mean(own, 'ndcg10'):.3f} | {mean(own, 'parameters'):,.0f}"
            + f" | {mean(own, 'training_seconds'):.0f} |"
        )


def defenses_table(frame: pd.DataFrame) -> Iterator[str]:
    films = frame[(frame.model == "nrms") & (frame.task == "video-watch")]
    yield "| defense | seeds | clean | histories | embeddings | certified | operations | seconds | flagged |"
    yield "|---|---|---|---|---|---|---|---|---|"
    rows = [own for _, own in films.groupby("row")]
    for own in sorted(rows, key=lambda own: -(under(own, "embedding") or 0.0)):
        name = own.defense.iloc[0]
        certified = under(own, "history-perturbation", "certified_accuracy")
        ratios = [mean(own, column) for column in ("flops_ratio", "seconds_ratio")]
        apart = options(own, [other for other in rows if other.defense.iloc[0] == name and other is not own])
        yield (
            f"| [`{name}`](#{name}){f' {apart}' if apart else ''} | {own.seed.nunique()}"
            f" | {points(mean(own, 'clean_accuracy'))} | {points(under(own, 'history-perturbation') or 0)}"
            f" | {points(under(own, 'embedding') or 0)} | {'' if certified is None else points(certified)}"
            + "".join(" | 1×" if pd.isna(ratio) else f" | {ratio:.2f}×" for ratio in ratios)
            + f" | {'yes' if flagged(own) else ''} |"
        )


def tasks_table(frame: pd.DataFrame) -> Iterator[str]:
    """The methods with three seeds on every task."""
    yield "| defense | " + " | ".join(f"{task}, clean | {task}, {threat}" for task, threat in RANKED.items()) + " |"
    yield "|---|" + "---|" * 2 * len(RANKED)
    for defense in sorted(frame[frame.model == "nrms"].defense.unique()):
        rows = [rows_of(frame, task, "nrms", defense)[:1] for task in RANKED]
        if not all(own and own[0].seed.nunique() >= 3 for own in rows):
            continue
        values = [
            f"{points(mean(own, 'clean_accuracy'))} | {points(under(own, name_of(threat)) or 0.0)}"
            for (own,), threat in zip(rows, RANKED.values(), strict=True)
        ]
        yield f"| [`{defense}`](#{defense}) | " + " | ".join(values) + " |"


def news_table(frame: pd.DataFrame) -> Iterator[str]:
    """Ranking quality on MIND as publications measure it, beside theirs."""
    plain = [
        record
        for _, record in read_records(RESULTS).records
        if record.task.id == "news-click" and record.defense.name == "standard" and record.status == "ok"
    ]
    yield "| | data | AUC by impression | MRR | nDCG@5 | nDCG@10 |"
    yield "|---|---|---|---|---|---|"
    for table in build_table(plain):
        for row in sorted(table.rows, key=lambda row: -row.quality.impression_auc):
            quality, seeds = row.quality, len(row.seeds)
            yield (
                f"| `{row.model.name}` | `news-click`, {seeds} seed{'s' if seeds > 1 else ''}"
                f" | {quality.impression_auc:.3f} | {quality.mrr:.3f} | {quality.ndcg5:.3f} | {quality.ndcg10:.3f} |"
            )
    yield from PUBLISHED


def name_of(short: str) -> str:
    return next(threat for threat, word in SHORT.items() if word == short)


def quantity(frame: pd.DataFrame, what: str) -> str:
    """A number in the text: `model defense task quantity`, or with a + in front its difference from the twin's.

    Of several rows of a method the first; the last, with fewest seeds or values that nothing chose, where the defense's
    name ends in ~.
    """
    model, defense, task, name = what.removeprefix("+").split()
    cells = rows_of(frame, task, model, defense.removesuffix("~"))[-1 if defense.endswith("~") else 0]

    def value(of: pd.DataFrame) -> float:
        if name in SHORT.values():
            return under(of, name_of(name)) or 0.0
        if name == "certified":
            return under(of, "history-perturbation", "certified_accuracy") or 0.0
        return mean(
            of, {"clean": "clean_accuracy", "operations": "flops_ratio", "seconds": "seconds_ratio"}.get(name, name)
        )

    if what.startswith("+"):
        return gained(value(cells) - value(beside_twin(frame, cells)))
    if name in ("auc", "ndcg10"):
        return f"{value(cells):.3f}"
    return f"{value(cells):.2f}" if name in ("operations", "seconds") else points(value(cells))


TABLES = {"models": models_table, "defenses": defenses_table, "tasks": tasks_table, "news": news_table}


def renewed(page: str) -> str:
    """The page with the figures of the records; a number in the text that ends in `<!--=...-->` is one too."""
    frame = results()

    def line(found: re.Match[str]) -> str:
        return f"{found.group(1)}\n{told(frame, found.group(2), found.group(3))}\n"

    def table(found: re.Match[str]) -> str:
        return "\n".join([found.group(1), *TABLES[found.group(2)](frame), ""])

    page = re.sub(r"[+−]?[\d.]+(<!--=(.+?)-->)", lambda found: quantity(frame, found.group(2)) + found.group(1), page)
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

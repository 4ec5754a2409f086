"""Fill the generated parts of the documentation: `make docs`, or `python docs/generate.py`.

A generated part is a table between `<!-- table: NAME ARGUMENT -->` and `<!-- end -->`, a number before
`<!--=QUANTITY-->` in a page of the zoo, or the output of a `console` block whose first line is `$ recgauntlet ...`.
Tables come from the committed release, the code and the figures in `docs/reference/*.json`; tests compare.
"""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
from api_reference import api
from click.testing import CliRunner

import recgauntlet
from recgauntlet.cli import cli
from recgauntlet.core.card import TIERS
from recgauntlet.core.files import CURRENT
from recgauntlet.core.names import shown
from recgauntlet.leaderboard.address import row_id
from recgauntlet.leaderboard.build import build_table
from recgauntlet.leaderboard.dataframe_columns import COLUMNS, EXAMPLE_COLUMNS, documentation
from recgauntlet.leaderboard.paired import CLEAN, Quantity, beside, twin_of
from recgauntlet.leaderboard.schema import Row, TaskTable
from recgauntlet.records.io import read_records
from recgauntlet.records.schema import RunRecord
from recgauntlet.testing.registry import Kind, rules
from recgauntlet.training.tuned import tuned_for

DOCS = Path(__file__).resolve().parent
RESULTS = DOCS.parent / "results" / CURRENT
TIER = "standard"
RANKED = {
    "video-watch": "history-perturbation",
    "ecommerce-purchase": "title-stuffing",
    "news-click": "headline-tampering",
}
SHORT = {"histories": "history-perturbation", "titles": "title-stuffing", "headlines": "headline-tampering"} | {
    "embeddings": "embedding"
}
OF_A_CELL = {column.name for column in COLUMNS}
PUBLISHED = (
    ("NRMS, published", "MINDdemo, 5,000 readers", "0.613", "", "", ""),
    ("NAML, published", "MINDdemo, 5,000 readers", "0.627", "", "", ""),
    ("NRMS, published", "MIND-small, 50,000 readers", "0.666", "0.319", "0.352", "0.415"),
    ("NAML, published", "MIND-small, 50,000 readers", "0.662", "0.321", "0.354", "0.416"),
)


def table(head: Sequence[str], rows: Sequence[Sequence[str]], right: int = 0) -> str:
    """A Markdown table; the last `right` columns are aligned to the right."""
    rule = ["---"] * (len(head) - right) + ["---:"] * right
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, rule, *rows)) + "\n"


def per_cent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f}"


@cache
def records() -> tuple[RunRecord, ...]:
    return tuple(read_records(RESULTS))


@cache
def results() -> pd.DataFrame:
    """The finished cells of the release at the medium tier, one row a cell and threat."""
    frame = recgauntlet.load(RESULTS)
    return frame[(frame.tier == TIER) & (frame.status == "ok")]


def rows_of(task: str, model: str, defense: str) -> list[pd.DataFrame]:
    """The cells of each row of a method: rows with most seeds first, then those with tuned values."""
    frame = results()
    cells = frame[(frame.task == task) & (frame.model == model) & (frame.defense == defense)]
    rows = [own for _, own in cells.groupby("row")]
    return sorted(rows, key=lambda own: (-own.seed.nunique(), not is_tuned(own), own.row.iloc[0]))


def is_tuned(cells: pd.DataFrame) -> bool:
    """Whether the defense of a row has the tuned values."""
    task, track, model, defense = cells[["task", "track", "model", "defense"]].iloc[0]
    found = tuned_for("defense", defense, task=task, track=track, model=model)
    return found is not None and found[0].values.items() <= json.loads(cells.defense_hyperparameters.iloc[0]).items()


@cache
@cache
def tables() -> tuple[TaskTable, ...]:
    return tuple(build_table(records()))


def row_of(own: str) -> tuple[TaskTable, Row]:
    """The leaderboard's row with an id, and its table."""
    return next((table, row) for table in tables() for row in table.rows if row_id(table, row) == own)


def gain(cells: pd.DataFrame, wanted: Quantity) -> float:
    """The difference of a row from its undefended twin on their common seeds."""
    table, row = row_of(cells.row.iloc[0])
    twin = twin_of(table, row)
    both = None if twin is None else beside(row, twin, wanted)
    if both is None:
        raise SystemExit(f"{row.model.name} {row.defense.name} on {table.task} has no undefended twin of its seeds")
    return both[0] - both[1]


def mean(cells: pd.DataFrame, column: str) -> float:
    """The mean over seeds of a column that belongs to the cell."""
    return float(cells.drop_duplicates("record")[column].mean())


def under(cells: pd.DataFrame, threat: str, column: str = "robust_accuracy") -> float | None:
    """The mean over seeds of a column under a threat; None where it is missing."""
    value = cells[(cells.threat == threat) & cells.applicable.fillna(False)][column].mean()
    return None if pd.isna(value) else float(value)


def options(cells: pd.DataFrame, others: list[pd.DataFrame]) -> str:
    """The hyper-parameters in which a row differs from others of the same method."""
    own, *rest = (json.loads(rows.defense_hyperparameters.iloc[0]) for rows in (cells, *others))
    differing = {name: value for name, value in own.items() if any(other.get(name) != value for other in rest)}
    return ", ".join(f"{name}={value}" for name, value in differing.items())


def seeds_of(cells: pd.DataFrame) -> str:
    return str(cells.seed.nunique())


def models() -> str:
    frame = results()
    films = frame[(frame.defense == "standard") & (frame.task == "video-watch")]
    rows = [
        [
            f"`{own.model.iloc[0]}`",
            seeds_of(own),
            per_cent(mean(own, "clean_accuracy")),
            *(per_cent(under(own, threat)) for threat in ("history-perturbation", "embedding")),
            f"{mean(own, 'auc'):.3f}",
            f"{mean(own, 'ndcg10'):.3f}",
            f"{mean(own, 'parameters'):,.0f}",
            f"{mean(own, 'training_seconds'):.0f}",
        ]
        for own in sorted((own for _, own in films.groupby("row")), key=lambda own: -mean(own, "clean_accuracy"))
    ]
    head = ["model", "seeds", "clean", "histories", "embeddings", "AUC", "nDCG@10", "parameters", "training, s"]
    return table(head, rows, right=8)


def defenses() -> str:
    frame = results()
    films = frame[(frame.model == "nrms") & (frame.task == "video-watch")]
    found = [own for _, own in films.groupby("row")]
    rows = []
    for own in sorted(found, key=lambda own: -(under(own, "embedding") or 0.0)):
        name = own.defense.iloc[0]
        differing = options(own, [other for other in found if other.defense.iloc[0] == name and other is not own])
        ratio = mean(own, "flops_ratio")
        rows.append(
            [
                f"`{name}`" + (f" ({differing})" if differing else ""),
                seeds_of(own),
                per_cent(mean(own, "clean_accuracy")),
                per_cent(under(own, "history-perturbation")),
                per_cent(under(own, "embedding")),
                per_cent(under(own, "history-perturbation", "certified_accuracy")),
                "1" if pd.isna(ratio) else f"{ratio:.2f}",
            ]
        )
    head = ["defense", "seeds", "clean", "histories", "embeddings", "certified", "FLOPs ×"]
    return table(head, rows, right=6)


def tasks() -> str:
    """The defenses with three seeds on every task: clean accuracy, and robust accuracy under the ranked threat."""
    rows = []
    for defense in sorted(results().defense.unique()):
        own = [rows_of(task, "nrms", defense)[:1] for task in RANKED]
        if all(found and found[0].seed.nunique() >= 3 for found in own):
            values = [
                per_cent(value)
                for (cells,), threat in zip(own, RANKED.values(), strict=True)
                for value in (mean(cells, "clean_accuracy"), under(cells, threat))
            ]
            rows.append([f"`{defense}`", *values])
    head = ["defense", *(name for pair in RANKED.items() for name in (f"{pair[0]}, clean", pair[1]))]
    return table(head, rows, right=6)


def news() -> str:
    """Ranking quality on MIND as publications measure it, beside theirs."""
    plain = [r for r in records() if r.task.id == "news-click" and r.defense.name == "standard" and r.status == "ok"]
    rows = [
        [
            f"`{row.model.name}`",
            f"`news-click`, {len(row.seeds)} seed{'s' if len(row.seeds) > 1 else ''}",
            *(f"{getattr(row.quality, name):.3f}" for name in ("impression_auc", "mrr", "ndcg5", "ndcg10")),
        ]
        for found in build_table(plain)
        for row in sorted(found.rows, key=lambda row: -row.quality.impression_auc)
    ]
    return table(["", "data", "AUC by impression", "MRR", "nDCG@5", "nDCG@10"], [*rows, *PUBLISHED], right=4)


def ablation() -> str:
    """What attacks break of the subset, mean over records: together, and for each attack alone (and no other)."""
    found: dict[str, dict[str, list[tuple[float, float]]]] = defaultdict(lambda: defaultdict(list))
    together: dict[str, list[float]] = defaultdict(list)
    for record in records():
        for threat in record.threats:
            broken = {own.attack: own.broken.to_bool() for own in threat.alone if own.tier == TIER}
            if not broken:
                continue
            count = np.sum(list(broken.values()), axis=0)
            together[threat.id].append(float((count > 0).mean()))
            for attack, bits in broken.items():
                found[threat.id][attack].append((float(bits.mean()), float((bits & (count == 1)).mean())))
    rows = []
    for name, attacks in sorted(found.items()):
        cells = []
        for attack, shares in sorted(attacks.items()):
            alone, only = np.mean(shares, axis=0)
            cells.append(f"`{attack}` {per_cent(alone)}" + (f" ({per_cent(only)})" if only >= 0.0005 else ""))
        rows.append([name, per_cent(float(np.mean(together[name]))), ", ".join(cells)])
    return table(["threat", "all together", "each attack alone (and by no other, where not 0.0)"], rows)


def checks(kind: Kind) -> str:
    """The conformance checks of a kind of plugin, in the order in which they run."""
    return table(["check", "tests that"], [[f"`{rule.name}`", rule.about] for rule in rules(kind)])


def performance(group: str) -> str:
    """The figures of a group, without the single peers whose values are in the detail of the comparison.

    A subject is named where it differs from that of the row above.
    """
    rows, last = [], ""
    for figure in json.loads((DOCS / "reference" / "performance.json").read_text(encoding="utf-8")):
        if figure["group"] != group or ", robust accuracy, " in figure["name"]:
            continue
        at_most, at_least, measured = figure["at_most"], figure["at_least"], figure["measured"]
        target = f"≤ {at_most:g}" if at_most is not None else f"≥ {at_least:g}" if at_least is not None else ""
        missed = (at_most is not None and measured > at_most) or (at_least is not None and measured < at_least)
        verdict = "" if not target else "MISSED" if missed else "ok"
        subject = figure["subject"] if figure["subject"] != last else ""
        rows.append([figure["name"], subject, f"{measured:.3g}", target, verdict])
        last = figure["subject"]
    if not any(row[1] for row in rows):
        return table(["figure", "measured", "target", ""], [[row[0], *row[2:]] for row in rows])
    return table(["figure", "subject", "measured", "target", ""], rows)


def exhaustive() -> str:
    """What the suite misses of all legal edits, by threat, model and number of edits."""
    gaps = json.loads((DOCS / "reference" / "exhaustive.json").read_text(encoding="utf-8"))
    rows = [
        [
            gap["threat"],
            gap["task"],
            f"`{gap['model']}`",
            str(gap["edits"]),
            str(gap["examples"]),
            *(per_cent(gap[name]) for name in ("clean", "suite", "exhaustive")),
            f"{100 * (gap['suite'] - gap['together']):.1f}",
            f"{gap['seconds']:.0f}",
        ]
        for gap in gaps
    ]
    head = ["threat", "task", "model", "edits", "examples", "clean", "suite", "search", "missed", "seconds"]
    return table(head, rows, right=7)


def suites() -> str:
    """What the same weights keep under the suites 1.0 and 2.0, by task, defense, threat and tier."""
    runs = json.loads((DOCS / "reference" / "suites.json").read_text(encoding="utf-8"))
    kept = {(run["task"], run["defense"], run["suite"]): run["threats"] for run in runs}
    rows = []
    for run in runs:
        if run["suite"] != "1.0" or (run["task"], run["defense"], "2.0") not in kept:
            continue
        now = kept[run["task"], run["defense"], "2.0"]
        for threat, old in run["threats"].items():
            pairs = [f"{per_cent(old[tier])} / {per_cent(now[threat][tier])}" for tier in TIERS]
            defense = shown("defense", run["defense"])
            rows.append([run["task"], f"`{defense}`", threat, per_cent(run["clean"]), *pairs])
    head = ["task", "defense", "threat", "clean", *(f"{shown('tier', tier)}: 1.0 / 2.0" for tier in TIERS)]
    return table(head, rows, right=4)


def poisoned() -> str:
    """What models under defenses keep of attacks on training data, and what filters remove."""
    rows = []
    for own in json.loads((DOCS / "reference" / "poisoning.json").read_text(encoding="utf-8")):
        filtered = own["filtered"]
        rows.append(
            [
                f"`{own['model']}`",
                f"`{shown('defense', own['defense'])}`",
                per_cent(own["accuracy"]),
                f"{per_cent(own['pairs_clean'])} / {per_cent(own['pairs_robust'])}",
                f"{per_cent(own['win_clean'])} / {per_cent(own['win_worst'])}",
                f"{per_cent(own['er50_clean'])} / {per_cent(own['er50_worst'])}",
                f"{own['ndcg10_change']:+.3f}",
                ", ".join(f"{one['attack']} {100 * one['recall']:.0f}" for one in filtered),
                ", ".join(f"{one['genuine']:.0f}" for one in filtered),
            ]
        )
    head = ["model", "defense", "accuracy", "pairs", "win rate", "ER@50", "nDCG@10", "fakes found", "genuine removed"]
    return table(head, rows, right=7)


def naturalness() -> str:
    """What a reader judged of 50 edits of each attack, beside the measured perplexity ratios and cosines."""
    rows = [
        [
            own["task"],
            own["threat"],
            f"`{own['attack']}`",
            str(own["edits"]),
            per_cent(own["changed"] / own["edits"]),
            f"{own['words']:g}",
            f"{own['characters']:g}",
            f"{own['perplexity_ratio']:.2f}",
            f"{own['cosine']:.2f}",
            per_cent(own["natural"] / own["edits"]),
        ]
        for own in json.loads((DOCS / "reference" / "naturalness.json").read_text(encoding="utf-8"))
    ]
    head = ["task", "threat", "attack", "edits", "meaning changed, %", "words", "characters"]
    return table([*head, "perplexity ratio", "cosine", "natural, %"], rows, right=7)


def equal_rows() -> str:
    """How often ranks separate simulated rows that are equal in truth."""
    rows = [
        [
            str(own["seeds"]),
            f"{100 * own['deviation']:g}",
            *(f"{100 * own[name]:.1f}" for name in ("alone", "alone_by_intervals")),
            *(f"{100 * own[name]:.1f}" for name in ("told_apart", "told_apart_by_intervals")),
            f"{own['range_width']:.1f}",
        ]
        for own in json.loads((DOCS / "reference" / "ranks.json").read_text(encoding="utf-8"))["simulated"]
    ]
    head = ["seeds", "trainings vary by, points", "one alone at rank 1, %", "the same by intervals, %"]
    return table([*head, "pairs told apart, %", "the same by intervals, %", "ranks in a range"], rows, right=7)


def separated() -> str:
    """How many pairs of ranked rows of the release are told apart by the test of the ranks, and by intervals."""
    found = json.loads((DOCS / "reference" / "ranks.json").read_text(encoding="utf-8"))["release"]
    names = ("rows", "pairs", "by_ranks", "by_intervals")
    total = ["all", *(f"{sum(own[name] for own in found)}" for name in names)]
    head = ["task", "ranked rows", "pairs", "told apart by the test of the ranks", "by intervals that do not overlap"]
    return table(head, [*([own["task"], *(str(own[name]) for name in names)] for own in found), total], right=4)


def synonyms() -> str:
    """How many words have a replacement as neighbours and as synonyms, and what the attacks leave of a model."""
    found = json.loads((DOCS / "reference" / "synonyms.json").read_text(encoding="utf-8"))
    rows = [
        [
            rule["synonyms"],
            f"{rule['synonym_cosine']:g}",
            *(f"{100 * words['share']:.0f}" for words in rule["words"].values()),
            *(f"{words['replacements']:.1f}" for words in rule["words"].values()),
            *(f"{100 * rule['accuracy'][name]:.1f}" for name in ("clean", *TIERS)),
        ]
        for rule in found["rules"]
    ]
    tasks = list(found["rules"][0]["words"])
    head = ["`synonyms`", "`synonym_cosine`", *(f"words of {task}, %" for task in tasks)]
    head += [*(f"replacements of such a word, {task}" for task in tasks), f"clean, {found['pairs']} pairs, %"]
    return table([*head, *(f"{shown('tier', tier)}, %" for tier in TIERS)], rows, right=9)


TABLES: dict[str, Callable[..., str]] = {
    "api": api,
    "ablation": ablation,
    "checks": checks,
    "columns": lambda: documentation(COLUMNS),
    "defenses": defenses,
    "exhaustive": exhaustive,
    "equal-rows": equal_rows,
    "example-columns": lambda: documentation([own for own in EXAMPLE_COLUMNS if own.name not in OF_A_CELL]),
    "models": models,
    "naturalness": naturalness,
    "news": news,
    "performance": performance,
    "poisoned": poisoned,
    "separated": separated,
    "suites": suites,
    "synonyms": synonyms,
    "tasks": tasks,
}


def quantity(text: str) -> str:
    """A number in the text: `[+]MODEL DEFENSE[~] TASK NAME`, with `+` as the difference from the undefended twin on the
    common seeds.

    NAME is one of `SHORT`, `clean` and, without `+`, `certified`, `operations` (FLOPs ratio). Of several rows of a
    method the one with most seeds and tuned values is meant, with `~` the last one.
    """
    model, defense, task, name = text.removeprefix("+").split()
    cells = rows_of(task, model, defense.removesuffix("~"))[-1 if defense.endswith("~") else 0]

    def value(of: pd.DataFrame) -> float:
        if name in SHORT:
            return under(of, SHORT[name]) or 0.0
        if name == "certified":
            return under(of, RANKED[task], "certified_accuracy") or 0.0
        return mean(of, {"clean": "clean_accuracy", "operations": "flops_ratio"}[name])

    if text.startswith("+"):
        wanted = CLEAN if name == "clean" else Quantity(SHORT[name])
        return f"{100 * gain(cells, wanted):+.1f}".replace("-", "−")
    return f"{value(cells):.2f}" if name == "operations" else per_cent(value(cells))


def output_of(command: str) -> str:
    """What a command prints, run at the root of the repository."""
    result = CliRunner().invoke(cli, shlex.split(command)[1:], catch_exceptions=False)
    if result.exit_code != 0:
        raise SystemExit(f"{command}: {result.output}")
    return "\n".join(line.rstrip() for line in result.stdout.rstrip().splitlines())


def generated(page: str) -> str:
    """The page with all generated parts made again."""

    def fill(found: re.Match[str]) -> str:
        return f"<!-- table: {found[1]} -->\n{TABLES[found[1].split()[0]](*found[1].split()[1:])}<!-- end -->"

    page = re.sub(r"[+−]?[\d.]+(<!--=(.+?)-->)", lambda found: quantity(found[2]) + found[1], page)
    page = re.sub(r"<!-- table: (.+?) -->\n(?:.*\n)*?<!-- end -->", fill, page)
    return re.sub(
        r"^```console\n\$ (recgauntlet .*)\n(?:.*\n)*?```$",
        lambda found: f"```console\n$ {found[1]}\n{output_of(found[1])}\n```",
        page,
        flags=re.MULTILINE,
    )


def main() -> None:
    """Write the pages whose generated parts have changed."""
    for path in sorted(DOCS.rglob("*.md")):
        text = path.read_text(encoding="utf-8")
        if (new := generated(text)) != text:
            path.write_text(new, encoding="utf-8")
            print(path.relative_to(DOCS.parent), file=sys.stderr)


if __name__ == "__main__":
    main()

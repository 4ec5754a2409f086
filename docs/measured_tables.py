"""Generated tables that come from figures in `docs/reference/*.json`, each written by a tool or a benchmark."""

from __future__ import annotations

import json
from typing import Any

from markdown_table import DOCS, per_cent, table

from recgauntlet.core.card import TIERS
from recgauntlet.core.names import shown
from recgauntlet.core.spec import TWIN


def figures(name: str) -> Any:
    """The content of a file of figures."""
    return json.loads((DOCS / "reference" / f"{name}.json").read_text(encoding="utf-8"))


def performance(group: str) -> str:
    """The figures of a group, without the single peers whose values are in the detail of the comparison.

    A subject is named where it differs from that of the row above.
    """
    rows, last = [], ""
    for figure in figures("performance"):
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


def step_costs(model: str) -> str:
    """What a training step of `model` costs under each defense on each task, relative to plain training: FLOPs and, in
    parentheses, processor time."""
    rows = [row for row in figures("steps") if row["model"] == model]
    tasks = sorted({row["task"] for row in rows})
    found = {(row["defense"], row["task"]): f"{row['flops_ratio']:.2f} ({row['seconds_ratio']:.2f})" for row in rows}
    defenses = sorted({row["defense"] for row in rows} - {TWIN})
    lines = [[f"`{name}`", *(found.get((name, task), "") for task in tasks)] for name in defenses]
    return table(["defense", *tasks], lines, right=len(tasks))


def exhaustive() -> str:
    """What the suite misses of all legal edits, by threat, model and number of edits."""
    gaps = figures("exhaustive")
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


def exhaustive_rows() -> str:
    """The same for trained rows, as `tools/exhaustive_rows.py` searched them."""
    rows = [
        [
            gap["task"],
            f"`{gap['model']}`",
            f"`{shown('defense', gap['defense'])}`",
            gap["threat"],
            str(gap["edits"]),
            str(gap["examples"]),
            *(per_cent(gap[name]) for name in ("clean", "suite", "exhaustive")),
            f"{100 * (gap['suite'] - gap['together']):.1f}",
        ]
        for gap in sorted(figures("exhaustive-rows"), key=lambda gap: (gap["task"], gap["model"], gap["defense"]))
    ]
    head = ["task", "model", "defense", "threat", "edits", "examples", "clean", "suite", "search", "missed"]
    return table(head, rows, right=6)


def suites() -> str:
    """What the same weights keep under the suites 1.0 and 2.0, by task, defense, threat and tier."""
    runs = figures("suites")
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


def poisoned(task: str) -> str:
    """What models under defenses keep of a task's attacks on training data, and what filters remove."""
    rows = []
    for own in figures("poisoning"):
        if own["task"] != task:
            continue
        filtered = own["filtered"]
        rows.append(
            [
                f"`{own['model']}`",
                f"`{shown('defense', own['defense'])}`",
                per_cent(own["accuracy"]),
                _with_interval(own["pairs_clean"]),
                _with_interval(own["pairs_robust"]),
                f"`{own['worst']}`",
                f"{per_cent(own['win_clean'])} / {per_cent(own['win_worst'])}",
                f"{per_cent(own['er50_clean'])} / {per_cent(own['er50_worst'])}",
                f"{own['ndcg10_change']:+.3f}",
                ", ".join(f"{one['attack']} {100 * one['recall']:.0f}" for one in filtered),
                ", ".join(f"{one['genuine']:.0f}" for one in filtered),
            ]
        )
    head = ["model", "defense", "accuracy", "pairs, clean", "pairs, poisoned", "worst", "win rate", "ER@50", "nDCG@10"]
    return table([*head, "fakes found", "genuine removed"], rows, right=9)


def _with_interval(value: float | list[float]) -> str:
    """A share in per cent, with its interval where there is one."""
    if isinstance(value, float):
        return per_cent(value)
    middle, low, high = map(per_cent, value)
    return f"{middle} [{low}, {high}]"


def drift() -> str:
    """What weights keep on the time behind each window: never trained again, of the window before, and retrained."""
    rows = []
    for own in figures("drift"):
        for window in own["windows"]:
            threat = next(
                (name for name in window["after"] if not name.startswith(("clean", "embedding"))), "embedding"
            )
            kept = [
                " / ".join(str(window[weights].get(name, "")) for weights in ("never", "before", "after"))
                for name in ("clean", threat)
            ]
            robust = window["change"][threat]
            rows.append(
                [
                    own["task"],
                    f"`{own['model']}`",
                    f"`{shown('defense', own['defense'])}`",
                    f"{window['until']} ({window['days']} days)",
                    kept[0],
                    threat,
                    kept[1],
                    f"{robust[0]:+.1f} [{robust[1]:+.1f}, {robust[2]:+.1f}]",
                    "; ".join(window["refused"]),
                ]
            )
    head = ["task", "model", "defense", "until", "clean", "threat", "robust", "change of robust", "why the old stay"]
    return table(head, rows)


def fake_orders() -> str:
    """What fake accounts in the newest window do to retrained weights."""
    rows = [
        [
            own["task"],
            f"`{own['model']}`",
            f"`{line['attack']}`",
            str(line["accounts"]),
            str(line["pairs_genuine"]),
            str(line["pairs_poisoned"]),
            ", ".join(
                f"{name} {change[0]:+.1f} [{change[1]:+.1f}, {change[2]:+.1f}]"
                for name, change in line["change"].items()
            ),
        ]
        for own in figures("drift")
        for line in own["fake_orders"]
    ]
    head = ["task", "model", "attack", "accounts", "pairs right, genuine window", "with them", "change of the rest"]
    return table(head, rows)


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
        for own in figures("naturalness")
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
        for own in figures("ranks")["simulated"]
    ]
    head = ["seeds", "trainings vary by, points", "one alone at rank 1, %", "the same by intervals, %"]
    return table([*head, "pairs told apart, %", "the same by intervals, %", "ranks in a range"], rows, right=7)


def gaps() -> str:
    """How often the test of gaps tells simulated rows from their twins."""
    rows = [
        [f"{100 * own[name]:g}" for name in ("twin", "defense", "deviation")]
        + [f"{100 * own[name]:.1f}" for name in ("told_apart", "covered")]
        for own in figures("gaps")
    ]
    head = ["gap of the twin, points", "gap of the defense", "trainings vary by, a group", "told apart, %"]
    return table([*head, "interval has the twin's gap, %"], rows, right=5)


def separated() -> str:
    """How many pairs of ranked rows of the release are told apart by the test of the ranks, and by intervals."""
    found = figures("ranks")["release"]
    names = ("rows", "pairs", "by_ranks", "by_intervals")
    total = ["all", *(f"{sum(own[name] for own in found)}" for name in names)]
    head = ["task", "ranked rows", "pairs", "told apart by the test of the ranks", "by intervals that do not overlap"]
    return table(head, [*([own["task"], *(str(own[name]) for name in names)] for own in found), total], right=4)


def synonyms() -> str:
    """How many words have a replacement as neighbours and as synonyms, and what the attacks leave of a model."""
    found = figures("synonyms")
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


def pilot(task: str) -> str:
    """What budgets that were tried leave of an undefended and of defended models."""
    runs = [run for run in figures("pilot") if run["task"] == task]
    budgets = list(dict.fromkeys(run["budget"] for run in runs))
    rows = []
    for own in sorted(runs, key=lambda run: budgets.index(run["budget"])):
        kept = [per_cent(own["robust"][tier]) for tier in TIERS]
        lost = [per_cent(own["lost"][tier]) for tier in TIERS]
        trained = "" if own["weights"] == "this version" else f" (trained on {own['weights']})"
        rows.append([own["budget"], f"`{own['defense']}`{trained}", per_cent(own["clean"]), *kept, *lost])
    tiers = [shown("tier", tier) for tier in TIERS]
    head = ["budget, low / medium / high", "defense", "clean", *tiers, *(f"lost, {tier}" for tier in tiers)]
    return table(head, rows, right=7)

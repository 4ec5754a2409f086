"""Findings as sentences, each computed from records: which defense is worth its cost, what it protects against, what
carries over from one threat to another, and what is often claimed of adversarial training.

Only ranked rows count, each beside its undefended twin on the seeds and test pairs that both have, by the paired test
of the ranks. "Clearly" means that this test tells the two rows apart. It is not corrected for the number of sentences.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from recgauntlet.core.spec import TWIN
from recgauntlet.leaderboard.decoded import DecodedRecord
from recgauntlet.leaderboard.flags import MIN_SEEDS
from recgauntlet.leaderboard.paired import CLEAN, Paired, Quantity, paired, quantities, twin_of
from recgauntlet.leaderboard.schema import Row
from recgauntlet.metrics.bootstrap import estimates, paired_p, resampled_means
from recgauntlet_site.families import defense_family
from recgauntlet_site.format import joined, percent, points, row_name, times
from recgauntlet_site.method_keys import method_keys
from recgauntlet_site.pages.task import TaskPage

MOST_ANSWERS = 10
NDCG = Quantity("nDCG@10")
"""Not of a threat: ranking quality on the clean impressions of the test period."""
CLAIMED_OF = "adversarial training"
"""The family of defenses that the claims are about."""


@dataclass(frozen=True)
class Finding:
    """A sentence or two, and the path of the page of the row that they are about, "" where there is none."""

    text: str
    path: str = ""


@dataclass(frozen=True)
class Gain:
    """A ranked row beside its undefended twin, in each quantity that both have."""

    task: TaskPage
    row: Row
    twin: Row
    lines: dict[Quantity, Paired]

    @property
    def worst(self) -> Paired | None:
        """Under the ranked threat that hurts the twin most."""
        return self.lines.get(Quantity(self.twin.worst)) if self.twin.worst else None

    @property
    def name(self) -> str:
        """Model and defense, with the options that tell the row from others."""
        options = self.task.options_of(self.row)
        return row_name(self.row) + (f" ({', '.join(options)})" if options else "")

    @property
    def cost(self) -> float:
        """Training FLOPs relative to the twin."""
        return self.row.cost.flops_ratio or 1.0


@dataclass(frozen=True)
class Claim:
    """A claim, what the numbers say to it, and the counts behind that, task by task."""

    title: str
    verdict: str
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Findings:
    """What the ranked tables of a board show; `tasks` are all its pages; those of other tables are left out."""

    tasks: Sequence[TaskPage]

    @cached_property
    def gains(self) -> list[tuple[TaskPage, list[Gain]]]:
        """The ranked tables with their defended rows that have a ranked twin."""
        return [(task, list(_gains(task))) for task in self.tasks if task.table.ranked and task.table.rows]

    @cached_property
    def answers(self) -> list[Finding]:
        """At most ten sentences: the defense worth most on each task, what holds on all tasks, what plain training
        loses, and the cheapest defense that helps."""
        worth = [_worth(task, gains) for task, gains in self.gains]
        everywhere = _everywhere([gains for _, gains in self.gains])
        loses = [finding for task, _ in self.gains for finding in _loses(task)]
        cheapest = [finding for _, gains in self.gains for finding in _cheapest(gains)]
        return [*worth, *everywhere, *loses, *cheapest][:MOST_ANSWERS]

    @cached_property
    def protection(self) -> list[tuple[TaskPage, list[Finding]]]:
        """Task by task which defenses keep clearly more, and clearly less, under each threat."""
        return [(task, _protection(task, gains)) for task, gains in self.gains if gains]

    @cached_property
    def transfers(self) -> list[tuple[TaskPage, list[Finding]]]:
        """Task by task how many defenses that help under one threat help under another."""
        return [(task, found) for task, gains in self.gains if (found := _transfers(task, gains))]

    @cached_property
    def claims(self) -> list[Claim]:
        """Three claims on adversarial training, held against the numbers of all tasks."""
        own = [(task, [g for g in gains if defense_family(g.row.defense) == CLAIMED_OF]) for task, gains in self.gains]
        own = [(task, gains) for task, gains in own if gains]
        worst = [(task, [line for gain in gains if (line := gain.worst)]) for task, gains in own]
        clean = [(task, [gain.lines[CLEAN] for gain in gains if CLEAN in gain.lines]) for task, gains in own]
        ndcg = [
            (task, [line for gain in gains if (line := ndcg_difference(gain.row, gain.twin))]) for task, gains in own
        ]
        return [
            _claim("It makes models more robust", "robust accuracy under the worst ranked threat", worst),
            _claim("It makes models more accurate on clean inputs", "clean accuracy", clean),
            _claim("It makes models generalize better", "nDCG@10 on impressions of the test period", ndcg),
        ]


def sure(line: Paired) -> int:
    """1 where the first row is clearly better, -1 where it is clearly worse, 0 where the test does not tell."""
    return int(np.sign(line.difference.value)) if line.told_apart else 0


def ndcg_difference(row: Row, twin: Row, least_seeds: int = MIN_SEEDS) -> Paired | None:
    """nDCG@10 of two rows on the clean impressions of their common seeds; None where these are fewer than
    `least_seeds`, or the impressions are others."""
    seeds = sorted({*row.seeds} & {*twin.seeds})
    own, other = (
        [DecodedRecord(record).ndcg10 for seed in seeds for record in each.records if record.seed == seed]
        for each in (row, twin)
    )
    if len(seeds) < least_seeds or len({len(values) for values in [*own, *other]}) != 1:
        return None
    bits = np.stack(own) - np.stack(other)
    draws, mean = resampled_means(bits[:, :, None]), float(bits.mean())
    (difference,) = estimates([mean], draws)
    p = float(paired_p(np.array([mean]), draws)[0])
    return Paired(NDCG, tuple(seeds), float(np.mean(own)), float(np.mean(other)), difference, p, bits)


def _gains(task: TaskPage) -> Iterator[Gain]:
    wanted = quantities(task.table)
    for row in task.table.rows:
        twin = twin_of(task.table, row)
        if row.rank is not None and row.defense.name != TWIN and twin is not None and twin.rank is not None:
            yield Gain(task, row, twin, {line.quantity: line for line in paired(row.records, twin.records, wanted)})


def _worth(task: TaskPage, gains: Sequence[Gain]) -> Finding:
    name = task.table.task
    judged = [(gain, line) for gain in gains if (line := gain.worst)]
    better = [(gain, line) for gain, line in judged if sure(line) > 0]
    if not judged:
        return Finding(f"On {name} no defense can be judged: no defended row is ranked beside a ranked twin.")
    if not better:
        threats = joined(sorted({line.quantity.threat for _, line in judged}))
        worse = sum(sure(line) < 0 for _, line in judged)
        return Finding(
            f"On {name} no defense is worth its cost: of {_count(len(judged), 'ranked defense', 'ranked defenses')} "
            f"none keeps clearly more than undefended under {threats}, {worse or 'none'} clearly less."
        )
    gain, line = max(better, key=lambda found: found[1].difference.value)
    best = gain.row.rank_range
    text = (
        f"On {name} {gain.name} keeps most: {percent(line.a)} % under {line.quantity.threat} where undefended keeps "
        f"{percent(line.b)} % ({_difference(line)}), with {_clean(gain)}, at {times(gain.row.cost.flops_ratio)} the "
        "training FLOPs"
    )
    certain = f"; it is the best ranked row in {best.best_percent} % of the draws" if best else ""
    return Finding(f"{text}{certain}.", task.row_path(gain.row))


def _everywhere(gains: Sequence[Sequence[Gain]]) -> list[Finding]:
    """What is better on every task, of the methods that are ranked on all of them."""
    if len(gains) < 2:
        return []
    key_of = method_keys([[gain.row for gain in own] for own in gains])
    methods = [{key_of(gain.row): gain for gain in own} for own in gains]
    shared = [key for key in methods[0] if all(key in own for own in methods)]
    n = len(gains)
    if not shared:
        return [Finding(f"No method with a defense is ranked on all {n} tasks, so none can be compared across them.")]
    always = [methods[0][key].name for key in shared if all((w := own[key].worst) and sure(w) > 0 for own in methods)]
    what = "keeps clearly more than undefended on each of them"
    ranked = _count(len(shared), "method", "methods")
    if not always:
        return [Finding(f"No defense helps everywhere: of {ranked} ranked on all {n} tasks none {what}.")]
    verb = what if len(always) == 1 else what.replace("keeps", "keep", 1)
    return [Finding(f"Of {ranked} ranked on all {n} tasks {joined(always)} {verb}.")]


def _loses(task: TaskPage) -> Iterator[Finding]:
    """What attacks do to the undefended model with the best rank."""
    for row in [row for row in task.table.rows if row.rank is not None and row.defense.name == TWIN][:1]:
        cell = row.worst_cell
        if cell is not None and cell.attack_success is not None:
            text = (
                f"On {task.table.task} undefended {row.model.name} is right on {percent(row.clean.value)} % of clean "
                f"examples and on {percent(cell.robust.value)} % under {row.worst}: attacks turn "
                f"{percent(cell.attack_success.value)} % of what they may attack."
            )
            yield Finding(text, task.row_path(row))


def _cheapest(gains: Sequence[Gain]) -> Iterator[Finding]:
    better = [(gain, line) for gain in gains if (line := gain.worst) and sure(line) > 0]
    if better:
        gain, line = min(better, key=lambda found: found[0].cost)
        text = (
            f"The cheapest defense that clearly helps on {gain.task.table.task} is {gain.name}: "
            f"{points(line.difference.value)} points under {line.quantity.threat} at "
            f"{times(gain.row.cost.flops_ratio)} the training FLOPs."
        )
        yield Finding(text, gain.task.row_path(gain.row))


def _protection(task: TaskPage, gains: Sequence[Gain]) -> list[Finding]:
    found = []
    for column in task.table.threats:
        lines = [(gain, line) for gain in gains if (line := gain.lines.get(Quantity(column.id)))]
        if not lines:
            continue
        lines.sort(key=lambda one: -one[1].difference.value)
        more = [_named(gain, line) for gain, line in lines if sure(line) > 0]
        less = [_named(gain, line) for gain, line in reversed(lines) if sure(line) < 0]
        kind = "ranked" if column.ranked else "diagnostic"
        text = (
            f"{column.id} ({kind}): {len(more) or 'none'} of {_count(len(lines), 'ranked defense', 'ranked defenses')} "
        )
        text += f"{'keep' if len(more) > 1 else 'keeps'} clearly more than undefended"
        text += f" ({joined(more)})" if more else ""
        text += f", {len(less)} clearly less ({joined(less)})." if less else ", none clearly less."
        found.append(Finding(text))
    return found


def _transfers(task: TaskPage, gains: Sequence[Gain]) -> list[Finding]:
    found = []
    for first in task.table.threats:
        helped = [gain for gain in gains if (line := gain.lines.get(Quantity(first.id))) and sure(line) > 0]
        for second in task.table.threats:
            there = [sure(line) for gain in helped if (line := gain.lines.get(Quantity(second.id)))]
            if first is not second and there:
                found.append(Finding(f"{first.id} → {second.id}: {_carried(there, first.id, second.id)}"))
    return found


def _carried(there: Sequence[int], first: str, second: str) -> str:
    """How many defenses that help under the threat `first` help under `second`, by their signs `there`."""
    more, less = there.count(1), there.count(-1)
    verdict = "carries over" if more == len(there) else "carries over in part" if more else "does not carry over"
    helped = _count(len(there), "defense that keeps", "defenses that keep")
    return (
        f"{verdict}. Of {helped} clearly more than undefended under {first}, {_count(more, 'keeps', 'keep')} clearly "
        f"more under {second}, {less} clearly less, and {there.count(0)} cannot be told apart from undefended."
    )


def _claim(title: str, what: str, found: Sequence[tuple[TaskPage, Sequence[Paired]]]) -> Claim:
    signs = [sure(line) for _, lines in found for line in lines]
    more, less, all_ = signs.count(1), signs.count(-1), len(signs)
    rows = f"{_count(all_, 'ranked row', 'ranked rows')} with {CLAIMED_OF}"
    counts = (
        f"of {rows} {more} {'has' if more == 1 else 'have'} clearly more {what} than undefended, {less} clearly less"
    )
    if not signs:
        verdict = f"Not tested: no row with {CLAIMED_OF} is ranked beside a ranked twin."
    elif more == all_:
        verdict = f"The numbers bear it out: {counts}."
    elif more and less:
        verdict = f"The numbers are mixed: {counts}."
    elif more:
        verdict = f"The numbers bear it out in part: {counts}."
    elif less:
        verdict = f"The numbers are against it: {counts}."
    else:
        verdict = f"The numbers do not show it: {counts}."
    return Claim(title, verdict, tuple(_by_task(task, lines) for task, lines in found if lines))


def _by_task(task: TaskPage, lines: Sequence[Paired]) -> str:
    signs = [sure(line) for line in lines]
    low, high = (points(f(line.difference.value for line in lines)) for f in (min, max))
    return (
        f"{task.table.task}: {signs.count(1)} clearly more, {signs.count(-1)} clearly less, {signs.count(0)} not told "
        f"apart; differences {low if low == high else f'{low} to {high}'} points."
    )


def _difference(line: Paired) -> str:
    low, high = (points(value) for value in (line.difference.low, line.difference.high))
    return f"{points(line.difference.value)} points, {low} to {high}"


def _clean(gain: Gain) -> str:
    line = gain.lines[CLEAN]
    if not sure(line):
        return "clean accuracy not told apart from undefended"
    return f"{points(line.difference.value)} points of clean accuracy"


def _named(gain: Gain, line: Paired) -> str:
    return f"{gain.name} {points(line.difference.value)}"


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"

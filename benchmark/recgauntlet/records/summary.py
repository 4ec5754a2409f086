"""The summary of one record as text, for `recgauntlet show` and `RunRecord.summary`."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from recgauntlet.core.card import RANKING_TIER, TIERS
from recgauntlet.core.escape import visible
from recgauntlet.core.names import shown
from recgauntlet.core.quantities import seconds, size
from recgauntlet.core.types import Scalar
from recgauntlet.metrics.groups import LEAST_PAIRS
from recgauntlet.metrics.ranking import accuracy
from recgauntlet.records.edits import broken_up_to, medians, natural_up_to
from recgauntlet.records.groups import group_name
from recgauntlet.records.poisoning import TrainingDataOutcome
from recgauntlet.records.ranking_quality import catalog_quality, ranking_quality
from recgauntlet.records.right_examples import right_clean, right_under
from recgauntlet.records.schema import Clean, RunRecord, ThreatOutcome, robust_accuracy
from recgauntlet.records.user_groups import UserGroups


def print_summary(console: Console, record: RunRecord, *, tuned: Mapping[str, Scalar] = MappingProxyType({})) -> None:
    """Print what ran, clean and robust accuracy, cost and sanity checks, computed from the per-example outcomes.

    Values of the defense's hyper-parameters that are in `tuned` are marked.
    """
    defense = shown("defense", record.defense.name)
    head = f"{record.task.id} ({record.task.track}) / {record.model.name} / {defense} / seed {record.seed}"
    console.print(visible(head), markup=False, style="bold", soft_wrap=True)
    if record.task.simulated:
        console.print("simulated data: never ranked")
    if record.failure is not None:
        said = f"failed while {record.failure.stage}: {record.failure.message}"
        console.print(visible(said, keep="\n"), markup=False, soft_wrap=True)
        return
    if (first := record.first_pairs) is not None:
        console.print(f"attacked on the first {first.pairs:,} of {first.all_pairs:,} test pairs: not ranked")
    assert record.clean is not None  # a record without a failure has clean results
    labels, scores = record.clean.labels.to_bool(), record.clean.scores.to_float()
    console.print(visible(f"defense         {_options(record, tuned)}"), markup=False, soft_wrap=True)
    console.print(f"clean accuracy  {accuracy(labels, scores):.1%} of {len(labels)} examples")
    _print_rankings(console, record.clean)
    table = Table(box=None, pad_edge=False)
    tiers = [shown("tier", tier) for tier in TIERS]
    for heading in ("threat", "goal", *tiers, f"attacks that broke something ({tiers[1]} tier)"):
        table.add_column(heading)
    for threat in record.threats:
        table.add_row(*(escape(visible(text)) for text in _threat_row(threat)))
    console.print(table)
    for threat in record.threats:
        _print_edits(console, record, threat)
    for name in dict.fromkeys(one.threat for one in record.certified):
        shares = [
            f"{shown('tier', one.tier)} {np.mean(one.certified.to_bool()):.1%}"
            for one in record.certified
            if one.threat == name
        ]
        console.print(visible(f"certified       {name}: {', '.join(shares)}"), markup=False, soft_wrap=True)
    for poisoned in record.poisoning:
        console.print(visible(_poisoning_line(poisoned)), markup=False, soft_wrap=True)
    _print_groups(console, record)
    _print_cost(console, record)
    failed = [gate for gate in record.gates if not gate.passed]
    console.print(f"sanity gates    {len(record.gates) - len(failed)} of {len(record.gates)} passed")
    for gate in failed:
        name = f"{gate.name} ({gate.threat})" if gate.threat else gate.name
        console.print(visible(f"  FLAGGED {name}: {gate.explanation}"), markup=False, soft_wrap=True)


def _print_rankings(console: Console, clean: Clean) -> None:
    """Ranking quality by all lists of candidates; nothing where there is one list alone."""
    if clean.catalog is not None:
        places = catalog_quality(clean.catalog)
        console.print(
            f"rankings        all items the user never took, {len(clean.catalog.above)} lists: recall@10 "
            f"{places.recall10:.3f}, nDCG@10 {places.ndcg10:.3f}, MRR {places.mrr:.3f}",
            soft_wrap=True,
        )
    if clean.popular is None:
        return
    for name, popular in (("uniformly", False), ("by popularity", True)):
        found = ranking_quality(clean, popular=popular)
        console.print(
            f"rankings        unclicked candidates drawn {name}: AUC {found.auc:.3f}, gAUC {found.gauc:.3f}, "
            f"MRR {found.mrr:.3f}, nDCG@5 {found.ndcg5:.3f}, nDCG@10 {found.ndcg10:.3f}",
            soft_wrap=True,
        )


def _options(record: RunRecord, tuned: Mapping[str, Scalar]) -> str:
    parts = [
        f"{name}={value!r}{' (tuned)' if name in tuned and tuned[name] == value else ''}"
        for name, value in record.defense.hyperparameters.items()
    ]
    return f"{shown('defense', record.defense.name)}: {', '.join(parts) or 'no options'}"


def _threat_row(threat: ThreatOutcome) -> tuple[str, ...]:
    ranked = "" if threat.ranked else " (not ranked)"
    if not threat.applicable:
        return (threat.id, threat.goal + ranked, "not applicable", "", "", "")
    attacked = {tier.tier: f"{robust_accuracy(tier):.1%}" for tier in threat.tiers}
    robust = [attacked.get(tier, "not run") for tier in TIERS]
    standard = next(tier for tier in threat.tiers if tier.tier == RANKING_TIER)
    broke = [f"{a.name} {int(a.broken.to_bool().sum())}" for a in standard.attacks if a.broken.to_bool().any()]
    return (threat.id, threat.goal + ranked, *robust, ", ".join(broke))


def _print_edits(console: Console, record: RunRecord, threat: ThreatOutcome) -> None:
    """What the edits of each attack by itself change, medians at the medium tier; nothing where no text is edited."""
    runs = [(one.attack, found) for one in threat.alone if one.tier == RANKING_TIER and (found := one.naturalness)]
    if not runs:
        return
    reason = record.naturalness.reason if record.naturalness else ""
    console.print(
        visible(f"edits           {threat.id}, {shown('tier', RANKING_TIER)} tier, each attack alone, medians")
    )
    if reason:
        console.print(visible(f"                perplexity and cosine not computed: {reason}"), markup=False)
    table = Table(box=None, pad_edge=False)
    for heading in ("attack", "edits", "words", "characters", "perplexity ratio", "cosine", "natural"):
        table.add_column(heading)
    for attack, found in runs:
        natural = found.natural()
        values = ["" if value is None else f"{value:.3g}" for value in medians([found])]
        count = "" if natural is None else str(int(natural.sum()))
        table.add_row(escape(visible(attack)), str(found.words.n), *values, count)
    console.print(table)
    broken, natural = broken_up_to(threat, RANKING_TIER), natural_up_to(threat, RANKING_TIER)
    if natural is not None:
        console.print(
            f"stay broken     {int(natural.sum())} of {int(broken.sum())} by the edits found, if others are refused"
        )


def _poisoning_line(outcome: TrainingDataOutcome) -> str:
    """Robust accuracy under attacks on training data, tier by tier, and which attacks count."""
    ranked = "" if outcome.ranked else " (not ranked)"
    if outcome.clean is None:
        return f"poisoning       {outcome.threat}{ranked}: not run: {outcome.reason}"
    found = [(tier, pairs) for tier in TIERS if (pairs := outcome.robust_pairs(tier)) is not None]
    shares = [f"{shown('tier', tier)} {pairs.accuracy():.1%}" for tier, pairs in found]
    before = outcome.pairs(outcome.clean).accuracy()
    failed = [check.name for check in outcome.checks if not check.passed]
    refused = [f"{one.attack} {shown('tier', one.tier)}" for one in outcome.trainings if one.faults]
    return "; ".join(
        [
            f"poisoning       {outcome.threat}{ranked}: clean {before:.1%}, {', '.join(shares)}",
            f"under {', '.join(outcome.attacks)}, {len(outcome.trainings)} trainings",
            *([f"failed checks: {', '.join(failed)}"] if failed else []),
            *([f"refused tables: {', '.join(refused)}"] if refused else []),
        ]
    )


def _print_groups(console: Console, record: RunRecord) -> None:
    """Clean accuracy, and robust accuracy under the worst ranked threat at the medium tier, by group."""
    if record.clean is None or not (record.groups or record.user_groups):
        return
    shares, right = right_under(record), {"clean": right_clean(record.clean)}
    worst = min(shares, key=lambda name: float(shares[name].mean()), default="")
    if worst:
        right[f"robust, {worst}"] = shares[worst]
    by_pair = {name: bits.reshape(-1, 2).mean(axis=1) for name, bits in right.items()}
    table = Table(box=None, pad_edge=False)
    for heading in ("grouping", "group", "pairs", *by_pair):
        table.add_column(escape(visible(heading)))
    for grouping in record.groups:
        codes = grouping.pairs.to_int()
        inside = [codes == number for number in range(len(grouping.groups))]
        for number, (group, members) in enumerate(zip(grouping.groups, inside, strict=True)):
            enough = members.sum() >= LEAST_PAIRS
            means = [f"{pairs[members].mean():.1%}" if enough else "" for pairs in by_pair.values()]
            name = group_name(grouping.name, group.least, group.most)
            table.add_row("" if number else grouping.name, name, str(members.sum()), *means)
        some = [members for members in inside if members.sum() >= LEAST_PAIRS]
        if len(some) > 1:
            gaps = [np.ptp([pairs[members].mean() for members in some]) for pairs in by_pair.values()]
            table.add_row("", "largest gap", "", *(f"{100 * gap:.1f} points" for gap in gaps))
    for one in record.user_groups:
        under = one.under(worst)
        shares_of = [one.accuracy(column) for column in (one.clean, *([] if under is None else [under]))]
        _add_user_groups(table, one, shares_of)
    console.print(table)


def _add_user_groups(table: Table, one: UserGroups, shares: list[list[float]]) -> None:
    """A line for each group by an attribute of users, with its accuracies `shares`, and one for the largest gaps."""
    sizes = one.table(one.pairs).sum(axis=0)
    enough = sizes >= LEAST_PAIRS
    for number, (label, pairs) in enumerate(zip(one.labels, sizes.tolist(), strict=True)):
        means = [f"{share[number]:.1%}" if enough[number] else "" for share in shares]
        table.add_row("" if number else one.name, escape(visible(label)), str(pairs), *means)
    if enough.sum() > 1:
        gaps = [np.ptp(np.array(share)[enough]) for share in shares]
        table.add_row("", "largest gap", "", *(f"{100 * gap:.1f} points" for gap in gaps))


def _print_cost(console: Console, record: RunRecord) -> None:
    cost = record.cost
    if cost is None:
        return
    several = f" on {cost.devices} devices" if cost.devices > 1 else ""
    ratio = f", {cost.seconds_ratio:.2f} x its undefended twin" if cost.seconds_ratio else ""
    flops = f" ({cost.flops_ratio:.2f} x)" if cost.flops_ratio else ""
    console.print(
        f"training        {seconds(cost.seconds)}{several}{ratio}; {size(cost.flops, 'FLOP')}{flops}; "
        f"{cost.forwards} forward and {cost.backwards} backward passes; "
        f"peak memory {size(cost.peak_memory_bytes, 'B')}",
        soft_wrap=True,
    )
    console.print(f"inference       {cost.inference_ms_per_1000:.3g} ms for 1,000 candidates of one user")

"""Flags of a row: what failed or is missing, with an explanation for the reader of the leaderboard."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from recgauntlet.core.card import RANKING_TIER
from recgauntlet.core.names import shown
from recgauntlet.records.references import PluginRef
from recgauntlet.records.schema import Gate, RunRecord

MIN_SEEDS = 3
POLICY_SURFACE = "candidate-text"
"""Where a defense may refuse inputs as such and report it as a policy."""
POLICY_CHECKS = frozenset({"edits-are-not-refused", "changes-count-as-elsewhere"})
"""Checks that tell a policy from robustness: where a policy is stated they are no fault."""


@dataclass(frozen=True)
class Flag:
    """A mark on a row: its `kind` (a slug), a short `title`, the `explanation`, and whether it keeps the row from being
    ranked."""

    kind: str
    title: str
    explanation: str
    blocks_rank: bool = True


def row_flags(
    finished: Sequence[RunRecord], lost: Sequence[int], doubled: Sequence[int], *, ranked: bool
) -> tuple[Flag, ...]:
    """The flags of a row with `finished` records, one a seed, failed seeds (`lost`) and seeds with several records
    (`doubled`). `ranked`: whether the row's table ranks; where it does not, few seeds block nothing."""
    flags = [*_first_pairs(finished, ranked), *_failed_gates(finished), *_missing_results(finished)]
    flags += _failed_attacks(finished)
    flags += _still_examples(finished)
    if finished and finished[0].defense.policy:
        flags.append(_policy(finished))
    if len(finished) < MIN_SEEDS:
        count = "one seed" if len(finished) == 1 else f"{len(finished)} seeds"
        ending = ", so it is not ranked" if ranked else ""
        text = f"Finished with {count} only. Its intervals leave out most of the variation between trainings{ending}."
        flags.append(Flag("few-seeds", "fewer than three seeds", text, ranked))
    if lost:
        text = "The row's numbers leave the failed trainings out; the errors are listed below the table."
        flags.append(Flag("failed-cells", f"{seed_list(lost)} failed", text, False))
    if doubled:
        text = "The finished record that was written last counts."
        flags.append(Flag("several-records", f"several records of {seed_list(doubled)}", text, False))
    refused = sum(a.violations for r in finished for t in r.threats for tier in t.tiers for a in tier.attacks)
    if refused:
        title = f"{refused:,} perturbed {'input' if refused == 1 else 'inputs'} refused"
        text = "An attack returned inputs outside its budget. The verifier refused them: they count as not broken."
        flags.append(Flag("refused-inputs", title, text, False))
    return tuple(flags)


def _first_pairs(records: Sequence[RunRecord], ranked: bool) -> Iterator[Flag]:
    first = records[0].first_pairs if records else None
    if first is not None:
        text = (
            f"Attacked on the first {first.pairs:,} of the task's {first.all_pairs:,} test pairs. Other rows are "
            f"compared with it on these pairs{'; it is not ranked with rows of all pairs' if ranked else ''}."
        )
        yield Flag("first-pairs", f"first {first.pairs:,} of {first.all_pairs:,} test pairs", text, ranked)


def other_source(*plugins: PluginRef) -> Flag:
    """The flag of a row whose `plugins` differ from those of another row by their source alone."""
    hashes = " and ".join(f"{ref.name} with source {ref.source[:12] or 'unknown'}" for ref in plugins)
    text = f"Records made by different source code are never averaged. This row is of {hashes}."
    return Flag("other-source", "one of several program versions", text, False)


def policy_threats(record: RunRecord) -> frozenset[str]:
    """The threats under which the record's defense has a policy; none where it states none."""
    return frozenset(t.id for t in record.threats if record.defense.policy and t.surface == POLICY_SURFACE)


def _policy(records: Sequence[RunRecord]) -> Flag:
    """The flag of a defense that refuses inputs as such."""
    threats = {threat.id: threat.ranked for threat in records[0].threats if threat.id in policy_threats(records[0])}
    text = (
        f"By its own statement the defense {records[0].defense.policy}. What it keeps under "
        f"{', '.join(sorted(threats)) or 'text threats'} is a policy, not robustness: it stands in the column Policy, "
        "beside what the policy does to harmless edits."
    )
    return Flag("policy", f"policy: {records[0].defense.policy}", text, any(threats.values()))


def _failed_gates(records: Iterable[RunRecord]) -> Iterator[Flag]:
    failed = defaultdict(list)
    for record in records:
        refusing = policy_threats(record)
        for gate in record.gates:
            if not gate.passed and not (gate.name in POLICY_CHECKS and gate.threat in refusing):
                failed[gate.name, gate.threat].append((record.seed, gate))
    for (name, threat), found in sorted(failed.items()):
        _, gate = found[0]
        values = f"Found {gate.value:.4g} against a limit of {gate.limit:.4g} ({seed_list(s for s, _ in found)})."
        title = f"failed check: {name}{f' under {threat}' if threat else ''}"
        yield Flag("failed-gate", title, f"{gate.explanation.rstrip('.')}. {values}{_examples(found)}")


def _still_examples(records: Iterable[RunRecord]) -> Iterator[Flag]:
    """Examples that a check lists though it passed: too few of them to be more than chance."""
    listed = defaultdict(list)
    for record in records:
        for gate in record.gates:
            if gate.passed and gate.examples:
                listed[gate.name, gate.threat].append((record.seed, gate))
    for (name, threat), found in sorted(listed.items()):
        text = f"Not more than chance allows by the check {name}.{_examples(found)}"
        yield Flag("still-examples", f"examples that never move under {threat}", text, False)


def _examples(found: Sequence[tuple[int, Gate]]) -> str:
    """The numbers of the test examples that a check lists, seed by seed."""
    lists = [f" Test examples of seed {seed}: {', '.join(map(str, g.examples))}." for seed, g in found if g.examples]
    return "".join(lists)


def _missing_results(records: Sequence[RunRecord]) -> Iterator[Flag]:
    """Ranked threats without a value at the medium tier, so that the worst case over them is not known."""
    ranked = {threat.id for record in records for threat in record.threats if threat.ranked}
    for name in sorted(ranked):
        found = [threat for record in records for threat in record.threats if threat.id == name]
        if any(not threat.applicable for threat in found):
            text = (
                f"The model does not read the surface {found[0].surface}. It cannot be attacked there, which is not "
                "the same as being robust, so it is not ranked with models that can."
            )
            yield Flag("not-applicable", f"does not read what {name} changes", text)
        elif any(record.tier(name, RANKING_TIER) is None for record in records):
            text = "Not every record was attacked at the medium tier of this ranked threat."
            yield Flag("missing-result", f"no result under {name}", text)
    if not ranked:
        yield Flag("missing-result", "no ranked threat", "No record was attacked under a ranked threat.")


def _failed_attacks(records: Iterable[RunRecord]) -> Iterator[Flag]:
    errors = defaultdict(list)
    for record in records:
        for threat in record.threats:
            for outcome in threat.tiers:
                for attack in outcome.attacks:
                    if attack.error:
                        errors[attack.name, threat.id].append((record.seed, outcome.tier, attack.error))
    for (name, threat_id), found in sorted(errors.items()):
        tiers = sorted({shown("tier", tier) for _, tier, _ in found})
        where = f"{seed_list(seed for seed, _, _ in found)}, tier {', '.join(tiers)}"
        text = f"{found[0][2].rstrip('.')} ({where}). A row that was attacked by less cannot be ranked with the others."
        yield Flag("failed-attack", f"the attack {name} failed under {threat_id}", text)


def seed_list(seeds: Iterable[int]) -> str:
    """The seeds as text: "seed 1", "seeds 0, 2"."""
    numbers = sorted(set(seeds))
    return f"{'seed' if len(numbers) == 1 else 'seeds'} {', '.join(map(str, numbers))}"

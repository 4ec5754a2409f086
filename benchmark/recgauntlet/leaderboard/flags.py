"""Flags of a row: what failed or is missing, with an explanation for readers of the board."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from recgauntlet.records.schema import RunRecord

MIN_SEEDS = 3


@dataclass(frozen=True)
class Flag:
    """A mark on a row: its `kind` (a slug), a short `title`, the `explanation`, and whether the row may be
    ranked."""

    kind: str
    title: str
    explanation: str
    blocks_rank: bool


def row_flags(
    finished: Sequence[RunRecord], lost: Sequence[int], doubled: Sequence[int], *, ranked: bool
) -> tuple[Flag, ...]:
    """The flags of a row: its `finished` records, one a seed, the seeds that were `lost` (failed) and those that have
    several records.

    `ranked` says whether the row's table ranks at all: where it does not, few seeds are only worth a note.
    """
    flags = [*_failed_gates(finished), *_unread_surfaces(finished), *_broken_attacks(finished)]
    if len(finished) < MIN_SEEDS:
        count = "one seed" if len(finished) == 1 else f"{len(finished)} seeds"
        flags.append(
            Flag(
                "few-seeds",
                "fewer than three seeds",
                f"Finished with {count} only. Its intervals leave out most of the variation between trainings"
                f"{', so it is not ranked' if ranked else ''}.",
                ranked,
            )
        )
    if lost:
        flags.append(
            Flag(
                "failed-cells",
                f"{seed_list(lost)} failed",
                "The row's numbers leave the failed trainings out; the errors are listed below the table.",
                False,
            )
        )
    if doubled:
        flags.append(
            Flag(
                "several-records",
                f"several records of {seed_list(doubled)}",
                "The finished record that was written last counts.",
                False,
            )
        )
    flags += _refused_inputs(finished)
    return tuple(flags)


def _failed_gates(records: Iterable[RunRecord]) -> list[Flag]:
    failed = defaultdict(list)
    for record in records:
        for gate in record.gates:
            if not gate.passed:
                failed[gate.name, gate.threat].append((record.seed, gate))
    flags = []
    for (name, threat), found in sorted(failed.items()):
        _, gate = found[0]
        where = f" under {threat}" if threat else ""
        flags.append(
            Flag(
                "failed-gate",
                f"failed check: {name}{where}",
                f"{gate.explanation.rstrip('.')}. Found {gate.value:.4g} against a limit of {gate.limit:.4g} "
                f"({seed_list(seed for seed, _ in found)}).",
                True,
            )
        )
    return flags


def _unread_surfaces(records: Sequence[RunRecord]) -> list[Flag]:
    """Ranked threats without a value at the standard tier: the worst case over them cannot be told."""
    ranked = {threat.id for record in records for threat in record.threats if threat.ranked}
    flags = []
    for name in sorted(ranked):
        found = [threat for record in records for threat in record.threats if threat.id == name]
        if any(not threat.applicable for threat in found):
            surface = found[0].surface
            flags.append(
                Flag(
                    "not-applicable",
                    f"does not read what {name} changes",
                    f"The model does not read the surface {surface}. It cannot be attacked there, which is not "
                    "the same as being robust, so it is not ranked with models that can.",
                    True,
                )
            )
        elif len(found) < len(records) or any(
            all(outcome.tier != "standard" for outcome in threat.tiers) for threat in found
        ):
            flags.append(
                Flag(
                    "missing-result",
                    f"no result under {name}",
                    "Not every record was attacked at the standard tier of this ranked threat.",
                    True,
                )
            )
    if not ranked:
        flags.append(Flag("missing-result", "no ranked threat", "No record was attacked under a ranked threat.", True))
    return flags


def _broken_attacks(records: Iterable[RunRecord]) -> list[Flag]:
    errors = defaultdict(list)
    for record in records:
        for threat in record.threats:
            for outcome in threat.tiers:
                for attack in outcome.attacks:
                    if attack.error:
                        errors[attack.name, threat.id].append((record.seed, outcome.tier, attack.error))
    return [
        Flag(
            "failed-attack",
            f"the attack {name} failed under {threat}",
            f"{found[0][2].rstrip('.')} ({seed_list(seed for seed, _, _ in found)}, tier "
            f"{', '.join(sorted({tier for _, tier, _ in found}))}). "
            "A row that was attacked by less cannot be ranked with the others.",
            True,
        )
        for (name, threat), found in sorted(errors.items())
    ]


def _refused_inputs(records: Iterable[RunRecord]) -> list[Flag]:
    refused = sum(
        attack.violations
        for record in records
        for threat in record.threats
        for outcome in threat.tiers
        for attack in outcome.attacks
    )
    if not refused:
        return []
    return [
        Flag(
            "refused-inputs",
            f"{refused:,} perturbed {'input' if refused == 1 else 'inputs'} refused",
            "An attack returned inputs outside its budget. The verifier refused them: they count as not broken.",
            False,
        )
    ]


def seed_list(seeds: Iterable[int]) -> str:
    """The seeds as text: "seed 1", "seeds 0, 2"."""
    numbers = sorted(set(seeds))
    return f"{'seed' if len(numbers) == 1 else 'seeds'} {', '.join(map(str, numbers))}"

"""Flags of a row's poisoning: what keeps it from a rank by poisoning, and what was refused."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from recgauntlet.core.names import shown
from recgauntlet.leaderboard.flags import MIN_SEEDS, Flag, seed_list
from recgauntlet.records.poisoning import TrainingDataOutcome
from recgauntlet.records.schema import Gate, RunRecord


def poisoning_flags(records: Sequence[RunRecord], outcomes: Sequence[TrainingDataOutcome]) -> tuple[Flag, ...]:
    """The flags of a row under one threat to its training data, for one outcome a record."""
    if any(one.reason for one in outcomes):
        return ()
    flags: list[Flag] = []
    if any(one.chosen is not None for one in outcomes):
        text = "The attacks were named by hand (--poison-attacks), so the row has no rank by poisoning."
        flags.append(Flag("chosen-attacks", "attacks on training data chosen by hand", text))
    if len(records) < MIN_SEEDS:
        count = "one seed" if len(records) == 1 else f"{len(records)} seeds"
        text = f"Trained on poisoned data with {count} only, so it has no rank by poisoning."
        flags.append(Flag("few-seeds", "poisoned with fewer than three seeds", text))
    failed: dict[str, list[tuple[int, Gate]]] = defaultdict(list)
    for record, outcome in zip(records, outcomes, strict=True):
        of_model = [gate for gate in record.gates if not gate.threat]  # a faulty model is faulty here too
        for gate in (*of_model, *outcome.checks):
            if not gate.passed:
                failed[gate.name].append((record.seed, gate))
    for name, found in sorted(failed.items()):
        gate = found[0][1]
        values = f"Found {gate.value:.4g} against a limit of {gate.limit:.4g} ({seed_list(seed for seed, _ in found)})."
        text = f"{gate.explanation.rstrip('.')}. {values}"
        flags.append(Flag("failed-gate", f"failed check of poisoning: {name}", text))
    refused = {(o.attack, o.tier): o.faults[0] for outcome in outcomes for o in outcome.trainings if o.faults}
    for (attack, tier), fault in sorted(refused.items()):
        title = f"refused poison table: {attack}, {shown('tier', tier)} tier"
        text = f"The verifier refused the table, which counts as no poison: {fault}."
        flags.append(Flag("refused-poison", title, text, False))
    return tuple(flags)

"""What becomes of weights over windows of time, with and without retraining: docs/reference/drift.json.

    python tools/drift_table.py TASK --model M [--defense D] --out OUT [--dir DATA] [--fake-orders A,...]

A model is trained on the first half of a task's clicks. Each further tenth is a window: on the time behind it three
weights are attacked at the medium tier: those that were never trained again, those of the window before, and those that
`recgauntlet.runner.retraining` trains on the window. With --fake-orders the last window is also trained on with fake
accounts in it, one attack at a time, as the medium tier of the threat to training data allows them. OUT keeps the
weights; rows of the same task, model and defense in the file are replaced.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from recgauntlet.attacks.poisoning.tables import threat_of
from recgauntlet.core.card import RANKING_TIER
from recgauntlet.core.files import cache_root, write_atomically
from recgauntlet.core.spec import CellSpec
from recgauntlet.core.task import SourceOptions, Task
from recgauntlet.data import cache as store
from recgauntlet.data.custom import find_task_or_card
from recgauntlet.data.prepare import prepare, ready
from recgauntlet.data.windows import next_window, windowed
from recgauntlet.evaluation.gauntlet import GauntletResult
from recgauntlet.runner.poison_measure import outcome_of
from recgauntlet.runner.poison_plugins import find_attacks
from recgauntlet.runner.poisoned_files import PoisonedFiles
from recgauntlet.runner.record import Machine
from recgauntlet.runner.retraining import Change, Retraining, Step, changes, newly_failed
from recgauntlet.runner.trained import Setup
from recgauntlet.training.build import checkpoint_info, open_cell, train_cell
from recgauntlet.training.checkpoint import save_checkpoint, weights_hash

FILE = Path(__file__).resolve().parents[1] / "docs" / "reference" / "drift.json"
SHARES = (0.5, 0.6, 0.7, 0.8, 0.9)
"""Where windows end, as shares of the clicks in order of time; the first ends the first training."""


def dates(task: Task, source: SourceOptions) -> list[str]:
    """The first click, and the ends of the windows."""
    tables = task.load(task.card, "standard", source)
    rows = tables.interactions if tables.interactions is not None else tables.impressions
    assert rows is not None
    times = np.sort(rows["time"].to_numpy())
    chosen = [times[0], *(times[int(share * len(times))] for share in SHARES)]
    return [datetime.fromtimestamp(int(second), UTC).isoformat() for second in chosen]


def first_training(task: Task, spec: CellSpec, begin: str, until: str, path: Path) -> None:
    """Train the cell on all clicks before `until`, and write its weights."""
    window = next_window(task.card, spec.track, task.load(task.card, spec.track, spec.source), until, begin)
    cell = open_cell(spec, windowed(task, spec.track, window))
    data, machine = prepare(cell.task, spec.track, spec.source), Machine.of(spec, cell.model)
    model, outcome = train_cell(cell, data, machine.device, machine.precision, _say)
    info = checkpoint_info(cell, outcome, data, model.recipe, machine.environment)
    save_checkpoint(model, info.model_copy(update={"window": window}), path)


def found(result: GauntletResult) -> dict[str, float]:
    """The share of right answers, clean and under each threat at the medium tier, in per cent."""
    kept = {
        threat.threat.id: float(tier.robust.mean())
        for threat in result.threats
        for tier in threat.tiers
        if tier.tier == RANKING_TIER
    }
    return {
        name: round(100 * share, 1)
        for name, share in {"clean": float(result.trial.right.float().mean()), **kept}.items()
    }


def changed(lines: tuple[Change, ...]) -> dict[str, list[float]]:
    """The difference and its interval, in points."""
    return {
        line.threat or "clean": [round(100 * number, 1) for number in vars(line.difference).values()] for line in lines
    }


def row(step: Step, frozen: Path, old: Path, pairs: int, new: Path) -> tuple[dict[str, Any], GauntletResult]:
    """The three weights on the time behind one window; the new ones are written to `new`."""
    never = step.attacked(step.model(frozen), pairs, _say)
    before = never if old == frozen else step.attacked(step.model(), pairs, _say)
    model, outcome = step.trained(progress=_say)
    after = step.attacked(model, pairs, _say)
    newly = newly_failed(before.gates, after.gates)
    lines = changes(before, after)
    retraining = Retraining(step.window, lines, newly, len(outcome.epochs), model, step.info(model, outcome))
    retraining.save(new)
    line = {
        "until": step.window.until[:10],
        "days": (datetime.fromisoformat(step.window.until) - datetime.fromisoformat(step.window.begin)).days,
        "train_pairs": step.window.train_pairs,
        "test_pairs": len(before.trial.right) // 2,
        "never": found(never),
        "before": found(before),
        "after": found(after),
        "change": changed(lines),
        "refused": list(retraining.worse(0.02)),
    }
    return line, after


def with_fake_orders(step: Step, attack: str, clean: GauntletResult, pairs: int) -> dict[str, Any]:
    """The window trained on with the accounts of `attack` in it, beside the weights trained on it as it is."""
    cell, source, track = step.cell, step.cell.spec.source, step.cell.spec.track
    card = cell.task.card
    threat = threat_of(card, None)
    files = PoisonedFiles.of(card, track, threat, ready(cell.task, track, source), source.cache)
    files.ready(cell.task, track, source, find_attacks(threat, (attack,), ()))
    file = files.file(attack, RANKING_TIER)
    data = store.load(files.path(file))
    assert data is not None
    line: dict[str, Any] = {"attack": attack, "accounts": len(file.fakes)}
    for name, pairs_of in (("genuine", None), ("poisoned", data.train)):
        again = step if pairs_of is None else replace(step, data=data)
        model, outcome = again.trained(progress=_say)
        served = cell.defense_object.wrap(model.eval())
        measured = outcome_of(served, step.data, files, step.info(model, outcome), weights_hash(model))
        line[f"pairs_{name}"] = round(100 * float(measured.right.to_bool().mean()), 1)
        if pairs_of is not None:
            after = step.attacked(model, pairs, _say)
            line |= {"after": found(after), "change": changed(changes(clean, after))}
    return line


def _say(what: str, share: float) -> None:
    sys.stderr.write(f"\r\033[K{share:4.0%} {what}")


def main() -> None:
    """Run the windows of one cell and write its rows."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("task")
    parser.add_argument("--model", required=True)
    parser.add_argument("--defense", default="none")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--dir", type=Path, help="your own copy of the data")
    parser.add_argument("--pairs", type=int, default=250)
    parser.add_argument("--fake-orders", default="", help="attacks on training data for the last window")
    args = parser.parse_args()
    source = SourceOptions(args.dir, cache_root())
    task = find_task_or_card(args.task)
    spec = CellSpec(args.task, "standard", args.model, args.defense, 0, args.out, source, device="cpu")
    begin, first, *ends = dates(task, source)
    args.out.mkdir(parents=True, exist_ok=True)
    frozen = args.out / f"{args.task}-{args.model}-{args.defense}-0.safetensors"
    if not frozen.exists():
        first_training(task, spec, begin, first, frozen)
    setup, old, rows, fakes = Setup(lambda name: source, args.task, "cpu"), frozen, [], []
    for number, until in enumerate(ends, start=1):
        step = Step.open(old, setup, until, _say)
        new = args.out / f"{args.task}-{args.model}-{args.defense}-{number}.safetensors"
        line, after = row(step, frozen, old, args.pairs, new)
        print(json.dumps(line), flush=True)
        rows.append(line)
        if until == ends[-1]:
            fakes = [
                with_fake_orders(step, attack, after, args.pairs) for attack in args.fake_orders.split(",") if attack
            ]
        old = new
    key = {"task": args.task, "model": args.model, "defense": args.defense}
    kept = json.loads(FILE.read_text()) if FILE.exists() else []
    kept = [entry for entry in kept if {name: entry[name] for name in key} != key]
    content = [*kept, {**key, "seed": 0, "windows": rows, "fake_orders": fakes}]
    write_atomically(FILE, (json.dumps(content, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()

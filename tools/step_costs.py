"""What a training step costs under each defense, beside plain training: docs/reference/steps.json.

    python tools/step_costs.py --model bert,gpt [--task video-watch] [--pairs 1280] [--precision bf16] [--dir DATA]

Each defense trains one epoch, forty steps, on the first training pairs, one after the other in one process. FLOPs are
those of torch's counter, as in records; processor seconds hold for one thread of this machine. Rows of the same task,
model and precision in the file are replaced.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from recgauntlet.core.errors import RecGauntletError
from recgauntlet.core.files import cache_root, write_atomically
from recgauntlet.core.names import stored
from recgauntlet.core.rng import Randomness
from recgauntlet.core.spec import TWIN, CellSpec
from recgauntlet.core.task import SourceOptions
from recgauntlet.data.prepare import prepare
from recgauntlet.training.build import open_cell, untrained
from recgauntlet.training.trainer import Trained
from recgauntlet.training.trainer import train as train_model

FILE = Path(__file__).resolve().parents[1] / "docs" / "reference" / "steps.json"
DEFENSES = (
    TWIN,
    "fgm",
    "pgd",
    "freelb",
    "free",
    "gradient-scaling",
    "layer-wise",
    "intensity-control",
    "trades",
    "smart",
    "vat",
    "discrete",
)
VALIDATED = 32
"""Pairs that close the epoch; they are not counted."""


def one_epoch(
    spec: CellSpec, precision: str, train: int, valid: int | None, *, learning_rate: float = 0.0
) -> tuple[float, Trained]:
    """Processor seconds of one epoch on the first `train` pairs, closed by the first `valid` ones (None: all), and what
    came of it; `learning_rate` takes the place of the recipe's."""
    cell = open_cell(spec)
    data = prepare(cell.task, spec.track, spec.source)
    data = replace(data, train=data.train.select(slice(0, train)), valid=data.valid.select(slice(0, valid)))
    model = untrained(cell, data, torch.device("cpu"))
    rate = learning_rate or model.recipe.learning_rate
    model.recipe = replace(model.recipe, epochs=1, learning_rate=rate)
    rng, begun = Randomness(spec.seed, "training"), time.process_time()
    trained = train_model(model, cell.defense_object, data, rng, precision=precision)
    return time.process_time() - begun, trained


def step_cost(spec: CellSpec, pairs: int, precision: str) -> dict[str, Any]:
    """Seconds and FLOPs of a step of the cell's training on its first `pairs`."""
    seconds, trained = one_epoch(spec, precision, pairs, VALIDATED)
    return {"seconds": seconds / trained.steps, "flops": trained.flops / trained.steps, "steps": trained.steps}


def keep_rows(path: Path, about: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    """Put `rows` into a file of rows, in place of those that agree with `about`."""
    kept = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    kept = [row for row in kept if {name: row[name] for name in about} != about]
    write_atomically(path, (json.dumps([*kept, *rows], indent=1) + "\n").encode())


def main() -> None:
    """Run the defenses that the arguments name, and write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", default="video-watch")
    parser.add_argument("--model", default="bert,gpt")
    parser.add_argument("--defense", default=",".join(DEFENSES), help="the undefended training goes first in any case")
    parser.add_argument("--pairs", type=int, default=1280)
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="bf16")
    parser.add_argument("--dir", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    source = SourceOptions(given.dir, cache_root(), offline=True, accept_licence=True)
    defenses = list(dict.fromkeys([TWIN, *(stored("defense", name) for name in given.defense.split(","))]))
    for model in given.model.split(","):
        about = {"task": given.task, "model": model, "precision": given.precision}
        rows: list[dict[str, Any]] = []
        for defense in defenses:
            spec = CellSpec(given.task, "standard", model, defense, 0, Path("step-costs"), source, device="cpu")
            try:
                cost = step_cost(spec, given.pairs, given.precision)
            except RecGauntletError as error:
                print(f"{model} {defense}: {error}")
                continue
            plain = rows[0] if rows else cost
            ratios = {f"{name}_ratio": cost[name] / plain[name] for name in ("seconds", "flops")}
            rows.append({**about, "defense": defense, **cost, **ratios})
            print(f"{model} {defense}: {ratios}", flush=True)
        keep_rows(FILE, about, rows)


if __name__ == "__main__":
    main()

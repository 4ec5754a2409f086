"""What a training step costs under each defense, beside plain training: docs/reference/steps.json.

    python tools/step_costs.py --model bert,gpt [--task video-watch] [--steps 40] [--dir DATA]
    python tools/step_costs.py --model nrms --task video-watch --defense all --steps 8 --rounds 3 --precision fp32

Each defense trains one short epoch on the first training pairs, in one process and beside plain training: round by
round, first one and then the other. FLOPs are those of torch's counter, as in records; processor seconds are those of
one thread of this machine, their ratio the median of the rounds' own. Rows of the same task, model, precision and
defense in the file are replaced; the file is written after every defense.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import torch

from recgauntlet.core.errors import RecGauntletError
from recgauntlet.core.files import cache_root, write_atomically
from recgauntlet.core.names import stored
from recgauntlet.core.plugins import names
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
    """Processor seconds of a step after the first, in one epoch on the first `train` pairs that is closed by the first
    `valid` ones (None: all), and what came of it; `learning_rate` takes the place of the recipe's.

    The first step is left out: some defenses read the whole catalog in it, once for all of a training.
    """
    cell = open_cell(spec)
    data = prepare(cell.task, spec.track, spec.source)
    data = replace(data, train=data.train.select(slice(0, train)), valid=data.valid.select(slice(0, valid)))
    model = untrained(cell, data, torch.device("cpu"))
    rate = learning_rate or model.recipe.learning_rate
    model.recipe = replace(model.recipe, epochs=1, least_steps=1, learning_rate=rate)
    ends: list[float] = []
    trained = train_model(
        model,
        cell.defense_object,
        data,
        Randomness(spec.seed, "training"),
        precision=precision,
        progress=lambda what, share: ends.append(time.process_time()),
    )
    return (ends[-1] - ends[0]) / (len(ends) - 1), trained


def step_cost(spec: CellSpec, steps: int, precision: str) -> dict[str, float]:
    """Processor seconds and FLOPs of a step, over the first `steps` ones of the cell's training, at least 2."""
    pairs = steps * open_cell(spec).model.value.recipe.batch_size
    seconds, trained = one_epoch(spec, precision, pairs, VALIDATED)
    return {"seconds": seconds, "flops": trained.flops / trained.steps, "steps": trained.steps}


def beside_plain(spec: CellSpec, steps: int, rounds: int, precision: str) -> dict[str, float]:
    """A step of the cell's training, and its ratios to one of plain training."""
    found = [(step_cost(spec.twin(), steps, precision), step_cost(spec, steps, precision)) for _ in range(rounds)]
    seconds = median([own["seconds"] for _, own in found])
    slower = median([own["seconds"] / before["seconds"] for before, own in found])
    before, own = found[0]
    ratios = {"seconds_ratio": slower, "flops_ratio": own["flops"] / before["flops"]}
    return {**own, "seconds": seconds, "rounds": rounds, **ratios}


def keep_rows(path: Path, about: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    """Put `rows` into a file of rows, in place of those that agree with `about`."""
    kept = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    kept = [row for row in kept if {name: row[name] for name in about} != about]
    write_atomically(path, (json.dumps([*kept, *rows], indent=1) + "\n").encode())


def main() -> None:
    """Measure the defenses that the arguments name, and write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", default="video-watch")
    parser.add_argument("--model", default="bert,gpt")
    parser.add_argument("--defense", default=",".join(DEFENSES), help="names, or all that are installed")
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="bf16")
    parser.add_argument("--dir", type=Path)
    given = parser.parse_args()
    if given.steps < 2:
        parser.error("--steps: at least 2, since the first is left out")
    torch.set_num_threads(1)
    source = SourceOptions(given.dir, cache_root(), offline=True, accept_licence=True)
    chosen = names("defenses") if given.defense == "all" else given.defense.split(",")
    for model in given.model.split(","):
        for defense in dict.fromkeys(stored("defense", name) for name in chosen):
            spec = CellSpec(given.task, "standard", model, defense, 0, Path("step-costs"), source, device="cpu")
            about = {"task": given.task, "model": model, "precision": given.precision, "defense": defense}
            try:
                found = beside_plain(spec, given.steps, given.rounds, given.precision)
            except RecGauntletError as error:
                print(f"{model} {defense}: {error}")
                continue
            keep_rows(FILE, about, [{**about, **found}])
            print(f"{model} {defense}: {found}", flush=True)


if __name__ == "__main__":
    main()

"""What models under defenses keep of a task's attacks on training data: docs/reference/poisoning.json.

    python tools/poisoning_matrix.py TASK --out OUT [--dir DATA] [--models M,...] [--defenses D,...] [--seed 0]

Does what `recgauntlet poison run TASK --model M --defense D --attacks (the card's) --out OUT` does for each model and
defense, at the medium tier: minutes each. OUT keeps every training, also of that command, so that the same command goes
on where it stopped. Rows of the task that are in the file already are replaced one by one.
"""

from __future__ import annotations

import argparse
import json
import sys
from itertools import product
from pathlib import Path
from typing import Any

from recgauntlet.attacks.poisoning.tables import threat_of
from recgauntlet.core.errors import PluginError
from recgauntlet.core.files import cache_root, write_atomically
from recgauntlet.core.names import stored
from recgauntlet.core.spec import CellSpec
from recgauntlet.core.task import SourceOptions
from recgauntlet.data.custom import find_task_or_card
from recgauntlet.leaderboard.poisoning import summary
from recgauntlet.metrics.bootstrap import Estimate
from recgauntlet.records.poisoning import TrainingDataOutcome
from recgauntlet.runner.poison_look import look
from recgauntlet.training.build import open_cell

FILE = Path(__file__).resolve().parents[1] / "docs" / "reference" / "poisoning.json"
MODELS = "most-popular,item-knn,bpr-mf,lightgcn,din,sasrec,bert4rec"
DEFENSES = "none,apr,loss-truncation,pca-varselect,suspicious-users,trimmed-raters,vulnerability-aware"


def row_of(spec: CellSpec, found: TrainingDataOutcome) -> dict[str, Any]:
    """A row of the file. Win rate and ER@50 are of the first set of targets, under the training that lifts it most."""
    own = summary([found])
    medium, worst = own.at(), own.worst
    assert found.clean is not None
    assert own.clean is not None
    assert medium is not None
    assert worst is not None
    targets, _, er50, win = own.exposure[0]
    lifted = max(own.trainings, key=lambda one: one.sets[0].win_rate.value.value)
    return {
        "task": spec.task_id,
        "threat": own.threat,
        "model": spec.model,
        "defense": spec.defense,
        "seeds": [spec.seed],
        "hyperparameters": open_cell(spec).refs[1].hyperparameters,
        "attacks": list(own.attacks),
        "suite": own.suite,
        "targets": targets,
        "accuracy": _rounded(float(found.clean.right.to_bool().mean())),
        "pairs_clean": _interval(own.clean),
        "pairs_robust": _interval(medium.robust),
        "worst": worst.attack,
        "win_clean": _rounded(win.value),
        "win_worst": _rounded(lifted.sets[0].win_rate.value.value),
        "er50_clean": _rounded(er50.value),
        "er50_worst": _rounded(max(one.sets[0].exposure50.value.value for one in own.trainings)),
        "ndcg10_change": _rounded(min(one.ndcg10.uplift.value for one in own.trainings)),
        "filtered": [
            {"attack": one.attack, **{name: _rounded(value) for name, value in vars(one.filtered).items()}}
            for one in own.trainings
            if one.filtered is not None
        ],
    }


def _interval(estimate: Estimate) -> list[float]:
    return [_rounded(value) for value in (estimate.value, estimate.low, estimate.high)]


def _rounded(value: float | None) -> Any:
    return None if value is None else round(value, 4)


def keep(row: dict[str, Any]) -> None:
    """Put a row into the file, in place of the one of the same cell."""
    key = ("task", "threat", "model", "defense")
    rows = [own for own in json.loads(FILE.read_text("utf-8")) if [own[k] for k in key] != [row[k] for k in key]]
    order = MODELS.split(",")

    def place(own: dict[str, Any]) -> tuple[Any, ...]:
        at = order.index(own["model"]) if own["model"] in order else len(order)
        return own["task"], own["threat"], at, own["model"], own["defense"] != "standard", own["defense"]

    rows = sorted([*rows, row], key=place)
    write_atomically(FILE, (json.dumps(rows, indent=1) + "\n").encode())


def main(arguments: list[str] | None = None) -> int:
    """The command; 1 where a cell could not be run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task")
    parser.add_argument("--track", choices=["standard", "demo"], default="standard")
    parser.add_argument("--threat", help="the card's first by default")
    parser.add_argument("--dir", type=Path, help="where you keep the task's own data files")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--models", default=MODELS)
    parser.add_argument("--defenses", default=DEFENSES)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    threat = threat_of(find_task_or_card(given.task).card, given.threat)
    source, failed = SourceOptions(given.dir, cache_root()), 0
    for model, defense in product(given.models.split(","), given.defenses.split(",")):
        spec = CellSpec(given.task, given.track, model, stored("defense", defense), given.seed, given.out, source)
        try:
            keep(row_of(spec, look(spec, threat, threat.attacks, "standard", lambda what, share: None)))
            print(f"{model} {defense}", flush=True)
        except PluginError as error:
            failed += 1
            print(f"{model} {defense}: {error}", file=sys.stderr, flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

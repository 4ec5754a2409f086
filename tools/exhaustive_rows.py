"""Search trained rows exhaustively beside the suite: docs/reference/exhaustive-rows.json.

    python tools/exhaustive_rows.py results/mine/checkpoints/*/standard/nrms-discrete-0.safetensors --dir TASK=PATH

A row keeps too much where the suite misses legal inputs. So its weights are attacked by the suite, with the queries of
the medium tier, and by a search that scores every input which the verifier accepts, under the task's ranked threats to
texts and histories, on the first test examples that may be attacked. One edit is exact; two go on from the most
damaging inputs of one. Rows of the same weights, threat and number of edits in the file are replaced; the file is
written after every weights. Weights lie below --out of `recgauntlet run`.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

import torch
from step_costs import keep_rows

from recgauntlet.core.errors import RecGauntletError
from recgauntlet.core.files import cache_root
from recgauntlet.core.rng import Randomness
from recgauntlet.core.task import SourceOptions
from recgauntlet.evaluation.exhaustive import exhaustive_gaps
from recgauntlet.evaluation.setup import Trial
from recgauntlet.runner.trained import Setup, load_cell
from recgauntlet.threats.knowledge import AttackerKnowledge

FILE = Path(__file__).resolve().parents[1] / "docs" / "reference" / "exhaustive-rows.json"


def search(weights: Path, setup: Setup, examples: int, edits: tuple[int, ...]) -> None:
    """Search one row's weights, and write what was found."""
    loaded = load_cell(weights, setup)
    card, model = loaded.cell.task.card, loaded.served.eval().requires_grad_(False)
    trial = Trial.of(model, loaded.data, AttackerKnowledge.of(card, loaded.data))
    about = {
        "task": card.id,
        "version": card.version,
        "model": loaded.info.model,
        "defense": loaded.info.defense,
        "seed": loaded.info.seed,
        "weights": loaded.weights,
    }
    for threat in (threat for threat in card.threats if threat.ranked and threat.surface in model.surfaces):
        for gap in exhaustive_gaps(trial, threat, Randomness(0, "exhaustive rows"), sample=examples, edits=edits):
            found = {name: value for name, value in asdict(gap).items() if name != "seconds"}
            keep_rows(FILE, {**about, "threat": gap.threat, "edits": gap.edits}, [{**about, **found}])
            print(json.dumps({**about, **found}), flush=True)


def directory(words: str) -> tuple[str, Path]:
    """A task and where its data lies; ArgumentTypeError where that is no directory."""
    task, _, path = words.partition("=")
    if not Path(path).is_dir() or not path:
        raise argparse.ArgumentTypeError(f"{words!r} is no TASK=PATH of a directory")
    return task, Path(path)


def main() -> int:
    """Search the rows that the arguments name; 2 where one could not be read, which stops no other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path, nargs="+", help="files of trained weights")
    parser.add_argument("--examples", type=int, default=100)
    parser.add_argument("--edits", type=int, nargs="+", choices=[1, 2], default=[1])
    parser.add_argument(
        "--dir", type=directory, action="append", default=[], metavar="TASK=PATH", help="where a task's data lies"
    )
    given = parser.parse_args()
    torch.set_num_threads(1)
    directories, code = dict(given.dir), 0

    def sources(task: str) -> SourceOptions:
        return SourceOptions(directories.get(task), cache_root(), offline=True, accept_licence=True)

    for weights in given.weights:
        try:
            search(weights, Setup(sources, device="cpu"), given.examples, tuple(given.edits))
        except RecGauntletError as error:
            print(f"{weights}: {error}", file=sys.stderr)
            code = 2
    return code


if __name__ == "__main__":
    sys.exit(main())

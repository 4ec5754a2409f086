"""Two effects of the literature, run by `recgauntlet run` and read from its records.

    python tools/reproduce_effects.py --out OUT [--pairs 250] [--seeds 0]    writes docs/reference/effects.json (hours)

- Adversarial training of BPR-MF (APR, He et al. 2018): ranking quality on clean lists.
- Substituted history items on SASRec (Yue et al. 2022): nDCG@10 on clean lists and on lists after the attack, for
  plain training and for defenses.

OUT keeps records and weights: the same command goes on where it stopped, and writes what is finished. The cache
(RECGAUNTLET_CACHE) must hold the task's data.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from recgauntlet.core.files import write_atomically
from recgauntlet.core.names import stored
from recgauntlet.leaderboard.build import build_table
from recgauntlet.leaderboard.decoded import DecodedRecord
from recgauntlet.leaderboard.schema import Row, TaskTable
from recgauntlet.metrics.bootstrap import Floats, estimates, resampled_means
from recgauntlet.records.io import read_records
from recgauntlet.records.schema import RunRecord

FILE = Path(__file__).resolve().parents[1] / "docs" / "reference" / "effects.json"
RANKED, ATTACKED = "bpr-mf", "sasrec"
DEFENSES = {RANKED: ("none", "apr"), ATTACKED: ("none", "dirichlet-neighborhood", "mixed-items", "discrete")}
THREAT = "history-perturbation"


def commands(given: argparse.Namespace) -> list[list[str]]:
    """The runs: all test pairs of BPR-MF, and the first `given.pairs` of SASRec, which attacks take longer."""
    common = ["--task", given.task, "--track", given.track, "--seeds", given.seeds, "--out", str(given.out)]
    first = ["--test-pairs", str(given.pairs)] if given.pairs else []
    one = ["--workers", "1", "--threads", "1", "--offline"]
    return [
        ["run", "--model", model, "--defense", ",".join(DEFENSES[model]), *common, *one, *more, *options(given, model)]
        for model, more in ((ATTACKED, first), (RANKED, []))
    ]


def options(given: argparse.Namespace, model: str) -> list[str]:
    """The model's options among those that were given."""
    own = [option for option in given.model_option if option.startswith(f"{model}.")]
    return [word for option in own for word in ("--model-option", option)]


def effects(records: Sequence[RunRecord], threat: str) -> dict[str, Any]:
    """The rows of both effects, as far as there are finished records: plain training first."""
    (table,) = build_table(records)
    shared = {"task": table.task, "version": table.version, "track": table.track, "threat": threat}
    compared = rows_of(table, RANKED)
    ranked = [ranking(row, next(own for own in compared if own.defense.name == "standard")) for row in compared]
    attacked = [found for row in rows_of(table, ATTACKED) if (found := substitution(row, threat)) is not None]
    return {**shared, "ranking": ranked, "substitution": attacked}


def rows_of(table: TaskTable, model: str) -> list[Row]:
    """The rows of `model` in the order of `DEFENSES`."""
    order = [stored("defense", name) for name in DEFENSES[model]]
    rows = [row for row in table.rows if row.model.name == model and row.defense.name in order]
    return sorted(rows, key=lambda row: order.index(row.defense.name))


def ranking(row: Row, twin: Row) -> dict[str, Any]:
    """Clean ranking quality of a row, and how far it is from that of plain training on the common seeds, with intervals
    over seeds and lists."""
    own, plain = each_list(row), each_list(twin)
    seeds = sorted(own.keys() & plain.keys())
    gains = np.stack([own[seed] - plain[seed] for seed in seeds])
    ndcg, auc = estimates(gains.mean(axis=(0, 1)).tolist(), resampled_means(gains))
    return {
        "defense": row.defense.name,
        "options": dict(row.defense.hyperparameters),
        "seeds": seeds,
        "lists": gains.shape[1],
        "ndcg10": row.quality.ndcg10,
        "auc": row.quality.impression_auc,
        "ndcg10_gain": asdict(ndcg),
        "auc_gain": asdict(auc),
    }


def each_list(row: Row) -> dict[int, Floats]:
    """By seed `[I, 2]`: nDCG@10 and AUC of each clean list."""
    decoded = [DecodedRecord(record) for record in row.records]
    return {own.record.seed: np.stack([own.ndcg10, own.ranked.auc_each()], axis=1) for own in decoded}


def substitution(row: Row, threat: str) -> dict[str, Any] | None:
    """What the attack leaves of a row, in nDCG@10 and in right answers; None where its lists were not attacked."""
    cells, cell = row.under(threat), row.at(threat)
    if cells is None or cell is None or cells.ranking is None:
        return None
    lists = cells.ranking
    return {
        "defense": row.defense.name,
        "options": dict(row.defense.hyperparameters),
        "seeds": list(row.seeds),
        "lists": lists.impressions,
        "ndcg10_before": asdict(lists.ndcg10_before),
        "ndcg10_after": asdict(lists.ndcg10_after),
        "clean_accuracy": asdict(row.clean),
        "robust_accuracy": asdict(cell.robust),
        "failed_checks": failed_checks(row, threat),
    }


def failed_checks(row: Row, threat: str) -> list[str]:
    """The sanity checks of the model, and of its measurement under `threat`, that failed in some seed."""
    gates = [gate for record in row.records for gate in record.gates]
    return sorted({gate.name for gate in gates if not gate.passed and gate.threat in ("", threat)})


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="where records and weights go")
    parser.add_argument("--to", type=Path, default=FILE, help="the file that is written")
    parser.add_argument("--task", default="video-watch", help="a task, or the path of a card")
    parser.add_argument("--track", default="standard")
    parser.add_argument("--threat", default=THREAT, help="the threat to histories")
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--pairs", type=int, default=250, help="test pairs of SASRec that are attacked; 0: all")
    parser.add_argument("--model-option", action="append", default=[], help="MODEL.NAME=VALUE")
    parser.add_argument("--no-run", action="store_true", help="read what is in OUT")
    given = parser.parse_args(arguments)
    failed = 0
    for command in [] if given.no_run else commands(given):
        failed = max(failed, subprocess.run([sys.executable, "-m", "recgauntlet", *command], check=False).returncode)
    found = effects(list(read_records(given.out)), given.threat)
    write_atomically(given.to, json.dumps(found, indent=1).encode() + b"\n")
    return failed


if __name__ == "__main__":
    sys.exit(main())

"""The cells of the season's release in the order in which they are run, with an estimate first.

    python tools/season.py --dry-run
    python tools/season.py --part 1,2 --out results/season --dir news-click=DATA --dir music-listen=DATA

A part is a list of `recgauntlet run`s, for a recommender and a task each: what is finished is skipped, so the same
command goes on where it stopped. A cell is run either with attacks on training data or without, in one part alone.
Security curves are drawn for seed 0. A cell is estimated by the mean of the
finished cells in --out and in results/ of the same recommender and task.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from statistics import mean

from recgauntlet.core.names import shown
from recgauntlet.core.plugins import names
from recgauntlet.core.spec import TWIN
from recgauntlet.records.io import read_outlines
from recgauntlet_site.families import DEFENSES

ROOT = Path(__file__).resolve().parents[1]
TASKS = ("ecommerce-purchase", "news-click", "video-watch", "music-listen")
POISONED = ("ecommerce-purchase", "music-listen")
"""Tasks with a ranked threat to training data."""
FITTED = ("bpr-mf", "lightgcn", "sasrec")
OTHERS = ("item-knn", "partitioned-knn", "din", "bert4rec")
"""Recommenders that learn from interactions alone and read histories."""
MAIN = (TWIN, "discrete", "pgd")
ON_INPUTS = tuple(dict.fromkeys([*MAIN, *(name for name in names("defenses") if name not in DEFENSES["data side"])]))
AGAINST_POISON = (TWIN, "pgd", "apr", "vulnerability-aware", "history-purifier", *DEFENSES["data side"])
NONE = ("--poison-attacks", "none")
LARGE = ("--test-pairs", "250", "--precision", "bf16", *NONE)
"""For recommenders that are too slow for all test pairs; such rows are not ranked."""


@dataclass(frozen=True)
class Group:
    """Cells of some recommenders under some defenses on some tasks, with options of `recgauntlet run`."""

    models: tuple[str, ...]
    tasks: tuple[str, ...]
    defenses: tuple[str, ...] = MAIN
    seeds: tuple[int, ...] = (0, 1, 2)
    options: tuple[str, ...] = NONE

    @property
    def cells(self) -> int:
        """How many cells there are of one recommender on one task."""
        return len(self.defenses) * len(self.seeds)

    def runs(self, model: str, task: str) -> Iterator[list[str]]:
        """The arguments of `recgauntlet run`, for the seed with curves and for the others."""
        chosen = ["--task", task, "--model", model, "--defense", ",".join(shown("defense", d) for d in self.defenses)]
        for seeds, curves in ((self.seeds[:1], []), (self.seeds[1:], ["--no-curves"])):
            if seeds:
                yield [*chosen, "--seeds", ",".join(map(str, seeds)), *curves, *self.options]


PARTS: dict[int, tuple[Group, ...]] = {
    1: (Group(("nrms",), TASKS),),
    2: (Group((*FITTED, *OTHERS), ("video-watch",)), Group(("naml", "sasrec-text"), TASKS)),
    3: (
        Group((*FITTED, *OTHERS, "most-popular"), POISONED, (TWIN,), options=()),
        Group(FITTED, POISONED, AGAINST_POISON, options=()),
        Group(FITTED, ("music-listen",), ("discrete",)),
        Group(OTHERS, ("music-listen",), ("discrete", "pgd")),
    ),
    4: (Group(("nrms",), TASKS, ON_INPUTS), Group(("lightgcn", "bpr-mf"), ("video-watch",), ON_INPUTS)),
    5: (
        Group(("bert", "gpt"), ("video-watch",), (TWIN, "fgm", "pgd"), options=LARGE),
        Group(("bert", "gpt"), ("video-watch",), ("discrete",), (0,), options=LARGE),
        Group(("two-tower",), ("video-watch",), (TWIN, "pgd"), options=LARGE),
        Group(("bert", "gpt"), TASKS, (TWIN, "pgd"), (0,), options=LARGE),
    ),
}
ALWAYS = ("--no-high-tier", "--leave-out", "embedding-linf", "--reuse-weights")


def seconds_of_cells(directories: list[Path]) -> dict[tuple[str, str], float]:
    """The mean time of a finished cell, by recommender and task."""
    found: dict[tuple[str, str], list[float]] = defaultdict(list)
    for record in (one for directory in directories for one in read_outlines(directory)):
        if record.status == "ok" and record.task.track == "standard":
            took = datetime.fromisoformat(record.finished) - datetime.fromisoformat(record.started)
            found[record.model.name, record.task.id].append(took.total_seconds())
    return {key: mean(times) for key, times in found.items()}


def main() -> None:
    """Print the plan, and run it unless that is all that is wanted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", default=",".join(map(str, PARTS)))
    parser.add_argument("--out", type=Path, default=Path("results/season"))
    parser.add_argument("--dry-run", action="store_true")
    given, more = parser.parse_known_args()
    known = seconds_of_cells([given.out, ROOT / "results"])
    chosen = [
        (part, group, model, task)
        for part in map(int, given.part.split(","))
        for group in PARTS[part]
        for model in group.models
        for task in group.tasks
    ]
    for part, group, model, task in chosen:
        hours = known.get((model, task), float("nan")) * group.cells / 3600
        print(f"part {part}  {task:<19} {model:<16} {group.cells:>4} cells  {hours:5.1f} h of one core")
    if given.dry_run:
        return
    failed = 0
    for _, group, model, task in chosen:
        for run in group.runs(model, task):
            command = [sys.executable, "-m", "recgauntlet", "run", *run, *ALWAYS, "--out", str(given.out), *more]
            failed |= subprocess.run(command, check=False).returncode
    sys.exit(failed)


if __name__ == "__main__":
    main()

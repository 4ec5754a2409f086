"""The cells of the season's release in the order in which they are run, with an estimate first.

    python tools/season.py --dry-run
    python tools/season.py --part 1,2 --out results/season --dir news-click=PATH --dir music-listen=PATH

A part is a list of `recgauntlet run`s, for a recommender and a task each: what is finished is skipped, so the same
command goes on where it stopped. A cell is run either with attacks on training data or without, in one group alone.
Security curves are drawn for seed 0. A cell is estimated by the mean of the finished cells in --out and in results/ of
the same recommender and task. Other options, such as --accept-licence, go to `recgauntlet run`.
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
ON_INPUTS = tuple(name for family, known in DEFENSES.items() if family != "data side" for name in known)
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
FAILED_CELL = 1
"""The exit code of a run in which a cell failed."""
ALWAYS = ("--no-high-tier", "--leave-out", "embedding-linf", "--reuse-weights")


def seconds_of_cells(directories: list[Path]) -> dict[tuple[str, str], float]:
    """The mean time of a finished cell, by recommender and task."""
    found: dict[tuple[str, str], list[float]] = defaultdict(list)
    for record in (one for directory in directories for one in read_outlines(directory)):
        if record.status == "ok" and record.task.track == "standard":
            took = datetime.fromisoformat(record.finished) - datetime.fromisoformat(record.started)
            found[record.model.name, record.task.id].append(took.total_seconds())
    return {key: mean(times) for key, times in found.items()}


def parts(words: str) -> list[int]:
    """The numbers of parts; ArgumentTypeError for others."""
    known = {str(part): part for part in PARTS}
    unknown = [word for word in words.split(",") if word not in known]
    if unknown:
        raise argparse.ArgumentTypeError(f"no part {', '.join(unknown)}: there are {', '.join(known)}")
    return [known[word] for word in words.split(",")]


def main() -> None:
    """Print the plan, and run it unless that is all that is wanted."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw, allow_abbrev=False)
    parser.add_argument("--part", type=parts, default=list(PARTS), help="numbers, separated by commas [all]")
    parser.add_argument("--out", type=Path, default=Path("results/season"))
    parser.add_argument("--dir", action="append", default=[], metavar="TASK=PATH", help="where a task's data lies")
    parser.add_argument("--dry-run", action="store_true")
    given, more = parser.parse_known_args()
    known = seconds_of_cells([given.out, ROOT / "results"])
    chosen = [
        (part, group, model, task)
        for part in given.part
        for group in PARTS[part]
        for model in group.models
        for task in group.tasks
    ]
    for part, group, model, task in chosen:
        seconds = known.get((model, task))
        estimate = "not known" if seconds is None else f"{seconds * group.cells / 3600:.1f} h of one core"
        print(f"part {part}  {task:<19} {model:<16} {group.cells:>4} cells  {estimate}")
    if given.dry_run:
        return
    failed = False
    for _, group, model, task in chosen:
        places = [word for place in given.dir if place.startswith(f"{task}=") for word in ("--dir", place)]
        for run in group.runs(model, task):
            command = [*run, *places, *ALWAYS, "--out", str(given.out), *more]
            code = subprocess.run([sys.executable, "-m", "recgauntlet", "run", *command], check=False).returncode
            if code not in (0, FAILED_CELL):  # bad input, or stopped
                sys.exit(code)
            failed |= code == FAILED_CELL
    sys.exit(int(failed))


if __name__ == "__main__":
    main()

"""The specification of a cell: names, options and directories."""

from __future__ import annotations

import contextlib
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from recgauntlet.core.card import Track
from recgauntlet.core.names import shown, stored
from recgauntlet.core.task import SourceOptions
from recgauntlet.core.types import Scalar

Options = tuple[tuple[str, Scalar], ...]
TWIN = "standard"
"""The defense that is none: what every other row is compared with."""
ALL = "all"
"""Stands for all attacks on training data, where attacks are chosen."""
WORKPLACES = ".cells"
"""The directory below a results directory in which cells work."""


@dataclass(frozen=True)
class CellSpec:
    """What to run and where the record goes. Picklable, so that any executor can run it.

    task
        A registered name or the path of a user's own card.
    track
        "standard" or "demo".
    model, defense
        Registered names; "none" is the undefended one, which records call "standard".
    seed
        Of the weights, the training and the attacks.
    out
        The directory of the records.
    source
        Where the data may come from.
    device
        "auto", "cpu", "cuda", "cuda:0" or "mps".
    precision
        "auto", "fp32" or "bf16", of training and of searches; what counts is scored in single precision.
    threads
        CPU threads: the order of sums depends on them, so the same spec gives the same record on any number of cores.
    devices
        Train on so many at once, in a process each (`recgauntlet.training.parallel`).
    model_options, defense_options
        Pairs of name and value that replace defaults.
    """

    task: str
    track: Track
    model: str
    defense: str
    seed: int
    out: Path
    source: SourceOptions
    device: str = "auto"
    precision: str = "auto"
    threads: int = 1
    devices: int = 1
    model_options: Options = ()
    defense_options: Options = ()
    untuned: bool = False
    """Take the constructors' defaults where tuned values are shipped (`recgauntlet.tuned`)."""
    tuned: Path | None = None
    """A file of tuned values (`recgauntlet tune --to`); they go before those that packages ship."""
    reuse_weights: bool = False
    """Attack the weights that a former run left, where they are this cell's, instead of training again."""
    poison_attacks: tuple[str, ...] | None = None
    """The attacks on training data, for a look; None: those of the card's active threats."""
    test_pairs: int | None = None
    """Attack the first test pairs alone, so many (`recgauntlet.evaluation.first_pairs`); None for all."""
    high_tier: bool = True
    """Attack inputs at the high tier too."""
    curves: bool = True
    """Draw security curves."""
    left_out: tuple[str, ...] = ()
    """The ids of unranked threats to inputs that are not run."""
    naturalness: bool = False
    """Measure perplexities and cosines of edited texts (`recgauntlet.evaluation.naturalness`), with SmolLM2."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "defense", stored("defense", self.defense))

    @property
    def name(self) -> str:
        """The cell's name in file names: unique in one results directory."""
        options = "".join(f"+{key}={value}" for key, value in (*self.model_options, *self.defense_options))
        return f"{self.model}-{self.defense}-{self.seed}{file_safe(options)}"

    @property
    def title(self) -> str:
        """The cell's name on a terminal."""
        return f"{self.task_id} {self.model} {shown('defense', self.defense)} seed {self.seed}"

    @property
    def task_id(self) -> str:
        """The task's id; of a user's own card, the file's stem."""
        return task_id(self.task)

    @property
    def record_path(self) -> Path:
        """Where the record is written."""
        return self.out / self.task_id / self.track / f"{self.name}.json"

    @property
    def workplace(self) -> Path:
        """The cell's own directory while it runs."""
        return self.out / WORKPLACES / self.task_id / self.track / self.name

    def clear_workplace(self) -> None:
        """Remove the cell's directory, and those above it that only cells' directories stood in."""
        shutil.rmtree(self.workplace, ignore_errors=True)
        with contextlib.suppress(OSError):  # until one is not empty
            for place in (self.workplace.parent, self.workplace.parents[1], self.workplace.parents[2]):
                place.rmdir()

    @property
    def journal_path(self) -> Path:
        """Where an evaluation in flight keeps what it has found."""
        return self.workplace / "journal"

    @property
    def poisoning_path(self) -> Path:
        """Where a cell keeps what its models do that were trained on poisoned data, until its record has it."""
        return self.workplace / "poisoning"

    @property
    def checkpoint_path(self) -> Path:
        """Where the trained weights are kept."""
        return self.out / "checkpoints" / self.task_id / self.track / f"{self.name}.safetensors"

    def twin(self) -> CellSpec:
        """The undefended cell of the same task, model and seed."""
        return replace(self, defense=TWIN, defense_options=())

    @property
    def is_twin(self) -> bool:
        """Whether this is an undefended cell itself."""
        return self.defense == TWIN


def task_id(task: str) -> str:
    """The id of a task that is named by its id or by the path of its card."""
    return Path(task).stem if task.endswith(".toml") else task


def file_safe(text: str) -> str:
    """`text` as a part of a file name: what might not be allowed there becomes "_"."""
    return "".join(c if c.isalnum() or c in "+=.-" else "_" for c in text)

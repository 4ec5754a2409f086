"""What each lever saves when a pretrained model is trained, and what it costs: docs/reference/levers.json.

    python tools/lever_costs.py [--model bert,gpt] [--task video-watch] [--pairs 10000] [--dir DATA]

The model as it is shipped is trained, then with one lever off at a time, all on one thread and one after the other in
one process: forty steps for the cost of a step, and one epoch on the first `--pairs` training pairs for the validation
AUC where the lever changes what is computed. Rows of the same task and model in the file are replaced.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from step_costs import VALIDATED, keep_rows, one_epoch

from recgauntlet.core.batch import Batch
from recgauntlet.core.dataset import Pairs
from recgauntlet.core.files import cache_root
from recgauntlet.core.spec import TWIN, CellSpec, Options
from recgauntlet.core.task import SourceOptions
from recgauntlet.data.batches import pairs_to_batch
from recgauntlet.training.build import open_cell

FILE = Path(__file__).resolve().parents[1] / "docs" / "reference" / "levers.json"
STEPS = 40
GENTLE = 1e-4
"""The learning rate where all weights of a pretrained model learn instead of updates of low rank."""


@contextmanager
def _ungrouped() -> Iterator[None]:
    """Texts of all lengths in one group."""
    with patch("recgauntlet_baselines.models._layers.BUCKETS", 1):
        yield


@contextmanager
def _history_twice() -> Iterator[None]:
    """Each of a pair's two candidates has its user's history read for itself."""

    def apart(pairs: Pairs, rows: np.ndarray[Any, Any]) -> Batch:
        batch = pairs_to_batch(pairs, rows)
        return replace(batch, users=batch.users.select(batch.rows), rows=torch.arange(len(batch)))

    with patch("recgauntlet.training.trainer.pairs_to_batch", apart):
        yield


@dataclass(frozen=True)
class Lever:
    """A lever that is off: the options that a model has then, its precision, and what else is other.

    exact
        Whether nothing but rounding tells the two apart, so that accuracy need not be measured.
    """

    name: str
    options: Options = ()
    precision: str = "bf16"
    other: Callable[[], AbstractContextManager[None]] = nullcontext
    exact: bool = False
    learning_rate: float = 0.0


SHARED = (
    Lever("bfloat16", precision="fp32"),
    Lever("groups of like length", other=_ungrouped, exact=True),
    Lever("one history for both candidates of a pair", other=_history_twice, exact=True),
)
LEVERS = {
    "bert": (
        Lever("frozen lower layers, read once", options=(("tuned_layers", 6),)),
        Lever("a vector for each item of the history, instead of words", options=(("one_way", False),)),
        *SHARED,
    ),
    "gpt": (
        Lever("low-rank updates", options=(("rank", 0),), learning_rate=GENTLE),
        Lever("items of the history read alone", options=(("alone", False),)),
        *SHARED,
    ),
}


def measured(spec: CellSpec, lever: Lever, pairs: int, batch_size: int) -> dict[str, Any]:
    """The lever's row, without the ratios."""
    spec = replace(spec, model_options=lever.options)
    train = partial(one_epoch, spec, lever.precision, learning_rate=lever.learning_rate)
    with lever.other():
        seconds, done = train(STEPS * batch_size, VALIDATED)
    score = None if lever.exact else train(pairs, None)[1].epochs[-1].valid_auc
    return {"lever": lever.name, "seconds": seconds, "flops": done.flops / done.steps, "auc": score}


def main() -> None:
    """Train with each lever off, and write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", default="video-watch")
    parser.add_argument("--model", default="bert,gpt")
    parser.add_argument("--pairs", type=int, default=10_000)
    parser.add_argument("--dir", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    source = SourceOptions(given.dir, cache_root(), offline=True, accept_licence=True)
    for model in given.model.split(","):
        spec = CellSpec(given.task, "standard", model, TWIN, 0, Path("lever-costs"), source, device="cpu")
        about = {"task": given.task, "model": model}
        size = open_cell(spec).model.value.recipe.batch_size
        rows: list[dict[str, Any]] = []
        for lever in (Lever(""), *LEVERS[model]):
            found = measured(spec, lever, given.pairs, size)
            ratios = {f"{name}_ratio": found[name] / (rows or [found])[0][name] for name in ("seconds", "flops")}
            rows.append({**about, "pairs": given.pairs, **found, **ratios})
            print(rows[-1], flush=True)
        keep_rows(FILE, about, rows)


if __name__ == "__main__":
    main()

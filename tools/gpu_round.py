"""A round on a GPU: do CPU and GPU agree on a small cell? Then cells with all test pairs, as far as the time reaches.

    python tools/gpu_round.py --out OUT --minutes 14 --cells bert:none,bert:pgd,gpt:none,gpt:pgd

Nothing is downloaded: the cache (RECGAUNTLET_CACHE) must hold the task's data and the pretrained models. OUT gets

- `agreement.json`: the same weights on both devices (scores, gradients, decisions), and the same training on both;
- `records.tar.xz`: records, weights and the journals of what the time did not suffice for. Unpacked into a results
  directory, `recgauntlet run --reuse-weights` goes on from them.

Exit code 1: the devices disagree on the same weights, so no cell was run. 2: a name or an option is wrong.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tarfile
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import FrameType

import numpy as np
import torch
from torch import Tensor

from recgauntlet.core.batch import Batch
from recgauntlet.core.dataset import TaskData
from recgauntlet.core.errors import RecGauntletError
from recgauntlet.core.files import cache_root
from recgauntlet.core.names import stored
from recgauntlet.core.recommender import Recommender
from recgauntlet.core.scoring import score_batch
from recgauntlet.core.spec import CellSpec, Options
from recgauntlet.core.task import SourceOptions
from recgauntlet.data.batches import pairs_to_batch
from recgauntlet.data.prepare import prepare
from recgauntlet.runner.cell import run_cell
from recgauntlet.runner.record import Machine
from recgauntlet.threats.gradients import input_gradient
from recgauntlet.training.build import OpenCell, open_cell, train_cell

PAIRS = 40
"""Training pairs of the small cell (a step each), and test pairs that it scores, at most."""
CLOSE = 1e-3
"""The largest difference of scores and gradients on the same weights, relative to their spread, that agrees."""
CLOSING = 20.0
"""Seconds that are kept for packing."""


class TimeIsUp(BaseException):
    """Raised inside a cell when the round ends; no `Exception`, which the cell would record as its failure."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the round; the exit code."""
    options = _options(arguments)
    ends = time.monotonic() + 60 * options.minutes
    options.out.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix="gpu-round-"))
    try:
        specs = [_spec(options, cell, work) for cell in options.cells.split(",")]
        found = [agreement(spec) for spec in {spec.model: spec for spec in reversed(specs)}.values()]
        (options.out / "agreement.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        for one in found:
            print(json.dumps(one), flush=True)
        if not all(one["agrees"] for one in found):
            return 1
        run_cells(specs, ends - CLOSING, options.out / "records.tar.xz", work)
    except RecGauntletError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="where the two files go")
    parser.add_argument("--minutes", type=float, default=14.0, help="of the whole round [14]")
    parser.add_argument("--device", default="cuda", help="cuda, or cpu to try the script [cuda]")
    parser.add_argument("--task", default="video-watch", help="a task, or the path of a card [video-watch]")
    parser.add_argument("--cells", default="bert:none,gpt:none,bert:pgd,gpt:pgd", help="MODEL:DEFENSE, in order")
    parser.add_argument("--model-option", action="append", default=[], help="MODEL.NAME=VALUE, several times")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args(arguments)


def _spec(options: argparse.Namespace, cell: str, out: Path) -> CellSpec:
    model, _, defense = cell.partition(":")
    chosen: Options = tuple(
        (name.removeprefix(f"{model}."), _value(value))
        for name, _, value in (given.partition("=") for given in options.model_option)
        if name.startswith(f"{model}.")
    )
    source = SourceOptions(directory=None, cache=cache_root(), offline=True)
    trained = stored("defense", defense or "none")
    return CellSpec(
        options.task,
        "standard",
        model,
        trained,
        options.seed,
        out,
        source,
        device=options.device,
        model_options=chosen,
    )


def _value(text: str) -> bool | int | float | str:
    if text in ("true", "false"):
        return text == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def agreement(spec: CellSpec) -> dict[str, object]:
    """How far the device of `spec` is from the CPU: on the same weights, and after the same short training."""
    cell = open_cell(replace(spec, device="cpu", defense="standard", defense_options=()))
    machine = Machine.of(spec, cell.model)
    whole = prepare(cell.task, spec.track, spec.source)
    data = replace(whole, train=whole.train.select(np.arange(min(PAIRS, len(whole.train)))))
    batch = pairs_to_batch(whole.test, np.arange(min(PAIRS, len(whole.test))))
    model, here = _trained(cell, data, torch.device("cpu"), "fp32")
    scores, gradients = _answers(model, batch)
    other_scores, other_gradients = _answers(model.to(machine.device), batch)
    spread = float(scores.std().clamp(min=1e-12))
    gaps = {
        "scores": float((other_scores - scores).abs().max()) / spread,
        "gradients": float((other_gradients - gradients).abs().max()) / float(gradients.std().clamp(min=1e-12)),
    }
    sure = scores.abs() > CLOSE * spread  # within rounding of the boundary either decision is right
    decided = bool(torch.equal((scores > 0)[sure], (other_scores > 0)[sure]))
    after: dict[str, object] = {"cpu": here}
    for precision in dict.fromkeys(("fp32", machine.precision)):
        again, there = _trained(cell, data, machine.device, precision)
        correlation = torch.corrcoef(torch.stack([scores, _answers(again, batch)[0]]))[0, 1]
        after[f"{machine.device.type} {precision}"] = there | {"correlation with cpu": float(correlation)}
    return {
        "model": spec.model,
        "device": machine.environment.device,
        "same weights, relative gap": gaps,
        "same decisions": decided,
        "same training": after,
        "agrees": decided and max(gaps.values()) <= CLOSE,
    }


def _trained(
    cell: OpenCell, data: TaskData, device: torch.device, precision: str
) -> tuple[Recommender, dict[str, object]]:
    began = time.perf_counter()
    model, trained = train_cell(cell, data, device, precision, lambda what, share: None, most_epochs=1)
    auc = [epoch.valid_auc for epoch in trained.epochs]
    return model.eval(), {"validation AUC": auc[-1] if auc else None, "seconds": time.perf_counter() - began}


def _answers(model: Recommender, batch: Batch) -> tuple[Tensor, Tensor]:
    """On the CPU: the scores `[B]` and their gradient with respect to the candidates' embeddings, `[B * L * D]`."""
    batch = batch.to(model.device)
    with torch.no_grad():
        state = model.encode_user(batch.users).select(batch.rows)
        candidates = model.candidates(batch.items)
        handle = model.embed(candidates)
    handle = handle.detach().requires_grad_(True)
    gradient = input_gradient(model.score(state, candidates, handle), handle)
    return score_batch(model, batch).cpu(), gradient.detach().flatten().cpu()


def run_cells(specs: Sequence[CellSpec], ends: float, archive: Path, work: Path) -> None:
    """Run cells one after the other until the clock shows `ends`; pack what is in `work` after each, and at the end."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise TimeIsUp

    before = signal.signal(signal.SIGALRM, stop)
    try:
        for spec in specs:
            signal.setitimer(signal.ITIMER_REAL, max(0.1, ends - time.monotonic()))
            record = run_cell(spec)
            signal.setitimer(signal.ITIMER_REAL, 0)
            print(f"{spec.title}: {record.status}", flush=True)
            pack(work, archive)
    except TimeIsUp:
        print("the time is up", flush=True)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        pack(work, archive)


def pack(work: Path, archive: Path) -> None:
    """Everything below `work` in `archive`, which stands whole under its name or not at all."""
    part = archive.with_suffix(".part")
    with tarfile.open(part, "w:xz") as packed:
        packed.add(work, arcname=".")
    part.replace(archive)


if __name__ == "__main__":
    sys.exit(main())

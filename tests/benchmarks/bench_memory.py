"""The memory that one thing takes in a process of its own: its peak over what was there before it began.

Run as a script with what to measure and the number of pairs; prints the bytes.
"""

from __future__ import annotations

import ctypes
import gc
import re
import sys
from pathlib import Path

import numpy as np
from bench_subject import Subject, open_subject, survivors

from recgauntlet.core.rng import Randomness
from recgauntlet.data.batches import pairs_to_batch
from recgauntlet.evaluation.setup import Trial
from recgauntlet.training.trainer import AdamWTrainer

STATUS, REFERENCES = Path("/proc/self/status"), Path("/proc/self/clear_refs")
STEPS = 3


def forget_peak() -> int:
    """Give unused memory back, start the kernel's high-water mark again; the bytes resident now."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    REFERENCES.write_text("5")
    return resident("VmRSS")


def resident(field: str) -> int:
    """A line of the process's status, in bytes."""
    found = re.search(rf"^{field}:\s+(\d+) kB$", STATUS.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert found, f"{STATUS} has no {field}"
    return int(found[1]) * 1024


def train(subject: Subject, pairs: int) -> int:
    """Steps of plain training: gradients of all weights and the optimizer's state belong to it."""
    model = subject.model.requires_grad_(True).train()
    order = np.arange(STEPS * pairs) % len(subject.data.train)
    before = forget_peak()
    trainer = AdamWTrainer(model, STEPS, Randomness(0, "benchmark"), "fp32")
    for step in range(STEPS):
        trainer.advance(
            subject.cell.defense_object, pairs_to_batch(subject.data.train, order[step * pairs : (step + 1) * pairs])
        )
    return resident("VmHWM") - before


def attack(subject: Subject, trial: Trial, threat: str) -> int:
    """All attacks of the suite on one threat, standard tier. What the world knows of words and items is made before:
    it belongs to the task and is made once, whatever is attacked."""
    world = subject.world
    world.lexicon.prepare(word for text in world.catalog.texts for word in text.split())
    before = forget_peak()
    survivors(trial, subject.threat(threat), "standard")
    return resident("VmHWM") - before


def main() -> None:
    """Print the bytes that `argv[1]` (training, or a threat's id) takes for `argv[2]` pairs."""
    what, pairs = sys.argv[1], int(sys.argv[2])
    subject = open_subject()
    trial = subject.trial(pairs)  # a forward pass of the same size for both: libraries allocate when first used
    print(train(subject, pairs) if what == "training" else attack(subject, trial, what))


if __name__ == "__main__":
    main()

"""The header of a checkpoint of no cell, for tests of the file."""

from __future__ import annotations

from recgauntlet.training.checkpoint import CheckpointInfo

INFO = CheckpointInfo(
    task="tiny",
    track="standard",
    task_fingerprint="",
    data_fingerprint="",
    model="toy",
    model_options={},
    defense="standard",
    defense_options={},
    recipe={},
    seed=0,
    epochs=(),
    seconds=0.0,
    steps=0,
    forwards=0,
    backwards=0,
    flops=0.0,
    peak_memory_bytes=0,
    processor="",
    precision="fp32",
    commit="",
)

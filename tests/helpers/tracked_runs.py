"""Runs for the tests of trackers: a record with epochs and a picture, and the run that both make."""

from __future__ import annotations

import io
from dataclasses import replace

import matplotlib.figure
from synthetic_records import failed_gate, make_record

from recgauntlet.records.schema import Epoch, RunRecord
from recgauntlet.tracking.base import Picture, TrackedRun
from recgauntlet.tracking.runs import run_of

EPOCHS = (Epoch(epoch=1, loss=0.7, valid_auc=0.6, kept=True), Epoch(epoch=2, loss=0.5, valid_auc=0.65, kept=True))


def trained_record(**options: object) -> RunRecord:
    """A record with two epochs, certificates and a failed check."""
    record = make_record(defense="pgd", ratio=2.0, certified=True, gates=(failed_gate("stuffing"),), **options)  # type: ignore[arg-type]
    return record.model_copy(update={"epochs": EPOCHS, "recipe": {"epochs": 2, "lr": 0.001}}).sealed()


def picture() -> Picture:
    """A small figure as a PNG file."""
    file = io.BytesIO()
    figure = matplotlib.figure.Figure(figsize=(1, 1))
    figure.add_subplot().plot([0, 1])
    figure.savefig(file, format="png")
    return Picture("shop-heat-map", "Robust accuracy of all rows", file.getvalue())


def tracked_run() -> TrackedRun:
    """The run of `trained_record`, with a picture."""
    return replace(run_of(trained_record()), pictures=(picture(),))

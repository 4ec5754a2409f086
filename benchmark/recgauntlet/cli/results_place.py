"""Where a results directory keeps the trained weights of a record."""

from __future__ import annotations

from pathlib import Path

from recgauntlet.core.errors import RecordError
from recgauntlet.runner.weights import CHECKPOINTS


def results_of(path: Path) -> Path:
    """The results directory of a record at OUT/TASK/TRACK/CELL.json; RecordError where it does not lie in one."""
    if len(path.resolve().parents) < 3:
        raise RecordError(
            "does not lie in a results directory (OUT/TASK/TRACK/CELL.json)",
            where=path,
            remedy="name the places with --out and --checkpoint",
        )
    return path.resolve().parents[2]


def weights_of(path: Path, given: Path | None, *, below: str = "") -> Path:
    """The checkpoint of the cell at `path`, a record or a file below the directory `below`; `given` where it is named.

    Raises
    ------
    RecordError
        Where there is none.
    """
    if given is not None:
        return given
    whole = path.resolve()
    out = whole.parents[4] if below and below in whole.parts[:-4] else results_of(path)
    name = path.name.removesuffix(".xz").removesuffix(".json")
    weights = out.joinpath(CHECKPOINTS, *whole.parts[-3:-1], f"{name}.safetensors")
    if not weights.is_file():
        raise RecordError(
            f"its trained weights are not at {weights}",
            where=path,
            field="--checkpoint",
            remedy="name them with --checkpoint, or train the cell again (recgauntlet run leaves weights)",
        )
    return weights

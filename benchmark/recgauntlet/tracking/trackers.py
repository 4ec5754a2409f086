"""The trackers by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from recgauntlet.core.errors import OutputError, RecGauntletError
from recgauntlet.tracking.base import Tracker
from recgauntlet.tracking.mlflow import MLflow
from recgauntlet.tracking.tensorboard import TensorBoard
from recgauntlet.tracking.trackio import Trackio
from recgauntlet.tracking.wandb import WeightsAndBiases

DIRECTORY = Path("tracking")
"""Where runs are logged to unless another directory is named."""
TRACKERS: dict[str, Callable[[Path], Tracker]] = {
    "tensorboard": lambda directory: TensorBoard(directory / "tensorboard"),
    "wandb": WeightsAndBiases,
    "mlflow": MLflow,
    "trackio": Trackio,
}
"""By its name what opens a tracker in a directory."""


def open_trackers(names: Sequence[str], directory: Path) -> dict[str, Tracker]:
    """The trackers of these names, which keep their files in `directory`.

    Raises
    ------
    OutputError
        Where a package is not installed, the directory cannot be written to, or a tracker cannot be opened.
    """
    found: dict[str, Tracker] = {}
    for name in names:
        try:
            found[name] = TRACKERS[name](directory)
        except RecGauntletError:
            raise
        except Exception as error:  # whatever the tracker's package raises, of its environment variables for example
            problem = f"cannot be opened: {type(error).__name__}: {error}"
            raise OutputError(problem, where=name, remedy="mend its settings, or choose another tracker") from error
    return found

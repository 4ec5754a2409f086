"""Trained weights on disk: safetensors, with what is needed to rebuild the model in the file's own header."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from pydantic import BaseModel, ConfigDict, NonNegativeInt, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import load, load_file, save
from torch import Tensor

from recgauntlet.core.card import Track
from recgauntlet.core.errors import RecordError
from recgauntlet.core.files import write_atomically
from recgauntlet.core.recommender import Recommender
from recgauntlet.core.types import Scalar
from recgauntlet.records.references import PluginRef
from recgauntlet.records.schema import Epoch

_KEY = "recgauntlet"


class CheckpointInfo(BaseModel):
    """The header of a checkpoint: what is needed to continue from it without training again.

    `epochs` to `peak_memory_bytes` are what training took (see `TrainingCost`), on `processor` and at `precision`, with
    the code of `commit`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    task: str
    track: Track
    task_fingerprint: str
    data_fingerprint: str
    model: str
    model_options: dict[str, Scalar]
    defense: str
    defense_options: dict[str, Scalar]
    recipe: dict[str, Scalar]
    seed: int
    epochs: tuple[Epoch, ...]
    seconds: float
    steps: int
    forwards: int
    backwards: int
    flops: float
    peak_memory_bytes: int
    processor: str
    precision: str
    commit: str
    refs: tuple[PluginRef, PluginRef] | None = None
    """The model and the defense, with the sources that trained these weights; None in older files."""
    needs_defense: bool = True
    """Whether serving needs the defense's code: it has a `wrap`, or a `filter` that does more than drop pairs."""
    filters: bool = False
    """Whether the defense has a `filter` of its own."""
    kept: tuple[NonNegativeInt, ...] | None = None
    """The rows of the training pairs that the defense's `filter` kept; None for all."""

    @property
    def sources(self) -> tuple[str, str]:
        """The source hashes of the model and the defense; empty where they are not known."""
        return (self.refs[0].source, self.refs[1].source) if self.refs else ("", "")


def save_checkpoint(model: Recommender, info: CheckpointInfo, path: Path) -> str:
    """Write the weights atomically; returns the SHA-256 of the weights (header left out).

    Raises
    ------
    OutputError
        Where the place cannot be written.
    """
    tensors = _named(model)
    write_atomically(path, save(tensors, metadata={_KEY: info.model_dump_json()}))
    return weights_hash(model)


def weights_hash(model: Recommender) -> str:
    """SHA-256 over the names, shapes and bytes of all weights and buffers."""
    return _hash(_named(model))


def hash_of_file(path: Path) -> str:
    """The `weights_hash` of a model with the weights of a checkpoint.

    Raises
    ------
    RecordError
        Where the file is no whole safetensors file.
    """
    try:
        return _hash(load_file(path))
    except (OSError, SafetensorError) as error:
        raise _unreadable(path, error) from error


def _hash(tensors: dict[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name}{tuple(tensor.shape)}".encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()


def read_info(path: Path) -> CheckpointInfo:
    """The header of a checkpoint.

    Raises
    ------
    RecordError
        Where the file is no whole safetensors file, or was not written by recgauntlet.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise _unreadable(path, error) from error
    try:
        return CheckpointInfo.model_validate(json.loads(metadata[_KEY]))
    except (KeyError, json.JSONDecodeError, ValidationError) as error:
        raise RecordError(
            "does not say which task and model it belongs to",
            where=path,
            field=_KEY,
            remedy="give a checkpoint that recgauntlet run wrote",
        ) from error


def load_weights(model: Recommender, source: Path | bytes) -> None:
    """Put the weights of a checkpoint, a file or its content, into `model`, in place.

    Raises
    ------
    RecordError
        Where the weights do not fit the model.
    """
    try:
        model.load_state_dict(load(source) if isinstance(source, bytes) else load_file(source))
    except (OSError, SafetensorError, RuntimeError) as error:
        raise RecordError(
            f"the weights do not fit the model ({str(error).splitlines()[0]})",
            where=None if isinstance(source, bytes) else source,
            remedy="give the checkpoint of this model with these options, or train the cell again",
        ) from error


def _unreadable(path: Path, error: Exception) -> RecordError:
    return RecordError(
        f"is no readable checkpoint ({error})",
        where=path,
        remedy="give a .safetensors file that recgauntlet run wrote, or train the cell again",
    )


def _named(model: Recommender) -> dict[str, Tensor]:
    # tensors that share memory are not allowed in the file
    return {name: tensor.detach().cpu().contiguous().clone() for name, tensor in model.state_dict().items()}

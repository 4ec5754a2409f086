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
from recgauntlet.data.windows import Window
from recgauntlet.records.references import PluginRef
from recgauntlet.records.schema import Epoch

_KEY = "recgauntlet"
_LENGTH = 8
"""Bytes before the header of a safetensors file."""


class BaseRef(BaseModel):
    """Pretrained weights that a checkpoint leaves out (`FrozenBase`): their model's name and the tensors' SHA-256."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    sha256: str


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
    devices: int = 1
    """In how many processes the model was trained, one a device."""
    refs: tuple[PluginRef, PluginRef] | None = None
    """The model and the defense, with the sources that trained these weights; None in older files."""
    needs_defense: bool = True
    """Whether serving needs the defense's code: it has a `wrap`, or a `filter` that does more than drop pairs."""
    filters: bool = False
    """Whether the defense has a `filter` of its own."""
    kept: tuple[NonNegativeInt, ...] | None = None
    """The rows of the training pairs that the defense's `filter` kept; None for all."""
    base: BaseRef | None = None
    """What the file leaves out; None where it holds all weights."""
    dropped: tuple[NonNegativeInt, ...] = ()
    """The users who had training pairs, and whom the `filter` left none."""
    lost: tuple[NonNegativeInt, ...] = ()
    """The rows of the training pairs whose click the `filter` left out."""

    window: Window | None = None
    """The periods of the data that a retrained model learned from last and is tested on; None for the card's own."""

    @property
    def sources(self) -> tuple[str, str]:
        """The source hashes of the model and the defense; empty where they are not known."""
        return (self.refs[0].source, self.refs[1].source) if self.refs else ("", "")


def save_checkpoint(model: Recommender, info: CheckpointInfo, path: Path) -> str:
    """Write the weights atomically, without the model's frozen base; returns the `weights_hash`.

    Raises
    ------
    OutputError
        Where the place cannot be written.
    """
    tensors, base = _parts(model)
    info = info.model_copy(update={"base": base})
    write_atomically(path, save(tensors, metadata={_KEY: info.model_dump_json()}))
    return _hash(tensors, base)


def weights_hash(model: Recommender) -> str:
    """SHA-256 over the names, shapes and bytes of all weights and buffers; those of a frozen base by their own
    SHA-256."""
    return _hash(*_parts(model))


def hash_of_file(path: Path) -> str:
    """The `weights_hash` of a model with the weights of a checkpoint.

    Raises
    ------
    RecordError
        Where the file is no whole safetensors file.
    """
    try:
        return _hash(load_file(path), _base_of(path))
    except (OSError, SafetensorError) as error:
        raise _unreadable(path, error) from error


def _hash(tensors: dict[str, Tensor], base: BaseRef | None = None) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name}{tuple(tensor.shape)}".encode())
        digest.update(tensor.numpy().tobytes())
    if base is not None:
        digest.update(base.sha256.encode())
    return digest.hexdigest()


def read_info(path: Path) -> CheckpointInfo:
    """The header of a checkpoint.

    Raises
    ------
    RecordError
        Where the file is no whole safetensors file, or was not written by recgauntlet.
    """
    try:
        metadata = _metadata(path)
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
    """Put the weights of a checkpoint, a file or its content, into `model`, in place. What the checkpoint leaves out is
    in `model` already.

    Raises
    ------
    RecordError
        Where the weights do not fit the model, or were trained on another base than `model` has.
    """
    where = None if isinstance(source, bytes) else source
    try:
        weights, base = load(source) if isinstance(source, bytes) else load_file(source), _base_of(source)
        if base is not None:
            weights = _frozen(model) | weights
        model.load_state_dict(weights)
    except (OSError, SafetensorError, RuntimeError) as error:
        raise RecordError(
            f"the weights do not fit the model ({str(error).splitlines()[0]})",
            where=where,
            remedy="give the checkpoint of this model with these options, or train the cell again",
        ) from error
    if base is not None and base.sha256 != (found := _hash(_frozen(model))):
        raise RecordError(
            f"was trained on {base.name} with the SHA-256 {base.sha256[:12]}; what is installed here under this name "
            f"has {found[:12]}",
            where=where,
            field="base.sha256",
            remedy="put the files of the pretrained model back that it was trained on, or train the cell again",
        )


def _parts(model: Recommender) -> tuple[dict[str, Tensor], BaseRef | None]:
    """What a checkpoint holds of `model`, and what it leaves out."""
    tensors = _named(model)
    if model.base is None:
        return tensors, None
    kept = {name: tensor for name, tensor in tensors.items() if name not in model.base.tensors}
    return kept, BaseRef(name=model.base.name, sha256=_hash(_frozen(model)))


def _frozen(model: Recommender) -> dict[str, Tensor]:
    """The tensors of the model's frozen base."""
    names = model.base.tensors if model.base else frozenset[str]()
    return {name: tensor for name, tensor in _named(model).items() if name in names}


def _base_of(source: Path | bytes) -> BaseRef | None:
    """What a readable safetensors file, or its content, leaves out."""
    try:
        return BaseRef.model_validate(json.loads(_metadata(source)[_KEY])["base"])
    except (KeyError, TypeError, json.JSONDecodeError, ValidationError):
        return None


def _metadata(source: Path | bytes) -> dict[str, str]:
    """The metadata of a readable safetensors file, or of its content: eight bytes of length, then a JSON object."""
    if isinstance(source, bytes):
        length = int.from_bytes(source[:_LENGTH], "little")
        found: dict[str, str] = json.loads(source[_LENGTH : _LENGTH + length]).get("__metadata__") or {}
        return found
    with safe_open(source, framework="pt") as file:
        return file.metadata() or {}


def _unreadable(path: Path, error: Exception) -> RecordError:
    return RecordError(
        f"is no readable checkpoint ({error})",
        where=path,
        remedy="give a .safetensors file that recgauntlet run wrote, or train the cell again",
    )


def _named(model: Recommender) -> dict[str, Tensor]:
    # tensors that share memory are not allowed in the file
    return {name: tensor.detach().cpu().contiguous().clone() for name, tensor in model.state_dict().items()}

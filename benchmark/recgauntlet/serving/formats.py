"""The formats of an export: a scoring graph or weights as the bytes of a file, and back as a function that scores."""

from __future__ import annotations

import io
import logging
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from importlib.util import find_spec
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from recgauntlet.core.errors import ExportError, PluginError
from recgauntlet.core.recommender import Recommender
from recgauntlet.serving.graph import CANDIDATES, INPUTS, InputName, ScoringGraph

GraphFormat = Literal["onnx", "torch-export"]
Format = Literal["onnx", "torch-export", "safetensors"]
FORMATS: tuple[Format, ...] = get_args(Format)
FILES: dict[Format, str] = {"onnx": "model.onnx", "torch-export": "model.pt2", "safetensors": "model.safetensors"}
MOST_CANDIDATES = 1 << 20
"""Of one call of an exported graph."""
MOST_PARAMETERS = 64_000_000
"""Of a model that becomes a graph: its weights are in memory several times while it is written and checked."""
WEIGHTS_REMEDY = "export the weights alone (--to safetensors), or serve the model (recgauntlet serve)"

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")

Scorer = Callable[[Mapping[InputName, Tensor]], Tensor]
"""Logits `[C]` of the inputs of a graph."""


def require_packages(kind: Format) -> None:
    """PluginError where the packages that write and run files of this format are not installed."""
    missing = [name for name in ("onnx", "onnxscript", "onnxruntime") if kind == "onnx" and find_spec(name) is None]
    if missing:
        raise PluginError(
            f"{', '.join(missing)} is not installed", field="--to", remedy="pip install 'recgauntlet[export]'"
        )


def require_size(model: Recommender) -> None:
    """ExportError where the model has more than `MOST_PARAMETERS`."""
    count = sum(parameter.numel() for parameter in model.parameters())
    if count > MOST_PARAMETERS:
        raise ExportError(
            f"{type(model).__name__} has {count:,} parameters, more than the {MOST_PARAMETERS:,} that are written as a "
            "graph",
            remedy=WEIGHTS_REMEDY,
        )


def exported(graph: ScoringGraph) -> tuple[Any, tuple[InputName, ...]]:
    """The graph as a `torch.export.ExportedProgram`, and the inputs that it reads.

    Raises
    ------
    ExportError
        Where torch cannot follow the model.
    """
    name = type(graph.model).__name__
    everything = tuple(graph.example())
    try:
        with _quiet(), torch.no_grad():
            used = _used(_exported(graph, everything))
            return _exported(graph, used), used
    except Exception as error:  # torch has a class of error for each thing that it cannot follow
        raise ExportError(
            f"torch.export cannot follow {name}: {_first_line(error)}",
            remedy=f"{WEIGHTS_REMEDY}; docs/serving.md says what a model must not do",
        ) from error


def graph_file(program: Any, kind: GraphFormat) -> bytes:
    """The content of a file with the exported program.

    Raises
    ------
    ExportError
        Where it has an operator that the format does not have.
    """
    for node in program.graph.nodes:  # they name files of this machine
        node.meta.pop("stack_trace", None)
    try:
        with _quiet():
            return _onnx(program) if kind == "onnx" else _torch_export(program)
    except Exception as error:
        raise ExportError(
            f"cannot be written as {kind}: {_first_line(error)}",
            remedy=f"try --to {'torch-export' if kind == 'onnx' else 'onnx'}, or {WEIGHTS_REMEDY}",
        ) from error


def scorer_of(content: bytes, kind: GraphFormat) -> Scorer:
    """What the content of a file computes: in onnxruntime on one thread of the CPU, or in torch."""
    if kind == "torch-export":
        with _quiet():
            module: Any = torch.export.load(io.BytesIO(content)).module()

        def run(inputs: Mapping[InputName, Tensor]) -> Tensor:
            with torch.no_grad():
                scores: Tensor = module(**{str(name): tensor for name, tensor in inputs.items()})
            return scores

        return run
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])

    def run_session(inputs: Mapping[InputName, Tensor]) -> Tensor:
        (scores,) = session.run(None, {name: tensor.numpy() for name, tensor in inputs.items()})
        return torch.from_numpy(scores)

    return run_session


def _exported(graph: ScoringGraph, names: Sequence[InputName]) -> Any:
    example = graph.example()
    dimension = torch.export.Dim(CANDIDATES, min=1, max=MOST_CANDIDATES)
    free = {name: {0: dimension} for name in ("items", "token_ids", "token_mask")}
    return torch.export.export(
        graph,
        (),
        {name: example[name] for name in names},
        dynamic_shapes={name: free.get(name) for name in names},
    )


def _used(program: Any) -> tuple[InputName, ...]:
    """The inputs whose values the program reads; of the others it reads sizes at most."""
    read = {
        node.name
        for node in program.graph.nodes
        if node.op == "placeholder" and any("sym_size" not in str(user.target) for user in node.users)
    }
    return tuple(name for name in INPUTS if name in read)


def _onnx(program: Any) -> bytes:
    written: Any = torch.onnx.export(program, dynamo=True, verbose=False, output_names=["scores"])
    proto: Any = written.model_proto
    for part in (proto.graph, *proto.functions):
        for node in part.node:
            del node.metadata_props[:]  # stack traces
    content: bytes = proto.SerializeToString()
    return content


def _torch_export(program: Any) -> bytes:
    program._example_inputs = None  # they would be pickled
    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    return buffer.getvalue()


def _first_line(error: Exception) -> str:
    error = error.__cause__ if isinstance(error.__cause__, Exception) else error
    lines = [line.strip() for line in _COLOUR.sub("", str(error)).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what the exporters print and log: their progress, and whole graphs where they fail."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings(), redirect_stderr(io.StringIO()), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)

"""What the process of a model answers beside arrays, and the form that its arrays must have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt

from recgauntlet.core.types import Scalar, Surface
from recgauntlet.records.references import PluginRef
from recgauntlet.runner.messages import ErrorReport
from recgauntlet.runner.remote.line import DTYPES


class Part(BaseModel):
    """A part of an answer: frozen, without unknown fields."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Opened(Part):
    """What is known once a cell's plugins are imported and its untrained model is built."""

    refs: tuple[PluginRef, PluginRef]
    """The model and the defense as a record names them."""
    recipe: dict[str, Scalar]
    """The model's own."""


class Smoothing(Part):
    """That what is served is the harness's own smoothing of a model. The evaluation smooths by itself, and asks for
    that model: a certificate is about what it has seen."""

    surface: Surface
    votes: int = Field(ge=2)
    kept: int = Field(ge=1)
    sharpness: float = Field(gt=0, allow_inf_nan=False)


class Served(Part):
    """What is known of a model once its weights are loaded and its defense has wrapped it."""

    surfaces: frozenset[Surface]
    parameters: NonNegativeInt
    weights: str = Field(pattern="^[0-9a-f]{64}$")
    """`weights_hash` of what answers."""
    own_candidates: bool
    """Whether its candidates are not the catalog's tokens, looked up."""
    smoothing: Smoothing | None


class Fault(Part):
    """An exception in the process of a model."""

    kind: str = Field(pattern=r"^[A-Za-z_]\w{0,99}$")
    message: str
    is_memory: bool = False
    """Whether the memory did not suffice."""
    report: ErrorReport | None = None
    """Its fields, where it is an error of recgauntlet's own."""


class Form(NamedTuple):
    """What an array must be: a type ("float" for any floating type) and a shape, None for a size that is free."""

    kind: str
    shape: tuple[int | None, ...]


def misfit(arrays: Any, forms: Sequence[Form]) -> str:
    """How `arrays`, the list of a header, differ from `forms`; empty where they fit."""
    try:
        given = [(str(kind), tuple(shape)) for kind, shape in arrays]
    except (TypeError, ValueError):
        return "a list of arrays that is none"
    if len(given) != len(forms):
        return f"{len(given)} arrays where {len(forms)} are expected"
    for (kind, shape), form in zip(given, forms, strict=True):
        alike = DTYPES[kind].is_floating_point if form.kind == "float" and kind in DTYPES else kind == form.kind
        fits = len(shape) == len(form.shape) and all(b in (None, a) for a, b in zip(shape, form.shape, strict=True))
        if not (alike and fits):
            wanted = ", ".join("any" if size is None else str(size) for size in form.shape)
            return f"an array of {kind[:20]} {list(shape)[:8]} where {form.kind} [{wanted}] is expected"
    return ""

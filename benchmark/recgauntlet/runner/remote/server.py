"""The process of a model: behind its fence it builds a cell's model, loads its weights, and answers the evaluation.

It has training data alone. What an evaluation knows besides (labels, budgets, the record) is in another process.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from recgauntlet.core.batch import Candidates, Tokens, Users, UserState
from recgauntlet.core.errors import RecGauntletError
from recgauntlet.core.recommender import Recommender
from recgauntlet.core.scoring import autograd_calls
from recgauntlet.runner.messages import ErrorReport
from recgauntlet.runner.remote.line import BrokenLine, Line
from recgauntlet.runner.remote.messages import Fault, Served, Smoothing
from recgauntlet.threats.gradients import is_out_of_memory
from recgauntlet.threats.smoothing import SMOOTHED, DeletionSmoothed
from recgauntlet.training.checkpoint import weights_hash

Answer = tuple[dict[str, Any], Sequence[Tensor]]


def answer(line: Line, calls: dict[str, Callable[[dict[str, Any], list[Tensor]], Answer]]) -> None:
    """Answer what is asked, by the functions of `calls`, until the connection ends; errors are answers."""
    while True:
        try:
            header = line.header()
            tensors = line.tensors(header)
        except BrokenLine:
            return
        try:
            fields, found = calls[header["call"]](header, tensors)
        except Exception as error:  # whatever the model raises is reported
            fields, found = {"fault": fault_of(error).model_dump(mode="json")}, []
        try:
            line.send(fields, found)
        except BrokenLine:
            return


def fault_of(error: Exception) -> Fault:
    """What is reported of an exception: files by their names alone, since directories may hold private names."""
    if isinstance(error, RecGauntletError):
        where = Path(error.where).name if error.where else None
        report = ErrorReport.of(type(error)(error.problem, where=where, field=error.field, remedy=error.remedy))
        return Fault(kind=type(error).__name__, message=str(error)[:4096], report=report)
    frames = traceback.extract_tb(error.__traceback__)[-3:]
    places = " > ".join(f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames)
    message = f"{type(error).__name__}: {error}"[:3000] + f" (at {places})"
    kind = type(error).__name__
    kind = kind if kind.isascii() and kind.isidentifier() else "Exception"
    return Fault(kind=kind[:100], message=message[:4096], is_memory=is_out_of_memory(error))


def smoothing_of(served: Recommender) -> Smoothing | None:
    """The harness's own smoothing that `served` is; None where it is none."""
    if not isinstance(served, DeletionSmoothed) or type(served) is not SMOOTHED[served.surface]:
        return None
    return Smoothing(surface=served.surface, votes=served.votes, kept=served.kept, sharpness=served.sharpness)


class ModelServer:
    """Answers for `model`, with the users and candidates that it was sent, by their numbers."""

    def __init__(self, model: Recommender, smoothing: Smoothing | None, parameters: int) -> None:
        self._model, self._smoothing, self._parameters = model, smoothing, parameters
        self._states: dict[int, UserState] = {}
        self._moving: dict[int, Tensor] = {}
        """The embeddings of histories, by the number of their users, that a gradient may be asked for."""
        self._candidates: dict[int, Candidates] = {}
        self._graph: dict[int, tuple[Tensor, list[Tensor]]] = {}
        """The last scores with a graph, and the embeddings that they may be differentiated by."""
        names = ("tokenize", "catalog_tokens", "tokens", "embed", "embed_history", "score", "backward", "weights")
        self.calls = {name: self._prepared(getattr(self, f"_{name}")) for name in names}

    def described(self) -> Served:
        """What the evaluation is to know of the model."""
        model = self._model
        return Served(
            surfaces=frozenset(model.surfaces),
            parameters=self._parameters,
            weights=weights_hash(model),
            own_candidates=type(model).candidates is not Recommender.candidates or "candidates" in vars(model),
            smoothing=self._smoothing,
        )

    def _prepared(self, call: Callable[[dict[str, Any], list[Tensor]], Answer]) -> Any:
        """`call`, after what came with the question is put in its place."""

        def prepared(header: dict[str, Any], tensors: list[Tensor]) -> Answer:
            for number in header["released"]:
                for kept in (self._states, self._moving, self._candidates):
                    kept.pop(number, None)
            tensors = [tensor.to(self._model.device) for tensor in tensors]
            is_differentiated = header.get("graph") is not None
            calls: list[str] = []
            with nullcontext(calls) if is_differentiated else autograd_calls() as calls:
                for new in header.get("new_users", ()):
                    self._encode(tensors, *new)
                with torch.no_grad():
                    for number, items, texts in header.get("new_candidates", ()):
                        self._candidates[number] = self._model.candidates(tensors[items], texts)
                fields, found = call(header, tensors)
            return {**fields, "autograd": len(calls)}, found

        return prepared

    def _encode(
        self, tensors: list[Tensor], number: int, ids: int, histories: int, embeddings: int | None, moves: bool
    ) -> None:
        users, given = Users(tensors[ids], tensors[histories]), None if embeddings is None else tensors[embeddings]
        if moves and given is not None:
            self._moving[number] = given.requires_grad_(True)
        with torch.set_grad_enabled(moves):
            self._states[number] = self._model.encode_user(users, given)

    def _candidates_at(self, place: int | list[int], tensors: list[Tensor]) -> Candidates:
        if isinstance(place, int):
            return self._candidates[place]
        items, ids, mask, words = (tensors[at] for at in place)
        return Candidates(items, Tokens(ids, mask, words))

    @torch.no_grad()
    def _tokenize(self, header: dict[str, Any], tensors: list[Tensor]) -> Answer:
        return {}, _parts(self._model.tokenize(header["texts"]))

    @torch.no_grad()
    def _catalog_tokens(self, header: dict[str, Any], tensors: list[Tensor]) -> Answer:
        return {}, _parts(self._model.catalog_tokens())

    def _tokens(self, header: dict[str, Any], tensors: list[Tensor]) -> Answer:
        return {}, _parts(self._candidates_at(header["candidates_at"], tensors).tokens)

    @torch.no_grad()
    def _embed(self, header: dict[str, Any], tensors: list[Tensor]) -> Answer:
        candidates = self._candidates_at(header["candidates_at"], tensors)
        tokens = _parts(candidates.tokens) if header["tokens"] else ()
        return {}, (self._model.embed(candidates), *tokens)

    @torch.no_grad()
    def _embed_history(self, header: dict[str, Any], tensors: list[Tensor]) -> Answer:
        return {}, (self._model.embed_history(Users(*tensors)),)

    def _score(self, header: dict[str, Any], tensors: list[Tensor]) -> Answer:
        number = header["graph"]
        self._graph.clear()
        embeddings = None if header["embeddings"] is None else tensors[header["embeddings"]]
        if embeddings is not None and header["embeddings_move"]:
            embeddings.requires_grad_(True)
        with torch.set_grad_enabled(number is not None):
            first, *others = (self._states[at] for at in header["encodings"])
            state = first.joined(*others) if others else first
            state = state if header["rows"] is None else state.select(tensors[header["rows"]])
            scores = self._model.score(state, self._candidates_at(header["candidates_at"], tensors), embeddings)
        if number is None:
            return {}, (scores,)
        inputs = [embeddings] if embeddings is not None and embeddings.requires_grad else []
        inputs += [self._moving[moving] for moving in header["moving"]]
        gradients: Sequence[Tensor | None] = [None] * len(inputs)
        if scores.requires_grad:
            self._graph[number] = scores, inputs
            gradients = torch.autograd.grad(
                scores, inputs, torch.ones_like(scores), retain_graph=True, allow_unused=True
            )
        return {"differentiable": scores.requires_grad}, (scores, *_or_zeros(gradients, inputs))

    def _backward(self, header: dict[str, Any], tensors: list[Tensor]) -> Answer:
        scores, inputs = self._graph.pop(header["graph"])
        found = torch.autograd.grad(scores, inputs, tensors[0].to(scores.dtype), allow_unused=True)
        return {}, _or_zeros(found, inputs)

    def _weights(self, header: dict[str, Any], tensors: list[Tensor]) -> Answer:
        return {"weights": weights_hash(self._model)}, ()


def _or_zeros(gradients: Sequence[Tensor | None], inputs: Sequence[Tensor]) -> list[Tensor]:
    """The gradients, zero where the graph does not reach an input."""
    return [torch.zeros_like(i) if g is None else g for i, g in zip(inputs, gradients, strict=True)]


def _parts(tokens: Tokens) -> tuple[Tensor, Tensor, Tensor]:
    return tokens.ids, tokens.mask, tokens.word_of_token

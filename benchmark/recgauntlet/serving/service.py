"""The HTTP service: FastAPI routes over a ranker and a tripwire."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from recgauntlet.core.escape import shortened, visible
from recgauntlet.serving.card import ModelCard
from recgauntlet.serving.guard import App, Guard
from recgauntlet.serving.limits import Limits, RequestError
from recgauntlet.serving.messages import (
    Distances,
    ErrorAnswer,
    Health,
    ModelName,
    Problem,
    RankAnswer,
    RankRequest,
    TextOf,
    TripwireRequest,
)
from recgauntlet.serving.ranker import Ranker
from recgauntlet.serving.tripwire import Tripwire
from recgauntlet.serving.worker import Busy, Worker

_SEE = "send what /openapi.json describes"
_ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorAnswer, "description": description}
    for status, description in {
        400: "The body is no JSON.",
        408: "The body did not come in time.",
        413: "The body is too large.",
        421: "The service does not go by this name.",
        422: "Something in the request is wrong; the answer names the field and the remedy.",
        500: "The service failed; its log says where.",
        503: "Too many requests wait, or the answer took too long.",
    }.items()
}
_PLAIN: dict[int | str, dict[str, Any]] = {status: _ERRORS[status] for status in (408, 413, 421, 500)}


def make_service(
    ranker: Ranker, card: ModelCard, limits: Limits, tripwire: Tripwire | None, hosts: frozenset[str] | None
) -> App:
    """The ASGI application. `tripwire`: None where the service has none. `hosts`: see `Guard`."""
    worker = Worker(limits)
    name = ModelName(**{field: getattr(card, field) for field in ModelName.model_fields})

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        worker.close()

    app = FastAPI(
        title="RecGauntlet",
        description="Ranks candidates for a history with one trained model.",
        version=version("recgauntlet"),
        docs_url=None,  # these pages load scripts from elsewhere
        redoc_url=None,
        lifespan=lifespan,
    )
    _answer_errors(app)

    @app.get("/health", responses=_PLAIN)
    async def health() -> Health:
        """Whether the service can answer, and how many requests wait."""
        return Health(status="ok", waiting=worker.waiting)

    @app.get("/card", responses=_PLAIN)
    async def model_card() -> ModelCard:
        """Which model this is, and what its row on the leaderboard says of it."""
        return card

    @app.post("/rank", responses=_ERRORS)
    async def rank(request: RankRequest) -> RankAnswer:
        """Rank candidates for a history, best first."""
        if request.tripwire and tripwire is None:
            raise _no_tripwire()

        def work() -> RankAnswer:
            ranking = ranker.rank(request.history, request.candidates, request.user, request.top)
            found = None
            if request.tripwire and tripwire is not None:
                given = [
                    (place, TextOf(text=candidate.text, item=candidate.item))
                    for place, candidate in enumerate(request.candidates)
                    if candidate.text is not None
                ]
                found = tripwire.distances(request.history, given)
            return RankAnswer(model=name, ranking=ranking, tripwire=found)

        return await worker.run(work)

    @app.post("/tripwire", responses=_ERRORS)
    async def distances(request: TripwireRequest) -> Distances:
        """How far a history and texts are from what the model has seen."""
        if tripwire is None:
            raise _no_tripwire()
        wire = tripwire
        return await worker.run(lambda: wire.distances(request.history, list(enumerate(request.texts))))

    _state_limits(app, ranker)
    return Guard(app, limits, hosts)


def _no_tripwire() -> RequestError:
    return RequestError(
        "the service has no tripwire", field="tripwire", remedy="start it with recgauntlet serve --tripwire"
    )


def _answer_errors(app: FastAPI) -> None:
    """One form for all errors. None repeats values that were sent."""

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        first: Mapping[str, Any] = error.errors()[0]
        if first["type"] == "json_invalid":
            return _error(400, "the body is no JSON", None, _SEE)
        return _error(422, first["msg"], ".".join(str(part) for part in first["loc"][1:]) or None, _SEE)

    @app.exception_handler(RequestError)
    async def refused(_: Request, error: RequestError) -> JSONResponse:
        return _error(422, error.problem, error.field, error.remedy)

    @app.exception_handler(Busy)
    async def busy(_: Request, error: Busy) -> JSONResponse:
        return _error(503, str(error), None, "try again later, or with fewer candidates", {"Retry-After": "1"})

    @app.exception_handler(HTTPException)
    async def http(_: Request, error: HTTPException) -> JSONResponse:
        return _error(error.status_code, str(error.detail), None, _SEE, error.headers)

    @app.exception_handler(Exception)
    async def failed(_: Request, error: Exception) -> JSONResponse:
        return _error(500, "the service failed", None, "report the line in its log that says where")


def _error(
    status: int, problem: str, field: str | None, remedy: str, headers: Mapping[str, str] | None = None
) -> JSONResponse:
    place = None if field is None else shortened(visible(field))  # names of fields may be the sender's
    content = ErrorAnswer(error=Problem(problem=problem, field=place, remedy=remedy))
    return JSONResponse(content.model_dump(), status, headers=None if headers is None else dict(headers))


def _state_limits(app: FastAPI, ranker: Ranker) -> None:
    """Put this service's limits into its OpenAPI."""
    parts = app.openapi()["components"]["schemas"]
    parts["RankRequest"]["properties"]["history"]["maxItems"] = ranker.history_length
    parts["RankRequest"]["properties"]["candidates"]["maxItems"] = ranker.limits.candidates
    parts["TripwireRequest"]["properties"]["texts"]["maxItems"] = ranker.limits.texts
    parts["RankRequest"]["properties"]["user"]["anyOf"][0]["maximum"] = ranker.user_count - 1
    for schema in (parts["TextOf"]["properties"]["text"], parts["Candidate"]["properties"]["text"]["anyOf"][0]):
        schema["maxLength"] = ranker.limits.text

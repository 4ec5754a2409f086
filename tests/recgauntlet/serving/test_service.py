"""The service answers, refuses and logs as its OpenAPI and documentation say."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from served_models import built, card_of
from starlette.testclient import TestClient

from recgauntlet.core.recommender import Recommender
from recgauntlet.serving.guard import Guard, Message, Scope
from recgauntlet.serving.limits import Limits
from recgauntlet.serving.messages import Candidate, ErrorAnswer
from recgauntlet.serving.ranker import Ranker
from recgauntlet.serving.service import make_service
from recgauntlet.serving.tripwire import Tripwire
from recgauntlet.serving.worker import Busy, Worker
from recgauntlet.testing.tiny import HISTORY, tiny_data

LIMITS = Limits(candidates=20, texts=5, text=60, body=2_000, seconds=20, waiting=4)
RANK = {"history": ["item1"], "candidates": [{"item": "item3"}, {"item": "item9"}]}


@pytest.fixture(scope="module")
def ranker() -> Ranker:
    data = tiny_data()
    return Ranker(built("nrms", data), data, LIMITS)


@pytest.fixture(scope="module")
def client(ranker: Ranker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RECGAUNTLET_CACHE", str(tmp_path_factory.mktemp("cache")))
        wire = Tripwire(tiny_data(), ranker)
    with TestClient(make_service(ranker, card_of("nrms"), LIMITS, wire, None), raise_server_exceptions=True) as client:
        yield client


def problem_of(answer: Any, status: int) -> ErrorAnswer:
    """The error of an answer, which must have this status."""
    assert answer.status_code == status, answer.text
    return ErrorAnswer.model_validate(answer.json())


def test_candidates_are_ranked(client: TestClient, ranker: Ranker) -> None:
    answer = client.post("/rank", json=RANK | {"top": 1})
    assert answer.status_code == 200
    expected = ranker.rank(["item1"], [Candidate(item="item3"), Candidate(item="item9")])
    assert answer.json()["ranking"] == [expected[0].model_dump()]
    assert answer.json()["model"]["model"] == "nrms"
    assert answer.json()["tripwire"] is None


def test_the_tripwire_answers_beside_a_ranking_and_alone(client: TestClient) -> None:
    asked = RANK | {"candidates": [{"item": "item3"}, {"item": "item9", "text": "harbor"}], "tripwire": True}
    beside = client.post("/rank", json=asked).json()["tripwire"]
    assert [one["text"] for one in beside["texts"]] == [1], "catalog texts have no distance"
    alone = client.post("/tripwire", json={"history": ["item1"], "texts": [{"item": "item9", "text": "harbor"}]}).json()
    assert alone["history"] == beside["history"]
    assert alone["texts"][0] == beside["texts"][0] | {"text": 0}
    unknown = client.post("/tripwire", json={"history": ["nowhere"]}).json()["history"]
    assert unknown["unknown"] == 1


def test_the_card_and_the_limits_can_be_asked_for(client: TestClient) -> None:
    assert client.get("/health").json() == {"status": "ok", "waiting": 0}
    assert client.get("/card").json() == card_of("nrms").model_dump(mode="json")
    parts = client.get("/openapi.json").json()["components"]["schemas"]
    asked = parts["RankRequest"]["properties"]
    assert asked["history"]["maxItems"] == HISTORY
    assert asked["top"]["anyOf"][0]["minimum"] == 1
    assert asked["user"]["anyOf"][0] == {"type": "integer", "minimum": 0, "maximum": 31}
    assert asked["candidates"]["maxItems"] == LIMITS.candidates


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ("[", 400, None),
        ("[" * 1_900, 400, None),
        ("null", 422, None),
        ({"history": []}, 422, "candidates"),
        (RANK | {"history": "item1"}, 422, "history"),
        (RANK | {"history": [7]}, 422, "history.0"),
        (RANK | {"history": ["nowhere"]}, 422, "history.0"),
        (RANK | {"history": ["item1"] * (HISTORY + 1)}, 422, "history"),
        (RANK | {"candidates": [{"item": "item1"}] * 21}, 422, "candidates"),
        (RANK | {"candidates": [{"item": "item1", "price": 1}]}, 422, "candidates.0.price"),
        (RANK | {"candidates": [{"text": ""}]}, 422, "candidates.0.text"),
        ('{"history": [], "candidates": [{"text": "\\ud800"}]}', 422, "candidates.0.text"),
        (RANK | {"user": -1}, 422, "user"),
        (RANK | {"user": 1e300}, 422, "user"),
        ('{"history": [], "candidates": [{"item": "item1"}], "user": 1e999}', 422, "user"),
        (RANK | {"top": 0}, 422, "top"),
        (RANK | {"top": True}, 422, "top"),
        (RANK | {"top": "5"}, 422, "top"),
        (RANK | {"tripwire": 1}, 422, "tripwire"),
        (RANK | {"more" * 100: 1}, 422, "…"),
    ],
)
def test_bad_requests_are_refused_with_a_remedy(client: TestClient, body: Any, status: int, field: str | None) -> None:
    content = body if isinstance(body, str) else json.dumps(body)
    found = problem_of(client.post("/rank", content=content, headers={"content-type": "application/json"}), status)
    assert (field in (found.error.field or "")) if field == "…" else found.error.field == field
    assert found.error.remedy


def test_other_errors_have_the_same_form(client: TestClient) -> None:
    assert "OpenAPI" not in problem_of(client.get("/nowhere"), 404).error.problem
    answer = client.put("/rank", json=RANK)
    problem_of(answer, 405)
    assert answer.headers["allow"] == "POST"
    problem_of(client.post("/rank", content=json.dumps(RANK), headers={"content-type": "text/plain"}), 422)


def test_a_large_body_is_refused_whether_it_states_its_length_or_not(client: TestClient) -> None:
    body = json.dumps(RANK | {"history": ["x" * 3_000]}).encode()
    assert problem_of(client.post("/rank", content=body), 413).error.problem == "the body is larger than 2,000 bytes"
    problem_of(client.post("/rank", content=iter([body[:1_500], body[1_500:]])), 413)


def test_a_service_without_a_tripwire_says_so(ranker: Ranker) -> None:
    client = TestClient(make_service(ranker, card_of("nrms"), LIMITS, None, None))
    for path, body in (("/tripwire", {}), ("/rank", RANK | {"tripwire": True})):
        assert "--tripwire" in problem_of(client.post(path, json=body), 422).error.remedy


def test_other_names_of_the_address_are_refused(ranker: Ranker) -> None:
    service = make_service(ranker, card_of("nrms"), LIMITS, None, frozenset({"127.0.0.1", "[::1]"}))
    for base in ("http://127.0.0.1:9", "http://[::1]:9", "http://127.0.0.1"):
        assert TestClient(service, base_url=base).get("/health").status_code == 200
    for base in ("http://evil.example:9", "http://127.0.0.1.evil.example"):
        problem_of(TestClient(service, base_url=base).get("/health"), 421)


class Failing(Ranker):
    """A fault whose message quotes the request."""

    def rank(self, history: Any, *rest: Any) -> Any:
        raise ValueError(f"secret {history}")


def test_neither_the_log_nor_an_answer_holds_what_was_sent(ranker: Ranker, caplog: pytest.LogCaptureFixture) -> None:
    data = tiny_data()
    service = make_service(Failing(ranker.model, data, LIMITS), card_of("nrms"), LIMITS, None, None)
    client = TestClient(service, raise_server_exceptions=False)
    with caplog.at_level(logging.INFO):
        answer = client.post("/rank", json=RANK | {"history": ["item1secret"]})
        client.get("/secret?text=secret")
        client.post("/rank", json=RANK | {"secret": "secret"})
    assert "secret" not in problem_of(answer, 500).error.problem
    ours = [record for record in caplog.records if not record.name.startswith("httpx")]  # the client's own
    lines = [record.getMessage() for record in ours]
    assert not [line for line in lines if "secret" in line]
    assert not [record for record in ours if record.exc_info]
    assert lines[0].startswith("failed: ValueError (at ")
    assert [line.rpartition(" ")[0].rpartition(" ")[0] for line in lines[1:]] == [
        "POST /rank 500",
        "GET no route 404",
        "POST /rank 422",
    ]


def asked(app: Guard, receive: Any) -> list[Message]:
    """What the application sends to a POST whose body `receive` gives."""
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    scope: Scope = {"type": "http", "method": "POST", "path": "/rank", "headers": []}
    asyncio.run(app(scope, receive, send))
    return sent


def test_a_body_that_never_comes_is_given_up() -> None:
    async def receive() -> Message:
        return await asyncio.Event().wait() and {}

    async def unreachable(*_: Any) -> None:
        raise AssertionError

    start, body = asked(Guard(unreachable, Limits(seconds=0.01), None), receive)
    assert start["status"] == 408
    assert (b"connection", b"close") in start["headers"]
    assert json.loads(body["body"])["error"]["remedy"]


def test_a_slow_answer_is_given_up_and_the_queue_is_bounded() -> None:
    go = threading.Event()
    worker = Worker(Limits(seconds=0.01, waiting=1))

    async def ask() -> None:
        for _ in range(2):
            with pytest.raises(Busy, match="no answer after"):
                await worker.run(go.wait)
        assert worker.waiting == 1, "the one that has begun; the other was dropped"
        begun = asyncio.create_task(worker.run(go.wait))
        await asyncio.sleep(0)
        with pytest.raises(Busy, match="are there already"):
            await worker.run(go.wait)
        go.set()
        with contextlib.suppress(Busy):  # it had a hundredth of a second
            await begun
        assert await Worker(Limits()).run(lambda: 3) == 3

    try:
        asyncio.run(ask())
    finally:
        go.set()
        worker.close()


def test_faults_of_the_work_reach_the_caller() -> None:
    def fail() -> Recommender:
        raise KeyError("x")

    with pytest.raises(KeyError):
        asyncio.run(Worker(Limits()).run(fail))

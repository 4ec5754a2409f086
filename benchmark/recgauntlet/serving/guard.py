"""What stands before the service: which hosts it answers to, how large and how slow a request may be, and the log."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from recgauntlet.evaluation.robustness import kind_and_place
from recgauntlet.serving.limits import Limits

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

LOG = logging.getLogger("recgauntlet.serving")
"""Method, route, status and milliseconds of each request: nothing that a request or an answer holds."""


class _Refused(Exception):  # noqa: N818  caught here alone
    def __init__(self, status: int, problem: str, remedy: str) -> None:
        self.status, self.problem, self.remedy = status, problem, remedy


class Guard:
    """An ASGI application around `app`, to which it hands whole bodies.

    hosts
        Names that a request may call the service by; None for any. A web page that a browser on this machine opens can
        reach a loopback address by a name of its own (DNS rebinding).
    """

    def __init__(self, app: App, limits: Limits, hosts: frozenset[str] | None) -> None:
        self._app = app
        self._limits = limits
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request; other kinds of connection go to the application as they are."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun, status = time.monotonic(), 0

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
            self._check_host(headers.get("host", ""))
            body = await self._body(headers, receive)
            await self._app(scope, _once(body, receive), noted)
        except _Refused as refused:
            await _answer(noted, refused.status, refused.problem, refused.remedy)
        except Exception as fault:  # its message may quote texts of the data
            LOG.error("failed: %s", kind_and_place(fault))
            if not status:
                await _answer(noted, 500, "the service failed", "report the line in its log that says where")
        route = getattr(scope.get("route"), "path", "no route")
        LOG.info("%s %s %d %.1f ms", scope["method"], route, status, 1000 * (time.monotonic() - begun))

    def _check_host(self, header: str) -> None:
        name = header.rpartition(":")[0] if header.rpartition(":")[2].isdecimal() else header
        if self._hosts is not None and name.lower() not in self._hosts:
            raise _Refused(421, "the service does not go by this name", "call it by the address that it printed")

    async def _body(self, headers: dict[str, str], receive: Receive) -> bytes:
        """The whole body, within the limits."""
        most = self._limits.body
        if headers.get("content-length", "").isdecimal() and int(headers["content-length"]) > most:
            raise _too_large(most)
        parts, size = [], 0
        try:
            async with asyncio.timeout(self._limits.seconds):
                while True:
                    message = await receive()
                    parts.append(message.get("body", b""))
                    size += len(parts[-1])
                    if size > most:
                        raise _too_large(most)
                    if not message.get("more_body", False):
                        return b"".join(parts)
        except TimeoutError:
            raise _Refused(408, f"the body did not come within {self._limits.seconds:g} s", "send it at once") from None


def _too_large(most: int) -> _Refused:
    return _Refused(413, f"the body is larger than {most:,} bytes", "send fewer candidates in each request")


def _once(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives the body, then what else comes."""
    given = False

    async def once() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return once


async def _answer(send: Send, status: int, problem: str, remedy: str) -> None:
    content = json.dumps({"error": {"problem": problem, "field": None, "remedy": remedy}}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode())]
    if status in (408, 413):
        headers.append((b"connection", b"close"))  # the rest of the body is not read
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})

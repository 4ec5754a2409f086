"""A model served by a thread of this process, for tests of the connection and of what is asked over it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from typing import Any

import torch

from recgauntlet.core.recommender import Recommender
from recgauntlet.runner.remote.client import Client
from recgauntlet.runner.remote.line import Line
from recgauntlet.runner.remote.recommender import About, RemoteRecommender
from recgauntlet.runner.remote.server import ModelServer, answer


def connect(serve: Callable[[Line], None], ended: str = "", refused: Callable[[str], None] = print) -> Client:
    """A client of what `serve` answers in a thread."""
    mine, theirs = socket.socketpair()

    def run() -> None:
        line = Line(theirs)
        serve(line)
        line.close()

    threading.Thread(target=run, daemon=True).start()
    return Client(Line(mine), lambda: ended, refused)


def remote(model: Recommender, tamper: Callable[[Line], Any] = lambda line: line) -> RemoteRecommender:
    """`model` behind a connection, whose other end `tamper` may replace."""
    server = ModelServer(model.eval().requires_grad_(False), None, sum(p.numel() for p in model.parameters()))
    served = server.described()
    about = About(model.catalog, model.token_length, torch.device("cpu"), served, model.recipe, "f" * 64)
    return RemoteRecommender(about, lambda: connect(lambda line: answer(tamper(line), server.calls)))

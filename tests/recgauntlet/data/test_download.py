from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from recgauntlet.core.errors import OutputError
from recgauntlet.data.download import download
from recgauntlet.data.sources import MirrorError

BODY = bytes(range(256)) * 2000
SHA256 = hashlib.sha256(BODY).hexdigest()


@dataclass
class Server:
    """A file server that breaks off after `stop_after` bytes where that is set, and counts the requests."""

    stop_after: int | None = None
    status: int | None = None
    requests: int = 0
    url: str = ""


@pytest.fixture
def server() -> Iterator[Server]:
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.requests += 1
            if state.status is not None:
                self.send_error(state.status)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(BODY)))
            self.end_headers()
            self.wfile.write(BODY[: state.stop_after])

        def log_message(self, *_: object) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    state.url = f"http://127.0.0.1:{http.server_address[1]}/toys.zip"
    thread = threading.Thread(target=http.serve_forever, daemon=True)
    thread.start()
    yield state
    http.shutdown()
    http.server_close()
    thread.join()


def test_a_download_is_kept_and_not_repeated(server: Server, tmp_path: Path) -> None:
    first = download(server.url, tmp_path, sha256=SHA256)
    assert first.read_bytes() == BODY
    assert download(server.url, tmp_path, sha256=SHA256, offline=True) == first
    assert download(server.url, tmp_path) == first
    assert server.requests == 1
    assert [path.name for path in tmp_path.iterdir()] == ["toys.zip"]


def test_a_download_that_broke_off_is_not_kept(server: Server, tmp_path: Path) -> None:
    server.stop_after = 200_000
    with pytest.raises(MirrorError, match="cannot be fetched"):
        download(server.url, tmp_path)
    assert list(tmp_path.iterdir()) == []
    server.stop_after = None
    assert download(server.url, tmp_path, sha256=SHA256).read_bytes() == BODY


def test_a_file_of_another_hash_is_not_kept(server: Server, tmp_path: Path) -> None:
    with pytest.raises(MirrorError, match="another hash"):
        download(server.url, tmp_path, sha256="0" * 64)
    assert list(tmp_path.iterdir()) == []


def test_an_error_of_the_server_is_told(server: Server, tmp_path: Path) -> None:
    server.status = 404
    with pytest.raises(MirrorError, match="HTTP status 404"):
        download(server.url, tmp_path)


def test_a_server_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(MirrorError, match="cannot be fetched"):
        download("http://127.0.0.1:9/toys.zip", tmp_path)


def test_offline_opens_no_connection(server: Server, tmp_path: Path) -> None:
    with pytest.raises(MirrorError, match="--offline"):
        download(server.url, tmp_path, offline=True)
    assert server.requests == 0


def test_a_place_that_cannot_be_written_is_told(server: Server, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where a directory should be")
    with pytest.raises(OutputError, match="cannot be written"):
        download(server.url, tmp_path / "cache")

"""A local server that answers like a Hugging Face hub, as far as models are downloaded and pushed.

Small files are answered directly. Files of Git LFS (here all safetensors) are redirected to another host, as the hub
does to its storage, with the headers that huggingface_hub reads: X-Repo-Commit, X-Linked-ETag, X-Linked-Size.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

import pytest

TOKEN = "hf_of_this_test"


class FakeHub(ThreadingHTTPServer):
    """`repositories`: the files of every commit; `instead`: what is answered for a path in place of its content."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repositories: dict[str, dict[str, dict[str, bytes]]] = {}
        self.private: set[str] = set()
        self.storage: dict[str, bytes] = {}
        self.instead: dict[str, bytes] = {}
        self.is_login_page = False
        self.requests: list[str] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def commit(self, repository: str, files: dict[str, bytes]) -> str:
        """Add a commit; its hash."""
        commits = self.repositories.setdefault(repository, {})
        last = list(commits.values())[-1] if commits else {}
        revision = hashlib.sha1(f"{repository}/{len(commits)}".encode()).hexdigest()
        commits[revision] = last | files
        return revision


class _Handler(BaseHTTPRequestHandler):
    server: FakeHub
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing is printed."""

    def do_HEAD(self) -> None:
        self._get()

    def do_GET(self) -> None:
        self._get()

    def do_PUT(self) -> None:
        content = self._body()
        sha = self.path.rsplit("/", 1)[-1]
        assert hashlib.sha256(content).hexdigest() == sha
        self.server.storage[sha] = content
        self._answer(200)

    def do_POST(self) -> None:
        hub, body = self.server, self._body()
        hub.requests.append(f"POST {self.path}")
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self._answer(401, b"{}")
        elif self.path == "/api/repos/create":
            wanted = json.loads(body)
            name = f"{wanted['organization']}/{wanted['name']}"
            if wanted.get("private") or wanted.get("visibility") == "private":
                hub.private.add(name)
            known = name in hub.repositories
            hub.repositories.setdefault(name, {})
            self._json({"url": f"{hub.address}/{name}", "name": name}, 409 if known else 200)
        elif self.path == "/api/validate-yaml":
            self._json({"errors": [], "warnings": []})
        elif "/preupload/" in self.path:
            files = [
                {"path": file["path"], "uploadMode": _mode(file["path"]), "shouldIgnore": False}
                for file in json.loads(body)["files"]
            ]
            self._json({"files": files})
        elif self.path.endswith("/info/lfs/objects/batch"):
            objects = [
                one | {"actions": {"upload": {"href": f"{hub.address}/storage/{one['oid']}"}}}
                for one in json.loads(body)["objects"]
            ]
            self._json({"transfer": "basic", "objects": objects})
        elif "/commit/" in self.path:
            name = self.path.removeprefix("/api/models/").partition("/commit/")[0]
            files = {}
            for line in map(json.loads, body.splitlines()):
                value = line["value"]
                if line["key"] == "file":
                    files[value["path"]] = base64.b64decode(value["content"])
                elif line["key"] == "lfsFile":
                    files[value["path"]] = hub.storage[value["oid"]]
            revision = hub.commit(name, files)
            self._json({"commitUrl": f"{hub.address}/{name}/commit/{revision}", "commitOid": revision})
        else:
            self._answer(404)

    def _get(self) -> None:
        hub = self.server
        hub.requests.append(f"{self.command} {self.path}")
        if hub.is_login_page:
            self._answer(200, b"<!doctype html><title>Log in</title>", {"Content-Type": "text/html"})
        elif self.path.startswith("/storage/"):
            self._answer(200, hub.storage[self.path.rsplit("/", 1)[-1]])
        else:
            name, _, rest = self.path.lstrip("/").partition("/resolve/")
            revision, _, path = unquote(rest).partition("/")
            self._resolve(name, revision, path)

    def _resolve(self, name: str, revision: str, path: str) -> None:
        hub = self.server
        commits = hub.repositories.get(name)
        if commits is None or (name in hub.private and self.headers.get("Authorization") != f"Bearer {TOKEN}"):
            self._answer(401, headers={"X-Error-Code": "RepoNotFound"})
        elif revision not in commits:
            self._answer(404, headers={"X-Error-Code": "RevisionNotFound"})
        elif path not in commits[revision]:
            self._answer(404, headers={"X-Error-Code": "EntryNotFound", "X-Repo-Commit": revision})
        else:
            content = hub.instead.get(path, commits[revision][path])
            sha = hashlib.sha256(content).hexdigest()
            headers = {"X-Repo-Commit": revision}
            if _mode(path) == "regular":
                self._answer(200, content, headers | {"ETag": f'"{sha}"'})
            else:
                hub.storage[sha] = content
                headers |= {"X-Linked-ETag": f'"{sha}"', "X-Linked-Size": str(len(content))}
                self._answer(302, headers=headers | {"Location": f"http://localhost:{hub.server_port}/storage/{sha}"})

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _json(self, content: object, code: int = 200) -> None:
        self._answer(code, json.dumps(content).encode(), {"Content-Type": "application/json"})

    def _answer(self, code: int, content: bytes = b"", headers: dict[str, str] | None = None) -> None:
        self.send_response(code)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


def _mode(path: str) -> str:
    return "lfs" if path.endswith(".safetensors") else "regular"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """A hub in place of huggingface.co, for whoever is logged in with TOKEN."""
    from huggingface_hub import constants

    server = FakeHub()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    monkeypatch.setattr(constants, "ENDPOINT", server.address)
    monkeypatch.setattr(
        constants, "HUGGINGFACE_CO_URL_TEMPLATE", f"{server.address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    )
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_PROGRESS_BARS", True)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    yield server
    server.shutdown()
    server.server_close()
    thread.join()

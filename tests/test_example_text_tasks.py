"""The example of tasks without users: its package is found, its loaders read what they are given and say what is wrong,
and no text of the test period is known to training."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import ModuleType
from typing import Any

import pytest
from click.testing import CliRunner
from example_wheel import EXAMPLES, unpacked_wheel

from recgauntlet.cli import cli
from recgauntlet.core import plugins as registry
from recgauntlet.core.errors import DataError
from recgauntlet.core.files import downloads
from recgauntlet.core.task import SourceOptions, Task, find_task
from recgauntlet.data.prepare import prepare
from recgauntlet.data.validate import validate

NAMES = ("support_answer", "finance_sentiment")


@pytest.fixture(scope="module", autouse=True)
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(unpacked_wheel(EXAMPLES / "text-tasks", tmp_path_factory.mktemp("text-tasks")))
        registry._entries.cache_clear()
        yield
    registry._entries.cache_clear()
    for name in [name for name in sys.modules if name.startswith("recgauntlet_text_tasks")]:
        del sys.modules[name]


def module(name: str) -> ModuleType:
    find_task(name.replace("_", "-"))  # imports it
    return sys.modules[f"recgauntlet_text_tasks.{name}"]


def faq(count: int) -> str:
    entries = [
        {
            "question": f"How do I mend number {n}?",
            "rephr": [f"Number {n} is broken", "*"],
            "answer": [f"Turn it {n} times."],
        }
        for n in range(count)
    ]
    return json.dumps({"root": {"qapair": entries}})


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A directory with small files of the form that each task reads."""
    folder = tmp_path / "files"
    folder.mkdir()
    for name, first in (("train", 0), ("test", 300)):
        rows = [f'"Question {n}, of {n % 3}",intent_{n % 3}' for n in range(first, first + 100)]
        (folder / f"{name}.csv").write_text("\n".join(["text,category", *rows]) + "\n", encoding="utf-8")
    (folder / "stackExchange-FAQ.json").write_text(faq(20), encoding="utf-8")
    labels = ("positive", "neutral", "negative")
    statements = [f'{labels[n % 3]},"Profit of No {n} rose to {n} \xa3 ."' for n in range(240)]
    (folder / "all-data.csv").write_text("\n".join(["result,content", *statements]) + "\n", encoding="latin-1")
    return folder


def small(name: str) -> Task:
    """The task with a card for the small files."""
    task = find_task(name)
    track = task.card.track("standard")
    sizes = {
        "fingerprint": "",
        "tables": {},
        "train_pairs": 100,
        "valid_pairs": 15,
        "test_pairs": 15,
        "test_impressions": 15,
    }
    tracks = {"standard": track.model_copy(update=sizes)}
    return Task(task.card.model_copy(update={"tracks": tracks}), task.load)


@pytest.mark.parametrize("name", NAMES)
def test_an_installed_task_is_listed_and_says_that_it_is_no_recommender(name: str) -> None:
    name = name.replace("_", "-")
    listed = CliRunner().invoke(cli, ["list", "tasks"], env={"COLUMNS": "200"}, catch_exceptions=False)
    assert name in listed.output
    assert "No recommender: text matching" in find_task(name).card.description


@pytest.mark.parametrize("name", NAMES)
def test_test_texts_are_never_trained_on_and_labels_stand_in_histories(name: str, files: Path, tmp_path: Path) -> None:
    task, source = small(name.replace("_", "-")), SourceOptions(files, tmp_path / "cache", offline=True)
    validate(task.load(task.card, "standard", source), name)
    data = prepare(task, "standard", source)
    known = {*data.train.clicked.tolist(), *data.train.unclicked.tolist()}
    assert not known & {*data.test.clicked.tolist(), *data.test.unclicked.tolist()}
    kinds = data.catalog.categories
    for pairs in (data.train, data.valid, data.test):
        assert {kinds[item] for item in pairs.histories[:, -1].tolist()} == {"label"}
        assert {kinds[item] for item in [*pairs.clicked.tolist(), *pairs.unclicked.tolist()]} == {"text"}


def test_a_text_of_two_labels_is_left_out_and_rewordings_count(files: Path, tmp_path: Path) -> None:
    with (files / "train.csv").open("a", encoding="utf-8") as file:
        file.write('"Question 1, of 1",intent_2\n')
    task = small("support-answer")
    texts = task.load(task.card, "standard", SourceOptions(files, tmp_path)).items["text"].to_pylist()
    assert "Question 1, of 1" not in texts
    assert {"Question 2, of 2", "Number 3 is broken", "Turn it 3 times.", "intent 1"} <= set(texts)
    assert not any(text.strip() == "*" for text in texts)


@pytest.mark.parametrize(
    ("task", "name", "content", "problem"),
    [
        ("support-answer", "train.csv", "question,answer\na,b\n", "has no columns text and category"),
        ("support-answer", "stackExchange-FAQ.json", "{}", "is no StackFAQ"),
        ("finance-sentiment", "all-data.csv", "positive,a,b\n", "not two columns"),
        ("finance-sentiment", "all-data.csv", "great,Profit rose\n", "unknown label 'great'"),
        ("finance-sentiment", "all-data.csv", "positive,Profit rose\n", "has 1 texts"),
    ],
)
def test_a_damaged_file_is_told(files: Path, tmp_path: Path, task: str, name: str, content: str, problem: str) -> None:
    (files / name).write_text(content, encoding="utf-8")
    found = small(task)
    with pytest.raises(DataError, match=problem):
        found.load(found.card, "standard", SourceOptions(files, tmp_path))


@pytest.mark.parametrize("name", NAMES)
def test_without_the_files_every_place_that_was_tried_is_named(name: str, tmp_path: Path) -> None:
    task = find_task(name.replace("_", "-"))
    with pytest.raises(DataError, match=r"none was named \(--dir\)[\s\S]*--offline forbids it"):
        task.load(task.card, "standard", SourceOptions(None, tmp_path, offline=True))


def test_files_are_downloaded_once_and_their_hashes_checked(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            content = (files / self.path.rsplit("/", 1)[-1]).read_bytes()
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing is printed."""

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=http.serve_forever, daemon=True).start()
    finance, task = module("finance_sentiment"), small("finance-sentiment")
    monkeypatch.setattr(finance, "ADDRESS", f"http://127.0.0.1:{http.server_address[1]}/")
    source = SourceOptions(None, tmp_path / "cache")
    try:
        with pytest.raises(DataError, match="another hash than the card"):
            task.load(task.card, "standard", source)
        monkeypatch.setattr(finance, "SHA256", None)
        for _ in range(2):
            assert task.load(task.card, "standard", source).impressions is not None
    finally:
        http.shutdown()
        http.server_close()
    assert asked == ["/all-data.csv"] * 2
    assert (downloads(source.cache) / "finance-sentiment" / "all-data.csv").exists()

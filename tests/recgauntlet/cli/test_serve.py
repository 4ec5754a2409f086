"""`recgauntlet serve` end to end, and what it refuses to serve."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import requests
from command_line import Run
from command_line import call as call
from command_line import run as run

from recgauntlet import SourceOptions, load_data, load_model
from recgauntlet.serving.limits import Limits
from recgauntlet.serving.messages import Candidate
from recgauntlet.serving.ranker import Ranker

CELL = "tiny/nrms/pgd/0"


def test_a_trained_model_is_served_until_it_is_interrupted(
    finished_cells: Path, tiny_card: Path, tiny_cache: Path, tmp_path: Path
) -> None:
    source = SourceOptions(directory=None, cache=tiny_cache, offline=True)
    data = load_data(str(tiny_card), source=source)
    history = data.catalog.ids[:3]
    words = ["serve", f"{finished_cells}/{CELL}", "--task", str(tiny_card), "--port", "0", "--offline", "--tripwire"]
    environment = os.environ | {"RECGAUNTLET_CACHE": str(tiny_cache)}
    log = tmp_path / "log.txt"
    with (
        log.open("w", encoding="utf-8") as errors,
        subprocess.Popen(
            [sys.executable, "-m", "recgauntlet", *words],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env=environment,
        ) as process,
    ):
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            address = re.search(r"http://127\.0\.0\.1:\d+", line)
            assert address, line + log.read_text(encoding="utf-8")
            card = requests.get(f"{address[0]}/card", timeout=30).json()
            body = {"history": history[:2], "candidates": [{"item": history[2]}, {"text": "Grandmother"}]}
            answer = requests.post(f"{address[0]}/rank", json=body | {"tripwire": True}, timeout=30)
        finally:
            process.send_signal(signal.SIGINT)
            said, _ = process.communicate(timeout=60)
    assert process.returncode == 0, said
    assert "ended" in said
    assert card["row"]["address"].endswith(CELL)
    model = load_model(f"{finished_cells}/{CELL}", task=str(tiny_card), source=source, device="cpu")
    ranker = Ranker(model, data, Limits())
    expected = ranker.rank(history[:2], [Candidate(item=history[2]), Candidate(text="Grandmother")])
    assert [one["candidate"] for one in answer.json()["ranking"]] == [one.candidate for one in expected]
    assert answer.json()["ranking"][0]["score"] == pytest.approx(expected[0].score, rel=1e-4)
    assert answer.json()["tripwire"]["texts"][0]["unknown_words"] == 1.0
    logged = log.read_text(encoding="utf-8")
    assert "POST /rank 200" in logged
    assert "Grandmother" not in logged
    assert history[0] not in re.findall(r"[\w-]+", logged)


def test_a_port_that_is_taken_is_said_before_anything_is_loaded(run: Run) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        said = run("serve", "nowhere.safetensors", "--port", str(taken.getsockname()[1]), code=2)
    assert "--port 0 takes a free one" in said


def test_what_is_no_checkpoint_is_not_served(run: Run, tmp_path: Path) -> None:
    (tmp_path / "x.safetensors").write_bytes(b"no weights")
    assert "no readable checkpoint" in run("serve", "x.safetensors", "--port", "0", code=2)
    assert "no release" in run("serve", "nowhere/tiny/nrms/pgd/0", "--port", "0", code=2)

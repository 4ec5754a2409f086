"""The script for a round on a GPU, tried on the CPU with a tiny task."""

from __future__ import annotations

import importlib.util
import json
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

SCRIPT = Path(__file__).parents[3] / "tools" / "gpu_round.py"
SMALL = [f"nrms.{option}" for option in ("attention_size=8", "head_size=4", "heads=2", "word_size=8")]


@pytest.fixture
def script(tiny_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.setenv("RECGAUNTLET_CACHE", str(tiny_cache))
    spec = importlib.util.spec_from_file_location("gpu_round", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "gpu_round", module)
    spec.loader.exec_module(module)
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    yield module
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(deterministic)


def arguments(card: Path, out: Path, cells: str, minutes: float = 1.0) -> list[str]:
    options = [word for option in SMALL for word in ("--model-option", option)]
    named = ["--device", "cpu", "--minutes", str(minutes), "--task", str(card), "--cells", cells]
    return ["--out", str(out), *named, *options]


def test_a_round_brings_back_the_agreement_and_packed_records(
    script: ModuleType, tiny_card: Path, tmp_path: Path
) -> None:
    assert script.main(arguments(tiny_card, tmp_path, "nrms:none")) == 0
    (found,) = json.loads((tmp_path / "agreement.json").read_text())
    assert found["agrees"]
    assert found["same weights, relative gap"] == {"scores": 0.0, "gradients": 0.0}
    assert found["same training"]["cpu fp32"]["correlation with cpu"] == pytest.approx(1.0)
    with tarfile.open(tmp_path / "records.tar.xz") as packed:
        packed.extractall(tmp_path / "back", filter="data")
    records = [json.loads(path.read_text()) for path in sorted((tmp_path / "back" / "tiny").rglob("*.json"))]
    assert [(record["defense"]["name"], record["status"]) for record in records] == [("standard", "ok")]
    assert len(list((tmp_path / "back" / "checkpoints").rglob("*.safetensors"))) == 1


# the end may come while a file is read, which then is closed by the collector
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_round_stops_at_its_end_and_brings_back_what_there_is(
    script: ModuleType, tiny_card: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(script, "agreement", lambda spec: {"agrees": True})
    assert script.main(arguments(tiny_card, tmp_path, "nrms:none", minutes=0.01)) == 0
    with tarfile.open(tmp_path / "records.tar.xz") as packed:
        assert not [name for name in packed.getnames() if name.endswith(".json") and "checkpoints" not in name]


def test_no_cell_is_run_where_the_devices_disagree(
    script: ModuleType, tiny_card: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, calls = script._answers, []

    def other(model: Any, batch: Any) -> Any:
        calls.append(model)
        scores, gradients = plain(model, batch)
        return scores * (1.0 + 0.01 * (len(calls) > 1)), gradients

    monkeypatch.setattr(script, "_answers", other)
    assert script.main(arguments(tiny_card, tmp_path, "nrms:none")) == 1
    assert not json.loads((tmp_path / "agreement.json").read_text())[0]["agrees"]
    assert not (tmp_path / "records.tar.xz").exists()


def test_a_wrong_name_is_an_error_of_code_2(
    script: ModuleType, tiny_card: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert script.main(arguments(tiny_card, tmp_path, "nothing:none")) == 2
    assert "there is no model named 'nothing'" in capsys.readouterr().err

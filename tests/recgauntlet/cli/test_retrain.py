"""`recgauntlet retrain`: what it prints and writes, and when the old weights stay."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from command_line import Run
from tiny_task import make_spec

from recgauntlet.runner.retraining import Retraining

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def weights(tiny_card: Path, tiny_cache: Path, finished_cells: Path, tmp_path: Path) -> Path:
    return Path(
        shutil.copy(make_spec(tiny_card, finished_cells, tiny_cache).checkpoint_path, tmp_path / "old.safetensors")
    )


def say(reasons: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let that be what speaks against the new weights: one epoch on so little is as likely to collapse as not."""
    monkeypatch.setattr(Retraining, "worse", lambda self, most_lost: reasons)


def words(weights: Path, card: Path, *more: str) -> list[str]:
    common = ["--until", "2020-12-25", "--epochs", "1", "--device", "cpu", "--offline", "--task", str(card)]
    return ["retrain", str(weights), *common, *more]


def test_new_weights_are_written_beside_the_old_with_the_date(
    run: Run, weights: Path, tiny_card: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    say((), monkeypatch)
    before = weights.read_bytes()
    shown = run(*words(weights, tiny_card, "--out", str(tmp_path / "found.json")))
    new = tmp_path / "old-until-2020-12-25.safetensors"
    assert new.exists()
    assert weights.read_bytes() == before
    assert "history-perturbation" in shown
    assert "embedding (not ranked)" in shown
    content = json.loads((tmp_path / "found.json").read_text())
    assert content["window"]["until"] == "2020-12-25T00:00:00+00:00"
    assert [change["threat"] for change in content["changes"]] == [
        "",
        "history-perturbation",
        "title-rewrite",
        "embedding",
    ]
    assert "is there already" in run(*words(weights, tiny_card), code=2)


def test_old_weights_stay_where_robust_accuracy_fell(
    run: Run, weights: Path, tiny_card: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    say(("under a 3.0 points are lost",), monkeypatch)
    before = weights.read_bytes()
    shown = run(*words(weights, tiny_card, "--replace", "--out", str(tmp_path / "found.json")), code=1)
    assert "the old weights stay: under a 3.0 points are lost" in shown
    assert weights.read_bytes() == before
    assert sorted(path.name for path in tmp_path.glob("*.safetensors")) == ["old.safetensors"]
    assert json.loads((tmp_path / "found.json").read_text())["refused"] == ["under a 3.0 points are lost"]


def test_replace_writes_over_the_old_weights(
    run: Run, weights: Path, tiny_card: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    say((), monkeypatch)
    before = weights.read_bytes()
    assert f"new weights written to {weights}" in run(*words(weights, tiny_card, "--replace"))
    assert weights.read_bytes() != before


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        (["--until", "soon"], "neither an ISO date nor a share"),
        (["--until", "1999-01-01"], "is not between the end of the training so far"),
        (["--replace", "--to", "x.safetensors"], "give --to FILE or --replace"),
        (["--most-lost", "-1"], "--most-lost"),
    ],
)
def test_bad_input_is_told(run: Run, weights: Path, tiny_card: Path, more: list[str], problem: str) -> None:
    assert problem in run(*words(weights, tiny_card, *more), code=2)

"""`recgauntlet challenge`: what it prints and writes, that the record stays as it is, and how it refuses."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path

import pytest
from command_line import Run
from tiny_task import make_spec

from recgauntlet.records.best_known import read_best_known, write_best_known
from recgauntlet.records.io import read_records


@pytest.fixture
def run(run: Run, tiny_card: Path, test_plugins: Path) -> Run:
    """Runs `recgauntlet challenge` on the tiny task."""
    return partial(run, "challenge", "--task", tiny_card, "--device", "cpu", "--offline")


@pytest.fixture
def record(finished_cells: Path, tiny_card: Path, tiny_cache: Path, tmp_path: Path) -> Path:
    shutil.copytree(finished_cells, tmp_path / "out")
    return make_spec(tiny_card, tmp_path / "out", tiny_cache).record_path


def test_a_challenge_lies_beside_the_records_and_checks_out(run: Run, record: Path, tmp_path: Path) -> None:
    before = record.read_bytes()
    text = run(record, "--attack", "drop-one", "--all")
    path = tmp_path / "out" / "best_known" / "drop-one" / "tiny" / "standard" / record.name
    found = read_best_known(path)
    assert found.evidence
    assert str(path) in text
    assert "drop-one (recgauntlet-test-plugins 1.0)" in text
    robust = found.outcomes[0].robust.to_bool()
    left = robust & ~found.outcomes[0].broken.to_bool()
    (low,) = (line for line in text.splitlines() if line.startswith("history-perturbation  low"))
    assert f"{robust.mean():.1%}" in low
    assert f"{left.mean():.1%}" in low
    assert record.read_bytes() == before
    results = read_records(tmp_path / "out")
    assert (len(results.records), len(results.best_known), len(results.broken)) == (2, 1, 0)
    assert f"{len(found.evidence)} perturbed inputs: all inside the budget" in run("--check", path)


def test_options_and_choices_reach_the_attack_and_the_files_name(run: Run, record: Path, tmp_path: Path) -> None:
    words = ["--attack", "border-step", "--attack-option", "length=0.5", "--tier", "standard", "--threat", "embedding"]
    run(record, *words)
    path = tmp_path / "out" / "best_known" / "border-step+length=0.5" / "tiny" / "standard" / record.name
    found = read_best_known(path)
    assert found.attack.hyperparameters == {"length": 0.5}
    assert [outcome.tier for outcome in found.outcomes] == ["standard"]
    assert "--overwrite" in run(record, *words, code=2)
    run(record, *words, "--overwrite")
    run(record, *words, "--out", tmp_path / "elsewhere.json")
    assert read_best_known(tmp_path / "elsewhere.json").evidence == found.evidence


def test_evidence_that_does_not_check_out_ends_in_an_error_with_every_line(
    run: Run, record: Path, tmp_path: Path
) -> None:
    path = tmp_path / "found.json"
    run(record, "--attack", "drop-one", "--all", "--tier", "low", "--out", path)
    found = read_best_known(path)
    wrong = tuple(entry.model_copy(update={"edits": ()}) for entry in found.evidence)
    write_best_known(found.model_copy(update={"evidence": wrong}), path)
    weights = tmp_path / "out" / "checkpoints" / "tiny" / "standard" / f"{record.stem}.safetensors"
    text = run("--check", path, "--checkpoint", weights, code=2)
    assert text.count("does not fool the model") == len(wrong)
    assert f"{len(wrong)} of {len(wrong)} perturbed inputs do not check out" in text


def test_an_attack_that_fails_somewhere_says_so(run: Run, record: Path) -> None:
    text = run(record, "--attack", "crash", "--all")
    assert "FAILED title-rewrite, medium: ValueError" in text


@pytest.mark.parametrize(
    ("words", "remedy"),
    [
        ([], "give RECORD and --attack NAME, or --check FILE"),
        (["{record}"], "give RECORD and --attack NAME, or --check FILE"),
        (["{record}", "--attack", "drop-on"], "did you mean drop-one"),
        (["{record}", "--attack", "drop-one", "--attack-option", "pgd.steps=3"], "give options of: drop-one"),
        (["{record}", "--attack", "drop-one", "--threat", "embedding"], "choose among: history-perturbation"),
        (["{record}", "--attack", "drop-one", "--checkpoint", "none.safetensors"], "is no readable checkpoint"),
        (["none.json", "--attack", "drop-one"], "cannot be read"),
        (["--check", "{record}"], "is no best known attack"),
    ],
)
def test_a_wrong_call_is_refused_with_a_remedy(run: Run, record: Path, words: list[str], remedy: str) -> None:
    assert remedy in run(*(word.format(record=record) for word in words), code=2)


def test_missing_weights_are_named(run: Run, record: Path, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "out" / "checkpoints")
    text = run(record, "--attack", "drop-one", code=2)
    assert f"{record.stem}.safetensors" in text
    assert "--checkpoint" in text

"""`recgauntlet explain`: what it prints and writes, that texts of restricted data stay out, and how it refuses."""

from __future__ import annotations

import json
import shutil
from functools import partial
from pathlib import Path

import pytest
from command_line import Run
from tiny_task import make_spec, write_task

from recgauntlet.core.types import Edit
from recgauntlet.records.io import read_record, read_records, write_record
from recgauntlet.records.schema import RunRecord


@pytest.fixture
def run(run: Run, tiny_card: Path) -> Run:
    return partial(run, "explain", "--task", tiny_card, "--device", "cpu", "--offline")


@pytest.fixture
def record(finished_cells: Path, tiny_card: Path, tiny_cache: Path, tmp_path: Path) -> Path:
    shutil.copytree(finished_cells, tmp_path / "out")
    return make_spec(tiny_card, tmp_path / "out", tiny_cache).record_path


def first_evidence(record: Path, threat: str) -> int:
    return next(entry.example for entry in read_record(record).evidence if entry.threat == threat)


def test_without_an_example_the_edits_of_the_record_are_listed(run: Run, record: Path) -> None:
    text = run(record, "--threat", "title-rewrite", "--tier", "low")
    known = [e for e in read_record(record).evidence if (e.threat, e.tier) == ("title-rewrite", "low")]
    assert known
    assert text.count("title-rewrite") == len(known)
    assert "history-perturbation" not in text
    assert "no edits of texts or histories that match" in run(record, "--threat", "embedding")


@pytest.mark.parametrize("threat", ["title-rewrite", "history-perturbation"])
def test_an_edit_of_the_record_is_explained(run: Run, record: Path, tmp_path: Path, threat: str) -> None:
    example = first_evidence(record, threat)
    text = run(record, str(example), "--threat", threat, "--out", "why.json")
    assert f"test example {example}" in text
    assert "the edit changes the score by" in text
    assert "evidence of the record" in text
    assert "no smaller edit turns it" in text
    assert text.count(": complete: they sum to") == 2
    found = json.loads((tmp_path / "why.json").read_text())
    assert found["explained"]["digest"] == read_record(record).digest
    assert len(found["before"]["parts"]) == len(found["before"]["deletion"])
    assert (found["flip"]["score"] > 0) != found["clicked"] == (found["before"]["score"] > 0)
    for side in (found["before"], found["after"]):
        gradients = side["integrated_gradients"]
        whole = side["score"] - gradients["baseline_score"]
        assert sum(gradients["parts"]) + gradients["rest"] == pytest.approx(whole, abs=0.01 * (1 + abs(whole)))


def test_an_example_without_evidence_is_searched_as_the_record_was(run: Run, record: Path, tmp_path: Path) -> None:
    cell = read_record(record)
    entry = next(e for e in cell.evidence if e.threat == "title-rewrite" and e.attack != "transfer")
    write_record(cell.model_copy(update={"evidence": ()}), record)
    words = (record, str(entry.example), "--threat", "title-rewrite", "--tier", entry.tier, "--out", "why.json")
    assert f"found by {entry.attack})" in run(*words)
    found = json.loads((tmp_path / "why.json").read_text())
    assert [edit["new"] for edit in found["flip"]["edits"]] == [edit.new for edit in entry.edits]
    assert found["flip"]["score"] == pytest.approx(entry.score, abs=1e-5)


def test_a_decision_that_stands_is_said_to_stand(run: Run, record: Path) -> None:
    (outcome,) = (threat for threat in read_record(record).threats if threat.id == "title-rewrite")
    (standing, *_) = outcome.tiers[0].robust.to_bool().nonzero()[0].tolist()
    text = run(record, str(standing), "--threat", "title-rewrite", "--tier", "low")
    assert ("no edit was found that turns it" in text) != ("wrong" in text)


def test_texts_of_restricted_data_are_shown_and_not_written(run: Run, record: Path, tmp_path: Path) -> None:
    cell = read_record(record)
    example = first_evidence(record, "history-perturbation")
    bare = tuple(
        entry.model_copy(update={"before": (), "candidate": "", "edits": tuple(map(untitled, entry.edits))})
        for entry in cell.evidence
    )
    restricted = cell.model_copy(
        update={"task": cell.task.model_copy(update={"redistributable": False}), "evidence": bare}
    )
    write_record(RunRecord.model_validate(restricted.model_dump()), record)
    text = run(record, str(example), "--threat", "history-perturbation", "--out", "why.json")
    assert "without texts: the data may not be redistributed" in text
    written = (tmp_path / "why.json").read_text()
    found = json.loads(written)
    assert "parts" not in found["before"]
    assert "may not be redistributed" in run(record, str(example), "--publish", code=2)
    assert "candidate" not in found
    shown = next(line for line in text.splitlines() if "the candidate: " in line).partition("the candidate: ")[2]
    assert len(shown.split()) > 3, "the terminal shows the user's own copy"
    assert not [word for word in shown.split() if len(word) > 4 and word in written]


def test_a_published_explanation_lies_beside_the_record_and_is_its_evidence(run: Run, record: Path) -> None:
    example, cell = first_evidence(record, "history-perturbation"), read_record(record)
    text = run(record, str(example), "--threat", "history-perturbation", "--publish")
    out = record.parents[2]
    ((path, found),) = read_records(out).explanations
    assert path.parent == out / "explanations" / "tiny" / "standard"
    assert str(path) in text
    assert found.is_of(cell)
    assert found.evidence_in(cell) is not None
    assert (found.surface, found.example) == ("history", example)
    assert all(found.before.parts)
    known = {entry.example for entry in cell.evidence}
    other = next(number for number in range(40) if number not in known)
    assert "choose among" in run(record, str(other), "--publish", code=2)
    moved = tuple(entry.model_copy(update={"score": entry.score * 1.1}) for entry in cell.evidence)
    write_record(cell.model_copy(update={"evidence": moved}), record)
    words = (record, str(example), "--threat", "history-perturbation", "--publish")
    assert "other scores as evidence" in run(*words, code=2)


def untitled(edit: Edit) -> Edit:
    return edit.model_copy(update={"title": ""})


@pytest.mark.parametrize(
    ("words", "remedy"),
    [
        (["{record}", "40"], "give a number from 0 to 39"),
        (["{record}", "0", "--threat", "embedding"], "choose among: history-perturbation, title-rewrite"),
        (["{record}", "0", "--checkpoint", "none.safetensors"], "is no readable checkpoint"),
        (["{record}", "0", "--checkpoint", "{pgd}"], "give the record's own weights with --checkpoint"),
        (["none.json", "0"], "cannot be read"),
    ],
)
def test_a_wrong_call_is_refused_with_a_remedy(run: Run, record: Path, words: list[str], remedy: str) -> None:
    pgd = next(path for path in record.parents[2].rglob("nrms-pgd-*.safetensors"))
    assert remedy in run(*(word.format(record=record, pgd=pgd) for word in words), code=2)


def test_missing_weights_are_named(run: Run, record: Path, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "out" / "checkpoints")
    assert "--checkpoint" in run(record, "0", code=2)


def test_other_data_than_the_record_s_is_refused(run: Run, record: Path, tmp_path: Path) -> None:
    card = write_task(tmp_path / "other")
    takes = card.parent / "interactions.csv"
    takes.write_text(takes.read_text().replace("u3,", "u4,"))
    assert "does not belong to the record" in run("--task", card, record, "0", code=2)


def test_an_edit_that_does_not_check_out_is_refused(run: Run, record: Path) -> None:
    cell = read_record(record)
    changed = tuple(entry.model_copy(update={"edits": (), "before": (), "candidate": ""}) for entry in cell.evidence)
    write_record(cell.model_copy(update={"evidence": changed}), record)
    example = first_evidence(record, "title-rewrite")
    assert "does not turn the decision" in run(record, str(example), "--threat", "title-rewrite", code=2)

"""Best known attacks: what a challenge keeps, that its evidence stands on its own, and that tampering is told."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_task import make_spec

from recgauntlet.core.card import TIERS
from recgauntlet.core.errors import PluginError, RecordError
from recgauntlet.core.spec import CellSpec
from recgauntlet.core.types import Edit
from recgauntlet.records.best_known import BestKnown, broken_up_to, read_best_known, write_best_known
from recgauntlet.records.columns import BitColumn, FloatColumn
from recgauntlet.records.io import read_record, read_records, write_record
from recgauntlet.records.schema import RunRecord
from recgauntlet.runner.challenge import challenge
from recgauntlet.runner.recheck import Checked, recheck
from recgauntlet.runner.trained import Setup
from recgauntlet.threats.embedding import half_floats

Change = Callable[[dict[str, Any]], None]


@pytest.fixture(scope="module", autouse=True)
def _settings() -> Iterator[None]:
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(deterministic)


@dataclass(frozen=True)
class Cell:
    """A finished cell and the two commands on it."""

    spec: CellSpec
    record: RunRecord

    def challenge(self, attack: str, record: RunRecord | None = None, **more: Any) -> BestKnown:
        return challenge(record or self.record, self.spec.checkpoint_path, attack, self.setup, **more)

    def recheck(self, found: BestKnown, **more: Any) -> Checked:
        return recheck(found, self.spec.checkpoint_path, self.setup, **more)

    @property
    def setup(self) -> Setup:
        return Setup(lambda task: self.spec.source, self.spec.task, "cpu")


@pytest.fixture
def cell(tiny_card: Path, tiny_cache: Path, finished_cells: Path, test_plugins: Path) -> Cell:
    spec = make_spec(tiny_card, finished_cells, tiny_cache)
    return Cell(spec, read_record(spec.record_path))


def saved(found: BestKnown, folder: Path) -> Path:
    path = folder / "found.json"
    write_best_known(found, path)
    return path


def resealed(found: BestKnown, change: Change, folder: Path) -> BestKnown:
    """The file with a change, sealed again by whoever changed it, and read."""
    content = found.model_dump(mode="json")
    change(content)
    return read_best_known(saved(BestKnown.model_validate(content), folder))


ATTACKS = ("border-step", "one-more-word", "drop-one")


@pytest.mark.parametrize("attack", ATTACKS)
def test_every_broken_example_is_evidence_that_checks_out_from_the_file_alone(
    cell: Cell, attack: str, tmp_path: Path
) -> None:
    found = read_best_known(saved(cell.challenge(attack, examples="right"), tmp_path))
    broken = sum(int(outcome.broken.to_bool().sum()) for outcome in found.outcomes)
    assert broken == len(found.evidence) > 0
    assert cell.recheck(found) == Checked(broken, ())


@pytest.mark.parametrize("attack", ATTACKS)
def test_the_suites_survivors_are_attacked_and_lower_tiers_count_in_higher_ones(cell: Cell, attack: str) -> None:
    found = cell.challenge(attack)
    (threat,) = (threat for threat in cell.record.threats if threat.id == found.outcomes[0].threat)
    broken = np.zeros(len(threat.tiers[0].robust.to_bool()), dtype=bool)
    for outcome, tier in zip(found.outcomes, threat.tiers, strict=True):
        assert outcome.robust == tier.robust
        assert (outcome.attacked.to_bool() == (tier.robust.to_bool() & ~broken)).all()
        broken |= outcome.broken.to_bool()
        so_far = broken_up_to(found, outcome.threat, outcome.tier, TIERS)
        assert so_far is not None
        assert (so_far == broken).all()


def test_it_says_what_it_challenges_and_who_attacks(cell: Cell) -> None:
    found = cell.challenge("border-step", options=(("length", 0.5),), tiers=("standard",), examples="right")
    assert found.challenged.digest == cell.record.digest
    assert found.challenged.weights_sha256 == cell.record.weights_sha256
    assert found.challenged.is_cell_of(cell.record)
    assert (found.attack.distribution, found.attack.version) == ("recgauntlet-test-plugins", "1.0")
    assert found.attack.hyperparameters == {"length": 0.5}
    assert [outcome.tier for outcome in found.outcomes] == ["standard"]
    assert found.outcomes[0].effort.queries == int(found.outcomes[0].attacked.to_bool().sum())


def test_the_same_challenge_gives_the_same_evidence(cell: Cell) -> None:
    first, again = (cell.challenge("border-step", examples="right") for _ in range(2))
    assert first.evidence == again.evidence
    assert [outcome.deltas for outcome in first.outcomes] == [outcome.deltas for outcome in again.outcomes]


def test_inputs_outside_the_budget_are_no_evidence_and_are_counted(cell: Cell) -> None:
    found = cell.challenge("cheat", examples="right")
    assert found.evidence == ()
    assert [outcome.violations for outcome in found.outcomes] == [
        int(outcome.attacked.to_bool().sum()) for outcome in found.outcomes
    ]


def test_an_edited_file_is_refused_by_its_digest(cell: Cell, tmp_path: Path) -> None:
    path = saved(cell.challenge("drop-one", examples="right"), tmp_path)
    content = json.loads(path.read_text())
    content["evidence"][0]["score"] *= -1
    path.write_text(json.dumps(content))
    with pytest.raises(RecordError, match="digest does not match"):
        read_best_known(path)


@pytest.mark.parametrize(
    ("attack", "edits", "reason"),
    [
        ("one-more-word", [Edit(op="insert", at=6, new="boat ship coast beach")], "illegal: "),
        (
            "one-more-word",
            [Edit(op="insert", at=6, new="qwertz")],
            "illegal: an added word is not in the catalog's vocabulary",
        ),
        ("one-more-word", [Edit(op="delete", at=0)], "illegal: a word was taken away"),
        ("one-more-word", [Edit(op="replace", at=60, new="boat")], "illegal: an edit (replace) stands at place 60"),
        ("one-more-word", [], "does not fool"),
        ("drop-one", [Edit(op="delete", at=at) for at in range(3)], "illegal: "),
        ("drop-one", [Edit(op="insert", at=0, new="nothing")], "illegal: there is no item 'nothing'"),
        ("drop-one", [], "does not fool"),
    ],
)
def test_evidence_with_a_wrong_edit_is_reported(
    cell: Cell, attack: str, edits: list[Edit], reason: str, tmp_path: Path
) -> None:
    def change(content: dict[str, Any]) -> None:
        content["evidence"][1]["edits"] = [edit.model_dump() for edit in edits]

    found = cell.challenge(attack, examples="right", tiers=("high",))
    (mismatch,) = cell.recheck(resealed(found, change, tmp_path)).mismatches
    entry = found.evidence[1]
    assert (mismatch.example, mismatch.threat, mismatch.tier) == (entry.example, entry.threat, entry.tier)
    assert mismatch.reason.startswith(reason)


def test_all_mismatches_are_told_at_once(cell: Cell, tmp_path: Path) -> None:
    def change(content: dict[str, Any]) -> None:
        content["evidence"][0]["score"] *= 2
        content["evidence"][1]["clean_score"] += 1
        deltas = content["outcomes"][0]["deltas"]
        values = 30 * FloatColumn.model_validate(deltas["values"]).to_float().reshape(deltas["shape"])
        values[0] = 0.0
        values[2, 0, 0] = np.nan
        deltas["values"] = FloatColumn.of(values.ravel()).model_dump()

    found = cell.challenge("border-step", examples="right", tiers=("standard",))
    count = len(found.evidence)
    reasons = [mismatch.reason for mismatch in cell.recheck(resealed(found, change, tmp_path)).mismatches]
    assert count == len(reasons) > 3
    assert reasons[0].startswith("does not fool the model")
    assert "l2 norm" in reasons[1]
    assert "not finite" in reasons[2]
    assert all("illegal" in reason for reason in reasons[1:])


def test_other_scores_than_the_files_are_reported(cell: Cell, tmp_path: Path) -> None:
    def change(content: dict[str, Any]) -> None:
        content["evidence"][0]["score"] *= 2
        content["evidence"][1]["clean_score"] += 1

    found = resealed(cell.challenge("drop-one", examples="right", tiers=("low",)), change, tmp_path)
    mismatches = cell.recheck(found).mismatches
    assert [mismatch.reason.split(":")[0] for mismatch in mismatches] == ["scores differ"] * 2
    assert cell.recheck(found, tolerance=10).mismatches == ()


def test_an_example_that_was_wrong_already_is_no_evidence(cell: Cell, tmp_path: Path) -> None:
    assert cell.record.clean is not None
    labels, scores = cell.record.clean.labels.to_bool(), cell.record.clean.scores.to_float()
    wrong = int(np.flatnonzero((scores > 0) != labels)[0])
    found = cell.challenge("drop-one", examples="right", tiers=("low",))

    def change(content: dict[str, Any]) -> None:
        content["evidence"] = [{**content["evidence"][0], "example": wrong, "edits": []}]
        bits = BitColumn.of(np.arange(len(labels)) == wrong).model_dump()
        content["outcomes"][0] |= {"attacked": bits, "broken": bits}

    (mismatch,) = cell.recheck(resealed(found, change, tmp_path)).mismatches
    assert mismatch.reason == "the model is wrong on the clean input already"


ONES = BitColumn.of(np.ones(40, dtype=bool)).model_dump()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: c["evidence"].pop(), "does not go with the evidence"),
        (lambda c: c["evidence"].reverse(), "does not go with the evidence"),
        (lambda c: c["outcomes"][0].update(broken=ONES), "not attacked"),
        (lambda c: c["outcomes"][0].update(broken=ONES, attacked=ONES), "does not go with the evidence"),
        (lambda c: c["outcomes"].append(c["outcomes"][0]), "twice"),
        (lambda c: c["outcomes"].pop(), "which was not attacked"),
        (lambda c: c["outcomes"][0].update(robust=BitColumn.of(np.ones(3, dtype=bool)).model_dump()), "length"),
        (lambda c: c["outcomes"][0].update(deltas=None), "exactly where"),
        (lambda c: c["outcomes"][0]["deltas"].update(shape=[1, 2, 3]), "of shape"),
        (lambda c: c["evidence"][0].update(attack="another"), "another attack"),
    ],
)
def test_a_file_that_contradicts_itself_is_refused(cell: Cell, change: Change, words: str, tmp_path: Path) -> None:
    found = cell.challenge("border-step", examples="right", tiers=("standard", "high"))
    with pytest.raises(RecordError, match=words):
        resealed(found, change, tmp_path)


def test_a_record_is_no_best_known_attack_and_the_other_way_round(cell: Cell, tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="is no best known attack"):
        read_best_known(cell.spec.record_path)
    path = saved(cell.challenge("cheat"), tmp_path)
    with pytest.raises(RecordError):
        read_record(path)


def strings(content: Any) -> Iterator[str]:
    """Every text in a JSON value, the names of fields left out."""
    if isinstance(content, dict | list):
        for part in content.values() if isinstance(content, dict) else content:
            yield from strings(part)
    elif isinstance(content, str):
        yield content


def test_only_words_that_came_in_are_in_the_file(cell: Cell, tiny_card: Path, tmp_path: Path) -> None:
    lines = (tiny_card.parent / "items.csv").read_text().splitlines()[1:]
    texts = [line.split(",")[1] for line in lines]
    secret = cell.record.model_copy(
        update={"task": cell.record.task.model_copy(update={"redistributable": False})}
    ).sealed()
    for attack in ("one-more-word", "crash"):
        found = cell.challenge(attack, secret, examples="right")
        came_in = {edit.new for entry in found.evidence for edit in entry.edits}
        assert len(came_in) < 10
        file = " ".join(strings(json.loads(saved(found, tmp_path).read_text())))
        words = {word for text in texts for word in text.split() if word.isalpha()}
        assert words & set(file.split()) <= came_in
    assert found.outcomes[1].error.startswith("ValueError (at ")


def test_a_half_float_never_makes_a_delta_larger() -> None:
    delta = (
        torch.randn(4, 50, 8, generator=torch.Generator().manual_seed(0))
        * torch.tensor([1e-6, 1, 100, 1e4])[:, None, None]
    )
    for unit in (2.0**-20, 1.0, 8.0):
        kept = half_floats(delta, unit).astype(np.float64) * unit
        exact = delta.numpy().astype(np.float64)
        assert (np.abs(kept) <= np.abs(exact)).all()
        close = (np.abs(exact) > unit * 1e-4) & (np.abs(exact) < unit * 6e4)
        assert close.any()
        assert (np.abs(kept - exact)[close] <= np.abs(exact)[close] * 2.0**-10).all()
    assert np.isinf(half_floats(torch.tensor([torch.inf]), 1.0)).all()


@pytest.mark.parametrize(
    ("attack", "more", "words"),
    [
        ("border-stp", {}, "did you mean border-step"),
        ("border-step", {"options": (("width", 2),)}, "no option 'width'"),
        ("border-step", {"threats": ("title-rewrite",)}, "choose among: embedding"),
        ("crash-always", {}, "failed at every tier: ZeroDivisionError"),
    ],
)
def test_what_cannot_run_is_said_with_a_remedy(cell: Cell, attack: str, more: dict[str, Any], words: str) -> None:
    with pytest.raises(PluginError, match="what to do:") as told:
        cell.challenge(attack, examples="right", **more)
    assert words in str(told.value)


def test_weights_and_data_must_be_the_records(cell: Cell, tiny_card: Path, tiny_cache: Path) -> None:
    other = make_spec(tiny_card, cell.spec.out, tiny_cache, "pgd")
    with pytest.raises(RecordError, match="weights_sha256"):
        challenge(cell.record, other.checkpoint_path, "cheat", cell.setup)
    task = cell.record.task.model_copy(update={"data_fingerprint": "0" * 64})
    with pytest.raises(RecordError, match="data_fingerprint: does not belong"):
        cell.challenge("cheat", cell.record.model_copy(update={"task": task}))
    found = cell.challenge("cheat")
    changed = found.model_copy(update={"challenged": found.challenged.model_copy(update={"weights_sha256": "0"})})
    with pytest.raises(RecordError, match="weights_sha256"):
        cell.recheck(changed)


def test_a_results_directory_tells_records_and_best_known_attacks_apart(cell: Cell, tmp_path: Path) -> None:
    found = cell.challenge("drop-one", examples="right")
    write_record(cell.record, tmp_path / "tiny" / "standard" / "cell.json")
    write_best_known(found, tmp_path / "best_known" / "drop-one" / "tiny" / "standard" / "cell.json")
    cut = tmp_path / "best_known" / "drop-one" / "tiny" / "standard" / "cut.json"
    cut.write_text(found.sealed().model_dump_json().replace('"violations":0', '"violations":1'))
    results = read_records(tmp_path)
    assert [record.digest for _, record in results.records] == [cell.record.digest]
    assert [known.digest for _, known in results.best_known] == [found.sealed().digest]
    assert [path for path, _ in results.broken] == [cut]
    assert "digest" in str(results.broken[0][1])

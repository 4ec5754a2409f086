"""One cell: its record, its repeatability, its twin, and how it fails."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_task import make_spec, write_task

from recgauntlet.core.dataset import UserAttribute
from recgauntlet.core.errors import CardError, DataError, DeviceError, OutputError, PluginError, RecordError
from recgauntlet.core.spec import CellSpec
from recgauntlet.records.io import read_record
from recgauntlet.records.outline import lacks_curves, lacks_high_tier, lacks_perplexities
from recgauntlet.records.schema import Failure, RunRecord
from recgauntlet.runner import cell as cell_module
from recgauntlet.runner import cell_processes as processes_module
from recgauntlet.runner.cell import check_spec, run_cell
from recgauntlet.runner.cell_processes import fetch_weights
from recgauntlet.runner.plan import plan
from recgauntlet.runner.record import record_dead_cell
from recgauntlet.training.build import OpenCell, open_cell
from recgauntlet.training.checkpoint import read_info

TIMES = {"environment", "started", "finished", "digest"}
COSTS_OF_THE_MACHINE = {"seconds", "seconds_ratio", "peak_memory_bytes", "inference_ms_per_1000"}


def timeless(path: Path) -> str:
    """A record's text without its timings and its environment."""
    content = json.loads(path.read_text())
    for name in TIMES:
        content.pop(name)
    for name in COSTS_OF_THE_MACHINE:
        content["cost"].pop(name)
    for threat in content["threats"]:
        for tier in threat["tiers"]:
            for attack in tier["attacks"]:
                attack["effort"].pop("seconds")
    return json.dumps(content, sort_keys=True)


@pytest.fixture
def here(tiny_card: Path, tiny_cache: Path, finished_cells: Path, tmp_path: Path) -> Any:
    """Makes specs into a copy of the finished cells."""
    out = tmp_path / "out"
    shutil.copytree(finished_cells, out)
    return lambda defense="standard", **more: replace(make_spec(tiny_card, out, tiny_cache, defense), **more)


@pytest.fixture
def alone(tiny_card: Path, tiny_cache: Path, tmp_path: Path) -> Any:
    """Makes specs into an empty directory."""
    return lambda defense="standard", **more: replace(
        make_spec(tiny_card, tmp_path / "alone", tiny_cache, defense), **more
    )


def read(spec: Any) -> RunRecord:
    return read_record(spec.record_path)


def test_a_record_says_what_ran_and_agrees_with_itself(here: Any) -> None:
    record = read(here("pgd"))
    assert (record.status, record.task.id, record.model.name, record.defense.name) == ("ok", "tiny", "nrms", "pgd")
    assert record.model.hyperparameters["word_size"] == 8
    assert record.defense.hyperparameters["epsilon"] > 0
    assert record.environment.threads == 1
    assert record.clean is not None
    labels = record.clean.labels.to_bool()
    assert len(labels) == 40
    assert labels.sum() == 20
    right = (record.clean.scores.to_float() > 0) == labels
    assert [threat.surface for threat in record.threats] == ["history", "candidate-text", "embedding"]
    for threat in record.threats:
        assert [tier.tier for tier in threat.tiers] == ["low", "standard", "high"]
        robust = [tier.robust.to_bool() for tier in threat.tiers]
        assert (robust[0] <= right).all()
        assert (robust[1] <= robust[0]).all()
        assert (robust[2] <= robust[1]).all()
    assert any((tier.robust.to_bool() < right).any() for threat in record.threats for tier in threat.tiers)
    assert record.evidence
    assert any(found.before for found in record.evidence) == record.task.redistributable
    assert any(epoch.kept for epoch in record.epochs)
    assert {gate.name for gate in record.gates} >= {"finite-scores", "not-constant", "deterministic"}


def test_the_same_seed_gives_the_same_record(here: Any, alone: Any) -> None:
    again = alone()
    run_cell(again)
    assert timeless(again.record_path) == timeless(here().record_path)
    assert read(again).weights_sha256 == read(here()).weights_sha256


def test_a_twin_that_is_missing_is_trained_and_gives_the_same_record(here: Any, alone: Any) -> None:
    said: list[str] = []
    lonely = alone("pgd")
    record = run_cell(lonely, lambda what, share: said.append(what))
    assert any("twin" in what for what in said)
    assert timeless(lonely.record_path) == timeless(here("pgd").record_path)
    assert not lonely.twin().record_path.exists()
    assert record.cost is not None
    assert record.cost.flops_ratio is not None


def test_another_seed_gives_other_weights(here: Any) -> None:
    other = run_cell(here(seed=1))
    assert other.weights_sha256 != read(here()).weights_sha256


def test_a_twin_on_disk_is_used(here: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    trained: list[str] = []
    original = cell_module.train_cell

    def watched(cell: Any, *arguments: Any, **options: Any) -> Any:
        trained.append(cell.spec.defense)
        return original(cell, *arguments, **options)

    monkeypatch.setattr("recgauntlet.runner.cell.train_cell", watched)
    monkeypatch.setattr("recgauntlet.training.build.train_cell", watched)
    run_cell(here("fgm"))
    assert trained == ["fgm"]


def test_weights_of_another_card_are_no_twin(here: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = write_task(tmp_path / "changed")
    other.write_text(
        other.read_text().replace("sampling_seed", "x").replace("history_length = 6", "history_length = 5")
    )
    spec = here("pgd", task=str(other))
    assert read_info(spec.twin().checkpoint_path).defense == "standard"
    said: list[str] = []
    run_cell(spec, lambda what, share: said.append(what))
    assert any("twin, whose weights are not there" in what for what in said)


def test_transfer_runs_for_defended_cells_only(here: Any) -> None:
    def attacks(record: RunRecord) -> list[set[str]]:
        return [{attack.name for tier in threat.tiers for attack in tier.attacks} for threat in record.threats]

    assert all("transfer" not in names for names in attacks(read(here())))
    assert all("transfer" in names for names in attacks(read(here("pgd"))))


def test_costs_are_compared_with_the_twin(here: Any) -> None:
    twin, defended = read(here()).cost, read(here("pgd")).cost
    assert twin is not None
    assert defended is not None
    assert (twin.seconds_ratio, twin.flops_ratio) == (None, None)
    assert defended.flops_ratio == pytest.approx(defended.flops / twin.flops)
    assert defended.seconds_ratio == pytest.approx(defended.seconds / twin.seconds)
    assert defended.backwards > defended.steps
    info = read_info(here("pgd").checkpoint_path)
    assert info.flops == defended.flops


def test_seconds_of_another_machine_are_not_compared(here: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recgauntlet.training.build.processor_in_words", lambda *parts: "another machine")
    cost = run_cell(here("fgm")).cost
    assert cost is not None
    assert cost.seconds_ratio is None
    assert cost.flops_ratio is not None


def test_progress_never_falls_and_ends_at_one(alone: Any) -> None:
    shares: list[float] = []
    run_cell(alone(), lambda what, share: shares.append(share))
    assert shares[0] == 0.0
    assert shares[-1] == 1.0
    assert shares == sorted(shares)


@pytest.mark.parametrize(
    ("defense", "stage", "kind", "word"),
    [
        ("nan-loss", "training", "PluginError", "nan at step 0"),
        ("no-gradient", "training", "PluginError", "has no gradient"),
        ("wrong-shape", "training", "PluginError", "shape (3,)"),
        ("drops-everything", "training", "PluginError", "no training pairs"),
        ("raises-in-training", "training", "ZeroDivisionError", "divided by zero"),
        ("raises-in-wrap", "serving", "ValueError", "nothing to serve"),
        ("serves-wrong-shape", "evaluation", "PluginError", "shape"),
    ],
)
def test_a_failure_is_recorded_with_its_stage(
    here: Any, test_plugins: Path, defense: str, stage: str, kind: str, word: str
) -> None:
    spec = here(defense)
    record = run_cell(spec)
    assert record == read(spec).model_copy(update={"digest": ""})
    assert record.status == "failed"
    assert record.failure is not None
    assert (record.failure.stage, record.failure.kind) == (stage, kind)
    assert word in record.failure.message
    assert str(Path(__file__).parents[3]) not in record.failure.message
    assert (record.clean, record.threats, record.cost) == (None, (), None)
    assert spec.checkpoint_path.exists() == (stage != "training")  # weights that cost hours are kept
    if kind == "PluginError":
        assert "what to do:" in record.failure.message


def test_a_failure_while_reading_data_or_finding_the_twin_is_recorded(here: Any, tmp_path: Path) -> None:
    spec = here("pgd")
    spec.twin().checkpoint_path.write_bytes(b"no weights")
    failure = run_cell(spec).failure
    assert failure is not None
    assert (failure.stage, failure.kind) == ("twin", "RecordError")
    card = write_task(tmp_path / "broken")
    card.with_name("interactions.csv").write_text("user,item,time\nu1,i1\n")
    failure = run_cell(here(task=str(card))).failure
    assert failure is not None
    assert (failure.stage, failure.kind) == ("data", "DataError")


def test_a_record_that_cannot_be_written_is_raised(alone: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="--out"):
        run_cell(alone(out=tmp_path / "file" / "below"))


def test_a_spec_is_checked_before_anything_runs(alone: Any) -> None:
    assert check_spec(alone("pgd")).task.card.id == "tiny"
    for change, kind in (
        ({"model": "nrm"}, PluginError),
        ({"defense": "pgdd"}, PluginError),
        ({"track": "demo"}, CardError),
        ({"device": "toaster"}, DeviceError),
        ({"model_options": (("heads", 2.5),)}, PluginError),
        ({"model_options": (("heds", 2),)}, PluginError),
        ({"defense_options": (("epsilon", True),)}, PluginError),
    ):
        with pytest.raises(kind, match="what to do:"):
            check_spec(replace(alone("pgd"), **change))  # type: ignore[arg-type]
    assert not alone().out.exists()


def test_a_whole_number_passes_for_a_float_option(alone: Any) -> None:
    assert open_cell(alone("pgd", defense_options=(("epsilon", 1),))).defense_object.hyperparameters()["epsilon"] == 1


def test_options_are_part_of_the_cells_name(alone: Any) -> None:
    plain, other = alone("pgd"), alone("pgd", defense_options=(("epsilon", 1.5),))
    assert plain.record_path != other.record_path
    assert "epsilon=1.5" in other.record_path.name
    assert plain.twin().record_path == other.twin().record_path


def test_a_process_that_died_is_described(alone: Any) -> None:
    failure = Failure(kind="ProcessDied", message="gone", stage="process")
    record = record_dead_cell(alone("pgd"), failure, {"heads": 2}, {"steps": 3})
    assert record.status == "failed"
    assert record.defense.name == "pgd"
    assert record.environment.torch == torch.__version__
    assert np.isclose(record.seed, 0)


def test_a_recorded_failure_names_files_without_their_directories() -> None:
    from recgauntlet.core.errors import DataError
    from recgauntlet.runner.failures import _message

    words = _message(DataError("is cut off", where="/home/somebody/items.csv", field="id", remedy="fetch it again"))
    assert "items.csv" in words
    assert "somebody" not in words


def test_edits_are_counted_and_the_record_says_why_they_are_not_measured(here: Any) -> None:
    record = read(here("pgd"))
    (threat,) = [threat for threat in record.threats if threat.surface == "candidate-text"]
    assert record.naturalness is not None
    assert "--naturalness" in record.naturalness.reason
    runs = [*(attack for tier in threat.tiers for attack in tier.attacks), *threat.alone]
    for run in runs:
        assert run.naturalness is not None
        assert run.naturalness.words.n == int(run.broken.to_bool().sum())
        assert run.naturalness.perplexity_ratio is None
    assert any(run.naturalness and run.naturalness.words.n for run in runs)
    others = [threat for threat in record.threats if threat.surface != "candidate-text"]
    assert all(attack.naturalness is None for threat in others for tier in threat.tiers for attack in tier.attacks)


def test_a_record_without_perplexities_is_kept_where_they_are_asked_for(here: Any) -> None:
    spec = here("pgd", naturalness=True)
    assert lacks_perplexities(read(spec))
    with pytest.raises(RecordError, match="without perplexities") as caught:
        plan([spec])
    assert "--reuse-weights" in caught.value.remedy
    assert [cell.state for cell in plan([replace(spec, naturalness=False)])] == ["done", "done"]
    again = {cell.spec.defense: cell.state for cell in plan([spec], overwrite=True)}
    assert again == {"standard": "done", "pgd": "new"}  # nobody asked for the twin's edits


def test_a_language_model_is_fetched_where_it_is_asked_for_alone(here: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> Path:
        raise DataError("SmolLM2 is not in the cache", remedy="put it there")

    for module in (cell_module, processes_module):
        monkeypatch.setattr(module, "smollm2", refuse)
    fetch_weights(here("pgd"))
    with pytest.raises(DataError, match="SmolLM2"):
        fetch_weights(here("pgd", naturalness=True))
    failed = run_cell(here("pgd", naturalness=True, reuse_weights=True))
    assert failed.failure is not None
    assert (failed.failure.stage, failed.failure.kind) == ("language model", "DataError")


def check_less_is_kept(spec: CellSpec, more: CellSpec, problem: str, remedy: str) -> None:
    """The finished cell of `spec` is done, and `more` of it is refused with words."""
    with pytest.raises(RecordError, match=problem) as caught:
        plan([more])
    assert remedy in caught.value.remedy
    assert plan([spec])[-1].state == "done"


def test_without_the_high_tier_the_others_find_the_same(here: Any, capsys: pytest.CaptureFixture[str]) -> None:
    whole = read(here())
    spec = here(high_tier=False, reuse_weights=True)
    found = run_cell(spec)
    assert found.failure is None, found.failure
    assert not lacks_high_tier(whole)
    assert lacks_high_tier(found)
    for threat, full in zip(found.threats, whole.threats, strict=True):
        assert [tier.tier for tier in threat.tiers] == ["low", "standard"]
        assert [tier.robust for tier in threat.tiers] == [tier.robust for tier in full.tiers[:2]]
        assert [point.amount for point in threat.curve] == [point.amount for point in full.curve]
    found.summary()
    assert capsys.readouterr().out.count("not run") == len(found.threats)
    check_less_is_kept(spec, replace(spec, high_tier=True), "not attacked at the high tier", "--no-high-tier")
    assert plan([here("fgm")])[0].state == "done"  # nobody asked for the twin's


def test_without_curves_the_rest_is_the_same(here: Any) -> None:
    whole = read(here())
    spec = here(curves=False, reuse_weights=True)
    found = run_cell(spec)
    assert found.failure is None, found.failure
    assert not lacks_curves(whole)
    assert lacks_curves(found)
    for threat, full in zip(found.threats, whole.threats, strict=True):
        assert [tier.robust for tier in threat.tiers] == [tier.robust for tier in full.tiers]
        assert (threat.alone, threat.curve) == (full.alone, ())
    assert (found.ranking, found.ads) == (whole.ranking, whole.ads)
    check_less_is_kept(spec, replace(spec, curves=True), "no security curves", "--no-curves")
    assert plan([here("fgm")])[0].state == "done"  # nobody asked for the twin's


def test_without_an_unranked_threat_the_others_find_the_same(here: Any) -> None:
    whole = read(here())
    (unranked, *_) = [threat.id for threat in whole.threats if not threat.ranked]
    spec = here(left_out=(unranked,), reuse_weights=True)
    found = run_cell(spec)
    assert found.failure is None, found.failure
    assert [threat.id for threat in found.threats] == [one.id for one in whole.threats if one.id != unranked]
    for threat in found.threats:
        (full,) = (one for one in whole.threats if one.id == threat.id)
        assert [tier.robust for tier in threat.tiers] == [tier.robust for tier in full.tiers]
        assert threat.curve == full.curve
    check_less_is_kept(spec, replace(spec, left_out=()), f"not attacked under {unranked}", f"--leave-out {unranked}")
    assert plan([here("fgm")])[0].state == "done"
    ranked = next(threat.id for threat in whole.threats if threat.ranked)
    for wrong in (ranked, "no-such-threat"):
        with pytest.raises(CardError, match=wrong) as named:
            plan([replace(spec, left_out=(wrong,))])
        assert unranked in named.value.remedy


def test_a_record_has_sums_by_attributes_of_the_users_where_the_task_has_them(
    here: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("records", "evaluation"):
        monkeypatch.setattr(f"recgauntlet.{module}.user_groups.BLOCKS", 4)  # few users are tested here
    ages = UserAttribute("age", ("even", "odd"), {f"u{n}": n % 2 for n in range(60)})
    opened = cell_module.open_cell

    def with_ages(spec: CellSpec) -> OpenCell:
        cell = opened(spec)
        return replace(cell, task=replace(cell.task, user_attributes=lambda options: (ages,)))

    spec = here(reuse_weights=True)
    before = timeless(spec.record_path)
    monkeypatch.setattr(cell_module, "open_cell", with_ages)
    (found,) = run_cell(spec).user_groups
    assert (found.labels, found.table(found.pairs).sum()) == (("even", "odd"), 20)
    after = json.loads(timeless(spec.record_path))
    assert after.pop("user_groups")
    assert json.dumps(after, sort_keys=True) == before

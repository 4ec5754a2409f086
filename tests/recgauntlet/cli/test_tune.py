"""The command `recgauntlet tune`, and what `run --dry-run`, `list` and `show` tell of tuned values and of time."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from command_line import Call
from tiny_task import make_spec

from recgauntlet.cli.progress import duration
from recgauntlet.core.errors import PluginError
from recgauntlet.records.io import read_record
from recgauntlet.training import tuned
from recgauntlet.training.build import open_cell
from recgauntlet.training.tuned import Tuned, TunedTrial, read_tuned, write_tuned


@pytest.mark.slow
def test_tuning_writes_the_best_trial_and_does_nothing_the_second_time(
    call: Call, tiny_card: Path, tmp_path: Path
) -> None:
    line = ("tune", "--task", tiny_card, "--defense", "fgm", "--trials", "2", "--epochs", "1", "--device", "cpu")
    code, out, err = call(*line, "--offline", "--dry-run")
    assert code == 0, err
    assert "epsilon 0.05..1 (logarithmic), lam 0.25..4 (logarithmic)" in out
    assert not (tmp_path / "tuning" / "tuned.toml").exists()
    code, out, err = call(*line, "--offline", "--workers", "1")
    assert code == 0, out + err
    (entry,) = read_tuned(tmp_path / "tuning" / "tuned.toml")
    assert (entry.kind, entry.name, entry.task, entry.model, entry.epochs) == ("defense", "fgm", "tiny", "nrms", 1)
    assert entry.trials[0].values == {"epsilon": 0.25, "lam": 1.0}
    assert entry.objective == max(trial.objective or 0.0 for trial in entry.trials)
    assert "chosen" in out
    assert not (tmp_path / "tuning" / ".cells").exists()
    code, again, err = call(*line, "--offline")
    assert code == 0, err
    assert "done    " not in again
    assert read_tuned(tmp_path / "tuning" / "tuned.toml") == (entry,)


def test_a_method_without_a_space_cannot_be_tuned(call: Call, tiny_card: Path) -> None:
    code, _, err = call("tune", "--task", tiny_card, "--defense", "standard", "--offline")
    assert code == 2
    assert "names nothing that could be tuned" in err


def test_a_broken_file_of_chosen_values_is_refused_before_anything_runs(
    call: Call, tiny_card: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "mine.toml"
    broken.write_text('[[tuned]]\nkind = "defense"\nname = "pgd"\n', encoding="utf-8")
    code, out, err = call("tune", "--task", tiny_card, "--defense", "fgm", "--to", broken, "--offline", "--dry-run")
    assert (code, out) == (2, "")
    assert "mine.toml" in err
    assert "what to do" in err


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tuned file in the place of the built-in one: pgd has another epsilon."""
    path = tmp_path / "shipped.toml"
    trial = TunedTrial(values={"epsilon": 0.125}, objective=0.5)
    entry = Tuned(
        kind="defense",
        name="pgd",
        task="tiny",
        track="standard",
        model="nrms",
        values={"epsilon": 0.125},
        objective=0.5,
        trial=0,
        seed=0,
        epochs=3,
        pairs=300,
        date="2026-01-02",
        commit="",
        trials=(trial,),
    )
    write_tuned(path, [entry])
    monkeypatch.setattr(tuned, "tuned_files", lambda distribution: (path,) if distribution == "recgauntlet" else ())
    return path


@pytest.mark.usefixtures("shipped")
def test_what_is_tuned_is_listed(call: Call) -> None:
    code, out, err = call("list", "defenses")
    assert code == 0, err
    assert "epsilon=0.125 on tiny with nrms" in out


@pytest.mark.usefixtures("shipped")
def test_show_marks_tuned_values(call: Call, finished_cells: Path, tiny_card: Path, tiny_cache: Path) -> None:
    path = make_spec(tiny_card, finished_cells, tiny_cache, "pgd").record_path
    code, out, err = call("show", path)
    assert code == 0, err
    assert f"defense         pgd: epsilon={read_record(path).defense.hyperparameters['epsilon']}, lam=" in out


def test_a_tuned_file_is_taken_by_its_path(
    call: Call, shipped: Path, finished_cells: Path, tiny_card: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = tmp_path / "mine.toml"
    shipped.rename(mine)
    monkeypatch.setattr(tuned, "tuned_files", lambda distribution: ())
    shutil.copytree(finished_cells, tmp_path / "out")
    options = [p for o in ("word_size=8", "heads=2", "head_size=4", "attention_size=8") for p in ("--model-option", o)]
    line = ["run", "--task", tiny_card, "--out", "out", "--device", "cpu", "--offline", *options, "--dry-run"]
    code, out, err = call(*line, "--defense", "pgd", "--tuned", mine)
    assert code == 2, out
    assert "where it would now be 0.125" in err
    assert call(*line, "--defense", "pgd", "--tuned", mine, "--overwrite")[0] == 0
    code, _, err = call(*line, "--defense", "fgm", "--tuned", mine)
    assert (code, "has values of no model and no defense of this run" in err) == (2, True)
    assert "name a model or a defense of the file: pgd" in err
    code, _, err = call(*line, "--defense", "pgd", "--tuned", mine, "--untuned")
    assert (code, "is left out by --untuned" in err) == (2, True)
    code, _, err = call(*line, "--defense", "pgd", "--tuned", "nothing.toml")
    assert (code, "nothing.toml: cannot be read" in err) == (2, True)


def test_a_file_that_is_named_goes_before_what_a_package_ships(
    shipped: Path, tiny_card: Path, tiny_cache: Path, tmp_path: Path
) -> None:
    (entry,) = read_tuned(shipped)
    mine = tmp_path / "mine.toml"
    write_tuned(mine, [entry.model_copy(update={"values": {"epsilon": 0.375}})])
    spec = make_spec(tiny_card, tmp_path, tiny_cache, "pgd")
    assert open_cell(spec).options[1]["epsilon"] == 0.125
    assert open_cell(replace(spec, tuned=mine)).options[1]["epsilon"] == 0.375
    given = replace(spec, tuned=mine, defense_options=(("epsilon", 0.5),))
    assert open_cell(given).options[1]["epsilon"] == 0.5
    write_tuned(mine, [entry.model_copy(update={"values": {"epsilom": 0.375}})])
    with pytest.raises(PluginError, match="leave it out \\(--tuned\\)") as caught:
        open_cell(replace(spec, tuned=mine))
    assert (caught.value.where, caught.value.field) == (str(mine), "tuned.values.epsilom")


def test_a_dry_run_tells_how_long_the_plan_takes_and_what_it_cannot_know(
    call: Call, finished_cells: Path, tiny_card: Path, tmp_path: Path
) -> None:
    shutil.copytree(finished_cells, tmp_path / "out")
    options = [p for o in ("word_size=8", "heads=2", "head_size=4", "attention_size=8") for p in ("--model-option", o)]
    line = ["run", "--task", tiny_card, "--out", "out", "--device", "cpu", "--offline", *options, "--dry-run"]
    code, out, err = call(*line, "--defense", "standard,pgd", "--seeds", "0,1", "--workers", "1")
    assert code == 0, err
    assert "time    about" in out
    assert "one cell after the other" in out
    code, out, err = call(*line, "--defense", "standard,pgd")
    assert "time    none: every cell is done" in out
    code, out, err = call("run", "--task", tiny_card, "--out", "empty", "--device", "cpu", "--offline", "--dry-run")
    assert code == 0, err
    assert "time    unknown: 2 of 2 cells are like no record of this device and not counted" in out


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (59, "59 s"), (60, "1 min"), (3599, "1 h 00 min"), (7500, "2 h 05 min"), (36000, "10 h")],
)
def test_estimates_are_told_to_the_precision_that_they_have(seconds: float, words: str) -> None:
    assert duration(seconds) == words

"""The undefended defense and the middle tier: stored as `standard`, shown and given by other names too."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner
from tiny_task import CARD, make_spec, write_task

from recgauntlet import CellSpec, RecGauntletError, load_card
from recgauntlet.cli import cli
from recgauntlet.core.names import GIVEN, SHOWN, shown, stored, typed
from recgauntlet.training.build import merged_options
from recgauntlet.training.defense import find_defense

RELEASE = str(Path(__file__).parents[3] / "results" / "2026.5")


def output(*arguments: str) -> str:
    result = CliRunner().invoke(cli, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_every_shown_and_typed_name_is_understood() -> None:
    for kind, names in SHOWN.items():
        for stored_name, shown_name in names.items():
            assert stored(kind, shown_name) == stored(kind, typed(kind, stored_name)) == stored_name
            assert stored(kind, stored_name) == stored_name
    assert {shown(kind, own) for kind, names in GIVEN.items() for own in names.values()} == {"undefended", "medium"}
    assert (shown("track", "standard"), stored("model", "none"), typed("defense", "pgd")) == ("standard", "none", "pgd")


def test_a_card_may_call_the_middle_tier_medium_and_keeps_its_fingerprint(tmp_path: Path) -> None:
    old, new, both = (tmp_path / f"{name}.toml" for name in ("old", "new", "both"))
    old.write_text(CARD, encoding="utf-8")
    new.write_text(CARD.replace(" standard = ", " medium = "), encoding="utf-8")
    both.write_text(CARD.replace(" standard = 1,", " standard = 1, medium = 1,"), encoding="utf-8")
    assert "medium" not in CARD
    assert load_card(new) == load_card(old)
    assert load_card(new).fingerprint("standard") == load_card(old).fingerprint("standard")
    with pytest.raises(RecGauntletError, match=r"edits: .*medium and standard are the same"):
        load_card(both)


@pytest.mark.parametrize("name", ["none", "undefended"])
def test_a_cell_without_a_defense_is_the_twin_by_any_name(name: str, tmp_path: Path) -> None:
    spec = make_spec(tmp_path / "tiny.toml", tmp_path, tmp_path, defense=name)
    assert spec == make_spec(tmp_path / "tiny.toml", tmp_path, tmp_path, defense="standard") == spec.twin()
    assert spec.is_twin
    assert spec.record_path.name.startswith("nrms-standard-0")
    assert spec.title == "tiny nrms undefended seed 0"
    assert isinstance(spec, CellSpec)


def test_run_takes_none_and_standard_for_one_cell(tmp_path: Path) -> None:
    card = str(write_task(tmp_path / "task"))
    plans = {
        output("run", "--task", card, "--defense", names, "--out", str(tmp_path / "out"), "--dry-run")
        for names in ("none", "standard", "none,standard,undefended")
    }
    (plan,) = plans
    assert plan.startswith("Plan: 1 cells")
    assert "undefended" in plan


def test_an_option_of_a_defense_that_is_a_tier_takes_medium_and_others_are_left_alone() -> None:
    augmentation, mine = find_defense("augmentation"), find_defense("pgd")
    assert merged_options(augmentation, (("tier", "medium"),)) == merged_options(augmentation, ())
    assert "tier" not in merged_options(mine, ())


@pytest.mark.slow
def test_commands_on_a_release_take_either_name_and_show_the_new_one() -> None:
    row = f"{RELEASE}/video-watch/nrms"
    old = output("compare", f"{row}/trades", f"{row}/standard", "--tier", "standard")
    assert output("compare", f"{row}/trades", f"{row}/none", "--tier", "medium") == old
    assert output("compare", f"{row}/trades", f"{row}/undefended") == old
    assert "history-perturbation medium" in old
    assert "undefended" in old
    chosen = ("table", RELEASE, "--select")
    for form in ("csv", "markdown", "latex"):
        new = output(*chosen, "task=video-watch,defense=none,tier=medium", "--format", form)
        assert new == output(*chosen, "task=video-watch,defense=standard,tier=standard", "--format", form)
        assert ("undefended" in new, "standard tier" in new) == (form != "csv", False)


def test_the_label_columns_of_csv_keep_the_stored_names() -> None:
    head, line, *_ = output(
        "table", RELEASE, "--select", "task=video-watch,defense=none", "--format", "csv"
    ).splitlines()
    assert "robust_accuracy:history-perturbation:standard" in head.split(",")
    assert ",standard," in line
    assert "undefended" not in line

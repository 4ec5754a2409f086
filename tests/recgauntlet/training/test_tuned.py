"""Files of tuned values: whose they are, which one a cell takes, and what is wrong with a broken one."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tiny_task import make_spec

from recgauntlet.core import plugins
from recgauntlet.core.errors import PluginError, RecordError
from recgauntlet.core.recommender import constructor_defaults, find_model
from recgauntlet.core.search_space import OneOf
from recgauntlet.core.spec import CellSpec
from recgauntlet.records.io import read_record
from recgauntlet.runner.plan import plan
from recgauntlet.training import tuned
from recgauntlet.training.build import open_cell
from recgauntlet.training.defense import find_defense
from recgauntlet.training.tuned import Tuned, TunedTrial, every_tuned, read_tuned, tuned_files, tuned_for, write_tuned

METHOD = """\
from recgauntlet import Defense

class Gentle(Defense):
    def __init__(self, *, sigma: float = 0.5, steps: int = 2, mode: str = "soft") -> None:
        self.sigma, self.steps, self.mode = sigma, steps, mode
"""
Ship = Callable[..., Path]


def entry(**more: object) -> Tuned:
    plain = {
        "kind": "defense",
        "name": "gentle",
        "task": "video-watch",
        "track": "standard",
        "model": "nrms",
        "values": {"sigma": 0.125, "steps": 3},
        "objective": 0.625,
        "trial": 1,
        "seed": 0,
        "epochs": 3,
        "pairs": 300,
        "date": "2026-01-02",
        "commit": "abc",
        "trials": (TunedTrial(values={"sigma": 0.5, "steps": 2}), TunedTrial(values={"sigma": 0.125}, objective=0.625)),
    }
    return Tuned.model_validate(plain | more)


@pytest.fixture
def ship(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ship]:
    """Installs a distribution with the defense `gentle` and the given entries; its data package cannot be imported."""
    site = tmp_path / "site"

    def install(*entries: Tuned, text: str | None = None, point: str = "stranger_data:tuned.toml") -> Path:
        info = site / "stranger-1.0.dist-info"
        (site / "stranger_data").mkdir(parents=True)
        info.mkdir()
        (site / "stranger_data" / "__init__.py").write_text("raise RuntimeError('it was run')\n")
        (site / "stranger_method.py").write_text(METHOD)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: stranger\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(
            f"[recgauntlet.defenses]\ngentle = stranger_method:Gentle\n[recgauntlet.tuned]\nours = {point}\n"
        )
        path = site / "stranger_data" / "tuned.toml"
        write_tuned(path, entries)
        if text is not None:
            path.write_text(text)
        monkeypatch.syspath_prepend(site)
        for cached in (plugins._entries, tuned._entries):
            cached.cache_clear()
        return path

    yield install
    for cached in (plugins._entries, tuned._entries):
        cached.cache_clear()
    sys.modules.pop("stranger_method", None)


@pytest.fixture
def spec(tiny_card: Path, tiny_cache: Path, tmp_path: Path) -> CellSpec:
    return make_spec(tiny_card, tmp_path / "out", tiny_cache, "gentle")


def defense_options(spec: CellSpec) -> dict[str, object]:
    return dict(open_cell(spec).options[1])


def test_a_file_says_what_was_written(tmp_path: Path) -> None:
    path = tmp_path / "tuned.toml"
    odd = entry(name='q"uo\\te', values={"a": True, "b": 1, "c": 1.0, "d": "é\n\t\x7f", "e f": 1e-12})
    write_tuned(path, [odd, entry()])
    assert sorted(read_tuned(path), key=lambda e: e.name) == [entry(), odd]
    read = next(e for e in read_tuned(path) if e.name == odd.name).values
    assert [type(value) for value in read.values()] == [bool, int, float, str, float]


def test_writing_again_replaces_the_entry_and_leaves_the_others(tmp_path: Path) -> None:
    path = tmp_path / "tuned.toml"
    write_tuned(path, [entry(), entry(task="news-click")])
    write_tuned(path, [entry(values={"sigma": 0.25})])
    assert [(e.task, e.values) for e in read_tuned(path)] == [
        ("news-click", {"sigma": 0.125, "steps": 3}),
        ("video-watch", {"sigma": 0.25}),
    ]


def test_a_cell_takes_what_its_package_ships(ship: Ship, spec: CellSpec) -> None:
    ship(entry())
    assert defense_options(spec) == {"sigma": 0.125, "steps": 3, "mode": "soft"}
    assert "stranger_data" not in sys.modules


def test_an_explicit_option_goes_before_a_tuned_one_and_untuned_takes_the_defaults(ship: Ship, spec: CellSpec) -> None:
    ship(entry(values={"sigma": 1, "steps": 3}))
    explicit = replace(spec, defense_options=(("sigma", 0.75),))
    assert defense_options(explicit) == {"sigma": 0.75, "steps": 3, "mode": "soft"}
    assert defense_options(replace(spec, untuned=True)) == {"sigma": 0.5, "steps": 2, "mode": "soft"}
    assert explicit.name == replace(explicit, untuned=True).name  # values of a file do not change file names


def test_the_nearest_entry_is_taken(ship: Ship) -> None:
    places = [("a", "nrms", "standard"), ("b", "nrms", "standard"), ("b", "nrms", "demo"), ("c", "bert", "standard")]
    ship(*(entry(task=t, model=m, track=k, values={"steps": n}) for n, (t, m, k) in enumerate(places)))

    def taken(task: str, model: str, track: str) -> object:
        found = tuned_for("defense", "gentle", task=task, track=track, model=model)  # type: ignore[arg-type]
        assert found is not None
        return found[0].values["steps"]

    assert [taken(*place) for place in places] == [0, 1, 2, 3]
    assert taken("c", "nrms", "standard") == 0  # the model goes before the task
    assert taken("b", "gru", "standard") == 1  # and the task before the first of the file
    assert taken("z", "gru", "standard") == 0
    assert tuned_for("defense", "standard", task="a", track="standard", model="nrms") is None


@pytest.mark.parametrize(
    ("bad", "field", "said"),
    [
        (entry(name="pgd"), "tuned.0.name", "'pgd' is no defense of stranger"),
        (entry(name="gentel"), "tuned.0.name", "gentle"),
        (entry(kind="model", name="nrms"), "tuned.0.name", "'nrms' is no model of stranger"),
    ],
)
def test_a_file_speaks_of_its_own_packages_methods_alone(ship: Ship, bad: Tuned, field: str, said: str) -> None:
    path = ship(bad)
    with pytest.raises(PluginError) as caught:
        every_tuned("defense", "gentle")
    assert (caught.value.where, caught.value.field) == (str(path), field)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("values", "field"), [({"sigmoid": 1.0}, "sigmoid"), ({"steps": 2.5}, "steps"), ({"mode": True}, "mode")]
)
def test_a_value_that_the_method_does_not_take_is_named(
    ship: Ship, spec: CellSpec, values: dict[str, object], field: str
) -> None:
    path = ship(entry(values=values))
    with pytest.raises(PluginError) as caught:
        open_cell(spec)
    assert (caught.value.where, caught.value.field) == (str(path), f"tuned.values.{field}")
    assert "--untuned" in caught.value.remedy
    assert defense_options(replace(spec, untuned=True))["sigma"] == 0.5


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (lambda text: text.replace("objective = 0.625\n", "objective = nan\n"), "tuned.0.objective"),
        (lambda text: text.replace("seed = 0", 'seed = "0"'), "tuned.0.seed"),
        (lambda text: text.replace("epochs = 3", "epochs = 3\nepoch = 3"), "tuned.0.epoch"),
        (lambda text: text.replace('kind = "defense"', 'kind = "command"'), "tuned.0.kind"),
        (lambda text: text.replace("sigma = 0.125", "sigma = 2026-01-01"), None),
        (lambda text: text.replace("sigma = 0.125", "sigma = [0.1]"), None),
        (lambda text: text + text, "tuned.1"),
        (lambda text: text[:-3], None),
        (lambda text: "x = 1", "x"),
    ],
)
def test_a_broken_file_is_named_with_the_field(tmp_path: Path, change: Callable[[str], str], field: str | None) -> None:
    path = tmp_path / "tuned.toml"
    write_tuned(path, [entry()])
    path.write_text(change(path.read_text()))
    with pytest.raises(PluginError) as caught:
        read_tuned(path)
    assert caught.value.where == str(path)
    assert caught.value.remedy
    if field is not None:
        assert caught.value.field == field


def test_an_entry_point_without_its_file_is_named(ship: Ship) -> None:
    ship(point="stranger_data:other.toml")
    with pytest.raises(PluginError, match="names no file"):
        tuned_files("stranger")


def test_a_broken_file_of_a_stranger_stops_his_own_methods_alone(ship: Ship, spec: CellSpec) -> None:
    ship(text="not toml")
    with pytest.raises(PluginError, match="not TOML"):
        open_cell(spec)
    assert open_cell(replace(spec, defense="pgd")).defense_object


def test_an_older_record_with_other_values_is_not_taken_for_the_cell(
    finished_cells: Path, tiny_card: Path, tiny_cache: Path, tmp_path: Path
) -> None:
    shutil.copytree(finished_cells, tmp_path / "out")
    spec = make_spec(tiny_card, tmp_path / "out", tiny_cache, "pgd")
    assert [cell.state for cell in plan([spec])] == ["done", "done"]
    other = replace(spec, defense_options=(("epsilon", 0.75),))
    shutil.copy(spec.record_path, other.record_path)
    with pytest.raises(RecordError) as caught:
        plan([other])
    assert caught.value.field == "defense.hyperparameters.epsilon"
    made_with = read_record(spec.record_path).defense.hyperparameters["epsilon"]
    assert f"pgd.epsilon={made_with}" in caught.value.remedy
    assert [cell.state for cell in plan([other], overwrite=True)] == ["done", "new"]


def test_an_option_that_is_newer_than_the_record_does_not_part_them(
    finished_cells: Path, tiny_card: Path, tiny_cache: Path, tmp_path: Path
) -> None:
    from recgauntlet.records.io import write_record

    shutil.copytree(finished_cells, tmp_path / "out")
    spec = make_spec(tiny_card, tmp_path / "out", tiny_cache, "pgd")
    record = read_record(spec.record_path)
    options = {name: value for name, value in record.defense.hyperparameters.items() if name != "step_size"}
    older = record.model_copy(update={"defense": record.defense.model_copy(update={"hyperparameters": options})})
    write_record(older, spec.record_path)
    assert [cell.state for cell in plan([spec])] == ["done", "done"]


def test_the_shipped_values_lie_in_the_spaces_of_real_methods() -> None:
    paths = tuned_files("recgauntlet")
    assert [path.name for path in paths] == ["tuned.toml"]
    for tuned_entry in read_tuned(paths[0]):
        assert tuned_entry in [found for found, _ in every_tuned(tuned_entry.kind, tuned_entry.name)]
        plugin = (find_model if tuned_entry.kind == "model" else find_defense)(tuned_entry.name)
        assert tuned_entry.task in plugins.names("tasks")
        assert tuned_entry.model in plugins.names("models")
        assert (
            tuned_entry.values.keys() == plugin.value.search_space.keys() <= constructor_defaults(plugin.value).keys()
        )
        assert tuned_entry.values == tuned_entry.trials[tuned_entry.trial].values
        for name, value in tuned_entry.values.items():
            part = plugin.value.search_space[name]
            inside = value in part.values if isinstance(part, OneOf) else part.low <= value <= part.high
            assert inside, (tuned_entry.name, name, value)

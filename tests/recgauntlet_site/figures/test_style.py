"""What figures share: colours that stay apart, labels that fit, limits, fronts, families."""

from __future__ import annotations

import itertools
import tomllib
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from contrast import contrast
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.colors import to_hex

from recgauntlet.records.references import PluginRef
from recgauntlet_site.families import DEFENSES, MODELS, defense_family, model_family
from recgauntlet_site.figures.heat_map import opacity_of
from recgauntlet_site.figures.pareto import front, staircase
from recgauntlet_site.figures.rows import isolated
from recgauntlet_site.figures.style import (
    DARK,
    DASHES,
    FAINT,
    INK,
    LIGHT,
    PAPER,
    RULE,
    SEPARATION,
    SERIES,
    SHAPES,
    TINT,
    fitted,
    in_style,
    limits,
    width_of,
    wrapped,
)

GROUNDS = {LIGHT: ("#fbfaf6", "#ffffff"), DARK: ("#14171b", "#1a1e23")}
INKS = {LIGHT: "#1d2126", DARK: "#e8e6e0"}
SIGHTS = {
    "trichromat": np.eye(3),
    "protanope": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranope": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
}
"""Machado, Oliveira and Fernandes (2009), severity 1, on linear RGB."""
TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)


def lab(colour: str, sight: np.ndarray) -> np.ndarray:
    """CIELAB (D65) of what a reader sees."""
    encoded = np.array([int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)])
    linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    ratio = (TO_XYZ @ np.clip(sight @ linear, 0, 1)) / TO_XYZ.sum(axis=1)
    root = np.where(ratio > (6 / 29) ** 3, np.cbrt(ratio), ratio / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * root[1] - 16, 500 * (root[0] - root[1]), 200 * (root[1] - root[2])])


@pytest.mark.parametrize("sight", SIGHTS)
@pytest.mark.parametrize("palette", [LIGHT, DARK], ids=["light", "dark"])
def test_colours_stay_apart_for_every_reader(palette: tuple[str, ...], sight: str) -> None:
    seen = [lab(colour, SIGHTS[sight]) for colour in palette]
    assert min(np.linalg.norm(one - other) for one, other in itertools.combinations(seen, 2)) >= SEPARATION


def test_red_and_green_of_one_lightness_would_not_pass() -> None:
    """Shows that the simulation sees what it should."""
    red, green = "#c0392b", "#5d8a2b"
    plain, blind = (np.linalg.norm(lab(red, s) - lab(green, s)) for s in (np.eye(3), SIGHTS["deuteranope"]))
    assert plain > 60
    assert blind < SEPARATION


@pytest.mark.parametrize("palette", [LIGHT, DARK], ids=["light", "dark"])
def test_colours_stand_out_from_their_ground(palette: tuple[str, ...]) -> None:
    for colour, ground in itertools.product(palette, GROUNDS[palette]):
        assert contrast(colour, ground) >= 3


@pytest.mark.parametrize("palette", [LIGHT, DARK], ids=["light", "dark"])
def test_values_can_be_read_on_every_tint(palette: tuple[str, ...]) -> None:
    for ground, share in itertools.product(GROUNDS[palette], np.linspace(0, 1, 11)):
        assert contrast(INKS[palette], blended(palette[TINT], ground, opacity_of(share))) >= 4.5
    tints = [opacity_of(share) for share in np.linspace(0, 1, 11)]
    assert tints == sorted(tints)


def blended(colour: str, ground: str, opacity: float) -> str:
    parts = [(int(colour[n : n + 2], 16), int(ground[n : n + 2], 16)) for n in (1, 3, 5)]
    return "#" + "".join(f"{round(opacity * a + (1 - opacity) * b):02x}" for a, b in parts)


def test_every_colour_has_its_own_marker_and_dashes() -> None:
    assert len(LIGHT) == len(DARK) == SERIES == len(set(LIGHT)) == len(set(DARK))
    assert len(set(SHAPES)) >= SERIES
    assert len(set(DASHES)) >= SERIES
    assert contrast(FAINT, PAPER) >= 4.5


@in_style()
def test_the_style_sheet_has_the_colours_of_the_module() -> None:
    settings = matplotlib.rcParams
    assert to_hex(settings["text.color"]) == to_hex(settings["axes.labelcolor"]) == INK
    assert to_hex(settings["xtick.color"]) == to_hex(settings["ytick.color"]) == FAINT
    assert to_hex(settings["grid.color"]) == RULE


@given(st.text(max_size=120), st.floats(30, 300))
def test_what_is_fitted_fits(text: str, room: float) -> None:
    cut = fitted(text, room)
    assert width_of(cut) <= room or len(cut) <= 1
    if width_of(text) <= room:
        assert cut == text


@given(st.lists(st.sampled_from(["+ pgd,", "nrms,", "randomized-smoothing,"]), min_size=1, max_size=80))
def test_wrapped_lines_fit_and_are_few(words: list[str]) -> None:
    lines = wrapped(" ".join(words), 200.0, most=4).split("\n")
    assert len(lines) <= 4
    assert all(width_of(line) <= 200 for line in lines)
    if len(lines) < 4:
        assert " ".join(lines) == " ".join(words)


def test_only_names_that_run_left_are_isolated() -> None:
    assert isolated("pgd") == "pgd"
    assert isolated("שלום") == "\u2068שלום\u2069"


@given(st.lists(st.floats(0, 100), min_size=1, max_size=9))
def test_limits_hold_their_values_with_room_for_markers_at_the_ends(values: list[float]) -> None:
    low, high = limits(values, 10, 2)
    assert -4 <= low < min(values)
    assert max(values) < high <= 104
    assert high - low >= 10 - 1e-9 or min(values) < 6 or max(values) > 94


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6), st.integers(0, 6)), max_size=12))
def test_a_row_is_on_the_front_exactly_if_no_other_beats_it(points: list[tuple[int, int, int]]) -> None:
    for own, on in zip(points, front(points), strict=True):
        beaten = any(o != own and all(a >= b for a, b in zip(o, own, strict=True)) for o in points)
        assert on is not beaten


def test_a_staircase_goes_from_the_left_edge_down_to_the_bottom() -> None:
    assert staircase([(2, 5), (4, 3)], 0, 1) == [(0, 5), (2, 5), (2, 3), (4, 3), (4, 1)]
    assert staircase([], 0, 0) == []


def plugin(name: str, distribution: str = "recgauntlet") -> PluginRef:
    return PluginRef(name=name, distribution=distribution, version="1", hyperparameters={})


def test_every_plugin_of_ours_has_a_family_and_nobody_elses() -> None:
    project = tomllib.loads((Path(__file__).resolve().parents[3] / "pyproject.toml").read_text(encoding="utf-8"))
    registered = project["project"]["entry-points"]
    for families, kind in ((MODELS, "models"), (DEFENSES, "defenses")):
        named = [name for names in families.values() for name in names]
        assert sorted(named) == sorted(registered[f"recgauntlet.{kind}"])
    assert defense_family(plugin("pgd")) == "adversarial training"
    assert defense_family(plugin("pgd", "somebody")) == model_family(plugin("nrms", "somebody")) == "other"
    assert model_family(plugin("new")) == defense_family(plugin("new")) == "other"

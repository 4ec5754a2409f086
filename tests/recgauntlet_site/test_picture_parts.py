"""What figures are made of: colours that stay apart, letters that fit, ticks, fronts, families."""

from __future__ import annotations

import itertools
import tomllib
from pathlib import Path

import numpy as np
import pytest
from contrast import contrast
from hypothesis import given
from hypothesis import strategies as st

from recgauntlet.records.schema import PluginRef
from recgauntlet_site.families import DEFENSES, MODELS, defense_family, model_family
from recgauntlet_site.pictures.axes import Scale, spread
from recgauntlet_site.pictures.drawing import SHAPES
from recgauntlet_site.pictures.fronts import front, staircase
from recgauntlet_site.pictures.heat_map import opacity_of
from recgauntlet_site.pictures.lettering import fitted, isolated, left_to_right, width, wrapped
from recgauntlet_site.pictures.looks import DASHES
from recgauntlet_site.pictures.palette import DARK, LIGHT, ON_PAPER, SEPARATION, SERIES, TINT
from recgauntlet_site.pictures.pdf import font_of

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
    assert contrast(ON_PAPER["faint"], ON_PAPER["paper"]) >= 4.5


@pytest.mark.parametrize(
    "text", ["nrms", "+ randomized-smoothing", "Robust accuracy under x, %", "WWW.iii", "1.37×", "a … b – c", "Ähre"]
)
def test_letters_take_no_more_room_than_is_kept_for_them(text: str) -> None:
    for bold in (False, True):
        assert font_of(bold=bold).stringWidth(text, 1.0) <= width(text, 1.0, bold) * 1.02 + 0.05


@given(st.text(max_size=120), st.floats(30, 300))
def test_what_is_fitted_fits(text: str, room: float) -> None:
    cut = fitted(text, 10.0, room)
    assert width(cut, 10.0) <= room or len(cut) <= 1
    if width(text, 10.0) <= room:
        assert cut == text


@given(st.lists(st.sampled_from(["+ pgd,", "nrms,", "randomized-smoothing,"]), min_size=1, max_size=80))
def test_wrapped_pieces_stay_whole_and_none_is_forgotten(pieces: list[str]) -> None:
    lines = wrapped(pieces, 10.0, 200.0, 4)
    assert len(lines) <= 4
    assert all(width(line, 10.0) <= 200 for line in lines)
    told = " ".join(lines)
    shown = told.count(",")
    left = int(told.split(" and ")[-1].split()[0]) if " more" in told and " and " in told else 0
    assert shown + left == len(pieces) or told.startswith("and ")


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("nrms + pgd", "nrms + pgd"),
        ("אבג", "גבא"),
        ("nrms + אב גד!", "nrms + דג בא!"),
        ("אב 12 גד", "בא 12 דג"),
        ("abא", "abא"),
    ],
)
def test_letters_that_run_left_are_set_as_they_stand(text: str, seen: str) -> None:
    assert left_to_right(text) == seen


def test_only_names_that_run_left_are_isolated() -> None:
    assert isolated("pgd") == "pgd"
    assert isolated("שלום") == "\u2068שלום\u2069"


@given(st.floats(0, 90), st.floats(5, 100), st.integers(3, 9), st.booleans())
def test_ticks_are_few_even_and_inside(low: float, span: float, most: int, whole: bool) -> None:
    ticks = Scale(low, low + span, 0, 300).ticks(most, whole=whole)
    assert 1 <= len(ticks) <= most
    assert all(low - 1e-6 <= tick <= low + span + 1e-6 for tick in ticks) or len(ticks) == 1
    steps = np.diff(ticks)
    assert np.allclose(steps, steps[0]) if len(steps) else True
    if whole and len(ticks) > 1:
        assert all(abs(tick - round(tick)) < 1e-9 for tick in ticks)


@given(st.floats(0.05, 0.95), st.floats(1.5, 1e6), st.integers(4, 9))
def test_ticks_of_a_logarithmic_scale_are_inside_and_rise(low: float, high: float, most: int) -> None:
    scale = Scale(low, high, 0, 300, log=True)
    ticks = scale.ticks(most)
    assert 1 <= len(ticks) <= most + 1
    assert list(ticks) == sorted(ticks)
    places = [scale.at(tick) for tick in ticks]
    assert all(0 <= place <= 300 for place in places)


@given(st.lists(st.floats(0, 100), min_size=1, max_size=9))
def test_a_range_holds_its_values_and_keeps_its_ends(values: list[float]) -> None:
    low, high = spread(values, least=10, pad=2, floor=0, ceiling=100)
    assert 0 <= low <= min(values)
    assert max(values) <= high <= 100
    assert high - low >= 10 - 1e-9


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
    project = tomllib.loads((Path(__file__).resolve().parents[2] / "pyproject.toml").read_text(encoding="utf-8"))
    registered = project["project"]["entry-points"]
    assert set(MODELS) == set(registered["recgauntlet.models"])
    assert set(DEFENSES) == set(registered["recgauntlet.defenses"])
    assert "other" not in {*MODELS.values(), *DEFENSES.values()}
    assert defense_family(plugin("pgd")) == "adversarial training"
    assert defense_family(plugin("pgd", "somebody")) == model_family(plugin("nrms", "somebody")) == "other"
    assert model_family(plugin("new")) == defense_family(plugin("new")) == "other"

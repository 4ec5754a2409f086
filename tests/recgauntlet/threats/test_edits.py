from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from recgauntlet.core.dataset import Catalog
from recgauntlet.core.types import PAD, Edit
from recgauntlet.threats.edits import apply_history_edits, apply_text_edits, history_edits, text_edits

CATALOG = Catalog(tuple(f"id-{n}" for n in range(6)), ("text",) * 6, ("",) * 6)
WORDS = st.lists(st.sampled_from(["red", "blue", "cup", "of", "3"]), min_size=1, max_size=7)
ITEMS = st.lists(st.integers(0, 5), min_size=1, max_size=6)


def row(items: list[int], width: int = 6) -> list[int]:
    return [PAD] * (width - len(items)) + items[-width:]


@given(WORDS, WORDS)
def test_text_edits_rebuild_the_perturbed_text(clean: list[str], perturbed: list[str]) -> None:
    before, after = "  ".join(clean), " ".join(perturbed)
    edits = text_edits(before, after)
    assert apply_text_edits(before, edits).split() == perturbed
    assert len(edits) <= max(len(clean), len(perturbed))
    assert bool(edits) == (clean != perturbed)


@given(ITEMS, ITEMS)
def test_history_edits_rebuild_the_perturbed_row(clean: list[int], perturbed: list[int]) -> None:
    before, after = row(clean), row(perturbed)
    edits = history_edits(before, after, CATALOG)
    assert apply_history_edits(before, edits, CATALOG) == after
    assert bool(edits) == (before != after)


@given(st.lists(st.integers(0, 5), min_size=6, max_size=6), st.integers(0, 5), st.integers(1, 6))
def test_an_insertion_into_a_full_history_is_one_edit(items: list[int], new: int, place: int) -> None:
    after = [*items[:place], new, *items[place:]][-6:]
    assert len(history_edits(items, after, CATALOG)) <= 1


def test_edits_say_what_happened_and_where() -> None:
    assert text_edits("red cup of tea", "red mug of hot tea") == (
        Edit(op="replace", at=1, new="mug"),
        Edit(op="insert", at=3, new="hot"),
    )
    assert text_edits("red cup", "red cup gift set") == (
        Edit(op="insert", at=2, new="gift"),
        Edit(op="insert", at=2, new="set"),
    )
    assert history_edits([PAD, 1, 2, 3], [PAD, PAD, 1, 3], CATALOG) == (Edit(op="delete", at=1),)
    assert history_edits([0, 1, 2, 3], [1, 2, 3, 5], CATALOG) == (Edit(op="insert", at=4, new="id-5"),)
    assert apply_text_edits("red  cup", ()) == "red  cup"

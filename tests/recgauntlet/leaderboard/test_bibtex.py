"""BibTeX is read, told apart and written so that a real BibTeX takes it."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import pytest
from hostile import HOSTILE
from hypothesis import given
from hypothesis import strategies as st
from real_latex import bibliography, needs_latex

from recgauntlet import core
from recgauntlet.attacks.suite import suite_attacks
from recgauntlet.core.plugins import names
from recgauntlet.core.recommender import find_model
from recgauntlet.core.task import find_task
from recgauntlet.leaderboard import bibtex
from recgauntlet.training.defense import find_defense

PAPER = """
@article{key2020, title = {A {Nested} title}, author = "Doe, J. and {The {X} group}",
  year = 2020, pages = {1--2},
}
@misc{other:1, note={}}
"""


def test_entries_and_their_fields_are_read() -> None:
    first, second = bibtex.parse(PAPER)
    assert (first.kind, first.key) == ("article", "key2020")
    assert first.fields == {
        "title": "A {Nested} title",
        "author": "Doe, J. and {The {X} group}",
        "year": "2020",
        "pages": "1--2",
    }
    assert (second.key, second.fields) == ("other:1", {"note": ""})
    assert bibtex.parse("") == ()


def test_what_was_read_is_written_so_that_it_reads_the_same() -> None:
    entries = bibtex.parse(PAPER)
    assert bibtex.parse("\n".join(map(str, entries))) == entries


@pytest.mark.parametrize(
    "text",
    [
        "no entry",
        "@misc{a, title = {open}",
        "@misc{a, title = {}}}",
        "@misc{a, title = bare}",
        "@misc{a title = {x}}",
        "@misc{a, {x}}",
        "@misc{a, title = {x\x1b[2J}}",
        '@misc{a, title = "x}"}',
        '@misc{a, title = "x} and {y"}',
    ],
)
def test_what_is_no_bibtex_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="BibTeX"):
        bibtex.parse(text)


def test_an_entry_stands_once_and_another_of_its_key_gets_a_number() -> None:
    one, same, other = (bibtex.entry("misc", "k", {"title": title}) for title in ("a", "a", "b"))
    assert [entry.key for entry in bibtex.merged([one, same, other, other])] == ["k", "k-2"]


@given(st.dictionaries(st.sampled_from(["title", "note", "author"]), st.text(max_size=30), min_size=1))
def test_any_text_makes_an_entry_that_can_be_read(fields: dict[str, str]) -> None:
    made = bibtex.entry("misc", "any key, {of}", fields)
    assert bibtex.parse(str(made))[0].key == made.key


def test_an_address_keeps_its_marks() -> None:
    made = bibtex.entry("misc", "k", {"url": "https://example.org/a_b?x=1%20#row-{1}"})
    assert made.fields["url"] == "https://example.org/a_b?x=1%20#row-%7B1%7D"


def all_references() -> list[bibtex.Entry]:
    texts = [files(core).joinpath("references.bib").read_text(encoding="utf-8")]
    texts += [find_model(name).value.citation for name in ("nrms", "bert", "bpr-mf", "lightgcn")]
    texts += [find_defense(name).value.citation for name in ("fgsm", "fgm", "pgd")]
    texts += [attack.citation for attack in suite_attacks()]
    for name in names("tasks"):
        texts += [track.source.citation for track in find_task(name).card.tracks.values()]
    return [entry for text in texts for entry in bibtex.parse(text)]


def test_every_reference_that_ships_is_complete_and_no_key_means_two_things() -> None:
    entries = all_references()
    assert len(entries) > 20
    for entry in entries:
        assert {"title", "author"} <= entry.fields.keys(), entry.key
        assert entry.kind == "misc" or "year" in entry.fields, entry.key
        assert entry.kind != "inproceedings" or "booktitle" in entry.fields, entry.key
        assert entry.kind != "article" or "journal" in entry.fields, entry.key
    assert len(bibtex.merged(entries)) == len({entry.key for entry in entries})


@needs_latex
def test_a_real_bibtex_sets_every_reference_and_hostile_names_do_nothing(tmp_path: Path) -> None:
    entries = list(bibtex.merged(all_references()))
    entries += [
        bibtex.entry("misc", f"hostile{number}", {"title": name or "-", "author": name or "-", "note": name or "-"})
        for number, name in enumerate(HOSTILE)
        if len(name) < 1000  # BibTeX itself cuts lines that long
    ]
    made = bibliography("\n".join(map(str, entries)), tmp_path)
    assert made.count(r"\bibitem") == len(entries)
    assert "root:" not in made

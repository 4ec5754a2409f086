"""What turns a decision, on the page of a row: in words and bars, with nothing of the file run or unescaped."""

from __future__ import annotations

from pathlib import Path

from board import HOSTILE, render_records
from page_reader import Element, read_page
from synthetic_explanations import EDITS, evident_record, explanation_of, side

from recgauntlet.records.explanations import ExplainedDecision, Turn, write_explanation
from recgauntlet.records.io import read_records
from recgauntlet.records.schema import RunRecord
from recgauntlet_site.pages.explanations import MOST_LINES, SHOWN
from recgauntlet_site.render import render_site

RECORDS = [evident_record(seed=seed, defense=defense) for seed in range(3) for defense in ("standard", "pgd")]


def rendered(folder: Path, found: list[ExplainedDecision], records: list[RunRecord] = RECORDS) -> dict[str, bytes]:
    for number, one in enumerate(found):
        write_explanation(one, folder / "explanations" / f"{number}.json")
    return render_records(folder, records)


def row_of(files: dict[str, bytes], defense: str) -> bytes:
    (page,) = [content for name, content in files.items() if name.startswith("rows/") and f"-nrms-{defense}-" in name]
    return page


def section(page: bytes) -> Element:
    (found,) = read_page(page).all("section", **{"aria-labelledby": "explanations"})
    return found


def test_the_edit_the_smallest_edit_and_every_part_are_said_in_words(tmp_path: Path) -> None:
    files = rendered(tmp_path, [explanation_of(RECORDS[1])])
    found = section(row_of(files, "pgd"))
    text = " ".join(found.text().split())
    assert "Test example 1, seed 0: stuffing, medium tier" in text
    assert "tin war box the user did not click" in text
    assert "−0.500, not clicked right" in text
    assert "+0.250, clicked wrong; found by greedy, evidence of the record" in text
    assert "replace “war” by “peace”; delete “box”; insert “jumbo” before the end" in text
    assert "replace “war” by “peace” +0.125, clicked no smaller edit turns it" in text
    (table,) = found.all("table")
    lines = [
        [" ".join(cell.text().split()) for part in ("th", "td") for cell in line.all(part)]
        for line in table.all("tbody")[0].all("tr")
    ]
    assert lines == [
        ["tin", "+0.250", "+1.000", "+0.125", "+0.500"],
        ["war → peace replaced", "–", "–", "+0.000", "+0.000"],
        ["box went", "−0.125", "–", "−0.062", "–"],
        ["jumbo came in", "–", "−0.125", "–", "−0.062"],
    ]
    widths = [float(bar.attributes["width"]) for bar in table.all("rect")]
    assert widths[:4] == [12.5, 50.0, 12.5, 50.0]
    assert "explanations" not in row_of(files, "standard").decode()


def test_hostile_text_stays_text(tmp_path: Path) -> None:
    bad = (HOSTILE, '"><img src=x onerror=alert(1)>', "a\u202eb")
    made = explanation_of(
        RECORDS[1],
        candidate=HOSTILE,
        before=side(bad, -0.5, 0.25),
        flip=Turn(edits=EDITS, score=0.25, attack=HOSTILE),
    )
    page = row_of(rendered(tmp_path, [made]), "pgd").decode()
    assert HOSTILE not in page
    assert "<img src=x" not in page
    assert "\u202e" not in page
    assert HOSTILE in section(page.encode()).text()
    assert "style=" not in page


def test_what_cannot_stand_there_is_listed_with_field_and_remedy(tmp_path: Path) -> None:
    elsewhere = explanation_of(RECORDS[1].model_copy(update={"weights_sha256": "a" * 64}))
    other = explanation_of(RECORDS[1], flip=Turn(edits=EDITS, score=9.0, attack="x"))
    task = RECORDS[1].task.model_copy(update={"redistributable": False})
    secret = explanation_of(RECORDS[1].model_copy(update={"task": task}))
    files = rendered(tmp_path, [elsewhere, other, secret])
    assert "What turns a decision" not in row_of(files, "pgd").decode()
    start = " ".join(read_page(files["index.html"]).text().split())
    for number, words in enumerate(
        [
            ("explains no record here", "explained", "put it beside the record"),
            ("does not have as evidence", "flip", "explain an example that"),
            ("may not be redistributed", "explained.task.redistributable", "move it out of the results"),
        ]
    ):
        assert f"mine/explanations/{number}.json" in start
        assert all(word in start for word in words)
    assert not [name for name in files if "explanation" in name and name.endswith(".json")]


def test_a_page_shows_a_few_and_links_the_others(tmp_path: Path) -> None:
    scores = (0.25, 0.2501, 0.2502, 0.2503)
    several = [explanation_of(RECORDS[1], flip=Turn(edits=EDITS, score=score, attack="greedy")) for score in scores]
    files = rendered(tmp_path, several)
    found = section(row_of(files, "pgd"))
    assert len(found.all("table")) == SHOWN
    links = [link.attributes["href"].removeprefix("../") for link in found.all("a") if "download" in link.attributes]
    assert len(links) == len(several)
    assert all(link in files for link in links)


def test_long_inputs_show_what_the_edit_touches_and_what_adds_most(tmp_path: Path) -> None:
    words = tuple(f"w{n}" for n in range(40))
    values = tuple(n / 100 for n in range(40))
    plain = explanation_of(RECORDS[1])
    long_before = plain.before.model_copy(update={"parts": words, "deletion": values, "integrated_gradients": None})
    long_after = long_before.model_copy(update={"parts": ("new", *words[1:]), "score": 0.25})
    made = explanation_of(
        RECORDS[1], before=long_before, after=long_after, rows=tuple((n, n) for n in range(40)), smallest=None
    )
    found = section(row_of(rendered(tmp_path, [made]), "pgd"))
    heads = [" ".join(line.all("th")[0].text().split()) for line in found.all("tbody")[0].all("tr")]
    assert heads == ["w0 → new replaced", *words[-MOST_LINES + 1 :]]
    text = " ".join(found.text().split())
    assert "16 words that add less are left out" in text
    assert "no integrated gradients before the edit: the model’s scores are random" in text


def test_the_copies_render_again(tmp_path: Path) -> None:
    files = rendered(tmp_path / "one", [explanation_of(RECORDS[1])])
    copies = tmp_path / "copies"
    for name, content in files.items():
        (copies / name).parent.mkdir(parents=True, exist_ok=True)
        (copies / name).write_bytes(content)
    again = read_records(copies / "records")
    assert len(again.explanations) == 1
    assert dict(render_site([("mine", copies / "records", again)], cards=lambda table: None)) == files

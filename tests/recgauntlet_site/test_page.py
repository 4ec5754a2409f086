"""The page: its numbers, its words, its safety and its accessibility."""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path

import numpy as np
import pytest
from board import HOSTILE, Board, board_records, shop_card
from page_reader import Element, read_page
from synthetic_records import make_record

from recgauntlet.record import RunRecord, write_record
from recgauntlet.results import Results, read_results
from recgauntlet_site.pictures.palette import SERIES
from recgauntlet_site.render import render_site


@pytest.fixture(scope="module")
def page(board: Board) -> Element:
    document, faults = read_page(board.page)
    assert faults == []
    return document


def section(page: Element, task: str, track: str = "standard") -> Element:
    return next(
        part
        for part in page.all("section", class_="task")
        if part.all("p", class_="eyebrow")[0].text().split()[0] == task
        and f"{track} track" in part.all("p", class_="eyebrow")[0].text()
    )


def board_rows(part: Element) -> list[tuple[Element, Element]]:
    """The main row and the notes row of each row of a section's board."""
    return [(body.all("tr")[0], body.all("tr")[1]) for body in part.all("table", class_="board")[0].all("tbody")]


def row_of(part: Element, name: str) -> tuple[Element, Element]:
    return next(pair for pair in board_rows(part) if pair[0].all("th")[0].text().startswith(name))


def right(record: RunRecord) -> np.ndarray:
    assert record.clean is not None
    return (record.clean.scores.to_float() > 0) == record.clean.labels.to_bool()


def test_every_accuracy_on_the_page_is_recomputed_from_the_records(page: Element) -> None:
    """From the packed bits alone, by other code than the page's: clean, robust at every tier, retained."""
    checked = 0
    records = [r for r in board_records() if r.status == "ok" and r.model.name in {"nrms", "mf"}]
    for part in page.all("section", class_="task"):
        task = part.all("p", class_="eyebrow")[0].text().split()[0]
        track = "demo" if "demo track" in part.all("p", class_="eyebrow")[0].text() else "standard"
        tables = part.all("table")
        if not tables:
            continue
        heads = [head.text().split()[0] for head in tables[0].all("thead")[0].all("th")]
        every_tier = next(t for t in tables if t.all("caption")[0].text().startswith("Robust accuracy in per cent ("))
        tier_rows = every_tier.all("tbody")[0].all("tr")
        for (row, _), tiers in zip(board_rows(part), tier_rows, strict=True):
            name = row.all("th")[0].text()
            assert tiers.all("th")[0].text() == name
            chosen = [
                r
                for r in records
                if (r.task.id, r.task.track) == (task, track)
                and name.startswith(f"{r.model.name} + {r.defense.name}")
                and (" epsilon" not in name or f"epsilon = {r.defense.hyperparameters.get('epsilon')}" in name)
            ]
            if not chosen:
                continue
            cells = dict(zip(heads[2:], row.all("td")[1:], strict=True))
            clean = float(np.mean([right(r).mean() for r in chosen]))
            assert cells["Clean"].all("span", class_="value")[0].text() == f"{100 * clean:.1f}"
            worst = []
            tier_cells = iter(tiers.all("td"))
            for threat in [head for head in heads if head in {"stuffing", "tampering", "embedding"}]:
                outcomes = [next(t for t in r.threats if t.id == threat) for r in chosen]
                for level, tier in enumerate(("low", "standard", "high")):
                    cell = next(tier_cells)
                    if not outcomes[0].tiers:
                        assert cell.text() == "not applicable"
                        continue
                    robust = float(np.mean([o.tiers[level].robust.to_bool().mean() for o in outcomes]))
                    assert cell.all("span", class_="value")[0].text() == f"{100 * robust:.1f}"
                    assert f"keeps {100 * robust / clean:.1f}" in cell.text()
                    checked += 1
                    if tier == "standard":
                        assert cells[threat].all("span", class_="value")[0].text() == f"{100 * robust:.1f}"
                        if outcomes[0].ranked:
                            worst.append(robust)
            if worst:
                shown = cells["Retained"].all("span", class_="value")[0].text()
                assert shown == f"{100 * min(worst) / clean:.1f}"
    assert checked >= 40


def test_intervals_hold_their_values_and_are_read_out(page: Element) -> None:
    cells = page.all("td", class_="number")
    shown = [cell for cell in cells if cell.all("svg", class_="bar")]
    assert len(shown) > 20
    for cell in shown:
        value = float(cell.all("span", class_="value")[0].text())
        found = re.search(r"95 % interval ([\d.]+)–? to ([\d.]+)", cell.all("span", class_="interval")[0].text())
        assert found is not None
        assert float(found[1]) <= value <= float(found[2])


def test_cost_is_a_multiple_of_the_undefended_twin(page: Element) -> None:
    shop = section(page, "shop")
    assert "1.41×" in row_of(shop, "nrms + pgd epsilon = 0.2")[0].all("td", data_label="Training cost")[0].text()
    twin = row_of(shop, "nrms + standard")[0].all("td", data_label="Training cost")[0].text()
    assert "1×" in twin
    assert "the undefended twin" in twin


def test_flagged_rows_say_why_on_the_spot_and_have_no_rank(page: Element) -> None:
    shop = section(page, "shop")
    for name, word in {
        "nrms + collapsed": "failed check: not-constant: 99.0% of the predictions",
        "nrms + fgm": "fewer than three seeds",
        "mf + standard": "does not read what stuffing changes",
    }.items():
        row, notes = row_of(shop, name)
        assert row.all("td", class_="rank")[0].text() == "–not ranked"
        assert word in notes.all("ul", class_="flags")[0].text()
    assert "seed 1 failed" in row_of(shop, "nrms + fgm")[1].text()
    assert "refused" in row_of(shop, "nrms + pgd epsilon = 0.4")[1].text()
    assert row_of(shop, "nrms + pgd epsilon = 0.2")[0].all("td", class_="rank")[0].text() == "1"


def test_what_a_model_does_not_read_is_not_applicable(page: Element) -> None:
    row, _ = row_of(section(page, "shop"), "mf + standard")
    assert row.all("td", data_label="stuffing")[0].text() == "not applicable"


def test_demo_tables_are_labelled_simulated_and_unranked(page: Element) -> None:
    demo = section(page, "shop", "demo")
    assert "Demo, simulated data. Not ranked." in demo.all("p", class_="banner")[0].text()
    assert {row.all("td", class_="rank")[0].text() for row, _ in board_rows(demo)} == {"–not ranked"}
    assert "demo, simulated" in page.all("nav")[0].text()
    assert not section(page, "shop").all("p", class_="banner")


def test_failed_cells_and_unreadable_files_are_listed_with_their_errors(page: Element) -> None:
    failed = section(page, "shop").all("ul", class_="failed")[0].text()
    assert "nrms + fgm, seed 1, while training: RuntimeError: the loss became <NaN>" in failed
    assert "no data" in section(page, "lost").text()
    (broken,) = [part for part in page.all("section") if part.attributes.get("aria-labelledby") == "broken"]
    assert "preview/records/cut <b>.json" in broken.text()
    assert "is not complete JSON" in broken.text()


def test_the_installed_cards_words_are_shown_and_a_missing_card_is_told(page: Element) -> None:
    shop = section(page, "shop").text()
    for words in (
        "Will this shopper buy it?",
        "will they buy <this>?",
        "Orders & baskets.",
        "CC BY 4.0",
        "no word more than twice",
        "none of ! $ added",
        "@misc{orders, title={{Orders}}}",
        "1 / 2 / 4 words",
        "100 / 500 / 2,000 queries",
        "Title rules of the trade",
    ):
        assert words in shop
    assert "not installed here" not in shop
    assert "not installed here" in section(page, "news").text()


def test_the_headline_says_who_is_first_at_what_cost(page: Element) -> None:
    told = section(page, "shop").all("p", class_="headline")[0].text()
    assert told.startswith("nrms + pgd keeps 65.0 % of its answers right under stuffing")
    assert "at 1.41× the training time. Its undefended twin keeps 50.0 %" in told


def test_the_commands_to_reproduce_it_are_quoted_for_a_shell(page: Element) -> None:
    commands = [pre.text() for pre in page.all("pre", class_="command")]
    (shop,) = [text for text in commands if "--task shop" in text and "--track standard" in text]
    assert "--seeds 0,1,2" in shop
    assert "--model '<script>alert(\"x\")</script>'" in shop
    assert "--defense pgd" in shop


def test_hostile_names_are_text(board: Board, page: Element) -> None:
    assert HOSTILE not in board.page
    assert any(HOSTILE in head.text() for head in page.all("th"))
    assert "</td><b>crash</b>" in page.text()
    assert len(page.all("script")) == 1
    assert not page.all("b")
    assert "\u202e" not in board.page
    assert "pgd\\u202etxet\\u2066" in page.text()
    assert "long" * 60 in page.text()
    for name in board.files:
        assert re.fullmatch(r"[a-z0-9./-]+", name)


def test_the_page_loads_nothing_and_forbids_everything_else(board: Board, page: Element) -> None:
    (policy,) = page.all("meta", http_equiv="Content-Security-Policy")
    rules = dict(rule.strip().split(" ", 1) for rule in policy.attributes["content"].split(";"))
    assert rules["default-src"] == "'none'"
    for name in ("style", "script"):
        text = page.all(name)[0].text()
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert rules[f"{name}-src"] == f"'sha256-{digest}'"

    def walk(element: Element) -> list[Element]:
        inner = [child for child in element.children if isinstance(child, Element)]
        return [element, *(below for child in inner for below in walk(child))]

    for element in walk(page):
        assert not element.has({"style": element.attributes.get("style", "-")}), element
        assert not [name for name in element.attributes if name.startswith("on")]
        if element.tag != "a":
            assert "src" not in element.attributes
            assert element.attributes.get("href", "#").startswith(("#", "data:,"))
    assert "url(http" not in board.page
    assert "@import" not in board.page


def test_every_link_inside_leads_somewhere(board: Board, page: Element) -> None:
    ids = [
        element.attributes["id"]
        for tag in ("h2", "main", "caption")
        for element in page.all(tag)
        if "id" in element.attributes
    ]
    links = [link.attributes["href"] for link in page.all("a")]
    assert any(link.startswith("records/") for link in links)
    for link in links:
        if link.startswith("#"):
            assert link[1:] in ids
        elif not link.startswith(("https://example.org", "../../docs/")):
            assert link in board.files
    for name in (name for name in board.files if name.startswith("records/")):
        assert name in links


def test_ids_are_there_once_and_every_reference_has_its_id(board: Board) -> None:
    ids = re.findall(r'\bid="([^"]+)"', board.page)
    assert len(ids) == len(set(ids))
    for wanted in re.findall(r'(?:url\(#|href="#|labelledby=")([^)"]+)', board.page):
        assert wanted in ids


def test_tables_have_captions_and_scopes_and_plots_have_words(page: Element) -> None:
    assert page.all("html")[0].attributes["lang"] == "en"
    assert len(page.all("h1")) == 1
    for table in page.all("table"):
        assert table.all("caption")[0].text().strip()
        assert all(head.attributes.get("scope") for head in table.all("th"))
    plots = page.all("div", role="img")
    assert len(plots) == 8
    for plot in plots:
        assert re.search("rows? under .* tier: clean accuracy|Accuracy against the", plot.attributes["aria-label"])
        assert plot.all("svg")[0].attributes["aria-hidden"] == "true"


def test_plots_take_their_colours_from_the_style_sheet(page: Element) -> None:
    for plot in page.all("svg", class_="plot"):
        drawn = [element for tag in ("g", "path", "circle", "text") for element in plot.all(tag)]
        assert drawn
        for element in drawn:
            for name in ("fill", "stroke"):
                assert element.attributes.get(name, "none") == "none", element
    style = page.all("style")[0].text()
    for name in ("ink", "faint", "paper", *(f"s{number}" for number in range(SERIES))):
        assert f".fill-{name}{{" in style
        assert f".stroke-{name}{{" in style


def test_text_stands_out_from_its_ground_in_light_and_dark(page: Element) -> None:
    """WCAG AA: 4.5 for text, 3 for marks."""
    style = page.all("style")[0].text()
    for block in re.findall(r":root\{([^}]*--ink:[^}]*--s5:[^}]*)\}", style):
        colours = dict(re.findall(r"--([\w-]+):(#[0-9a-f]{6})", block))
        for ground in ("paper", "card", "wash"):
            for name in ("ink", "soft", "link", "warn", "rank"):
                assert contrast(colours[name], colours[ground]) >= 4.5, (name, ground)
        assert contrast(colours["warn"], colours["warn-wash"]) >= 4.5
        for number in range(6):
            assert contrast(colours[f"s{number}"], colours["paper"]) >= 3


def contrast(one: str, other: str) -> float:
    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_the_same_records_give_the_same_bytes_in_any_order(board: Board) -> None:
    mixed = Results(tuple(reversed(board.results.records)), board.results.broken)
    assert render_site([("preview", board.directory, mixed)], cards=shop_card) == board.files


def test_a_page_without_records_says_so() -> None:
    page, faults = read_page(render_site([])["index.html"].decode())
    assert faults == []
    assert "There are no records yet" in page.text()


def test_tables_of_one_task_that_may_not_be_compared_say_why_and_link_each_other(tmp_path: Path) -> None:
    for seed in range(3):
        for suite in "12":
            write_record(make_record(seed=seed, suite_fingerprint=suite * 64), tmp_path / f"{suite}-{seed}.json")
    files = render_site([("mine", tmp_path, read_results(tmp_path))], cards=lambda table: None)
    page, faults = read_page(files["index.html"].decode())
    assert faults == []
    sections = page.all("section", class_="task")
    assert len(sections) == 2
    for part, other in zip(sections, reversed(sections), strict=True):
        (told,) = [p for p in part.all("p", class_="banner") if "Not in one ranking" in p.text()]
        assert "another attack suite" in told.text()
        assert told.all("a")[0].attributes["href"] == "#" + other.all("h2")[0].attributes["id"]

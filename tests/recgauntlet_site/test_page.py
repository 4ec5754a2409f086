"""The page: its numbers, its words, its safety and its accessibility."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

import numpy as np
import pytest
from board import CARD, HOSTILE, Board, board_records, render_records
from contrast import contrast
from page_reader import Element, read_page
from synthetic_records import make_record

from recgauntlet.core.card import Split
from recgauntlet.core.names import shown as shown_name
from recgauntlet.records.io import read_records, write_record
from recgauntlet.records.schema import RunRecord
from recgauntlet_site.render import render_site


@pytest.fixture(scope="module")
def page(board: Board) -> Element:
    return read_page(board.page)


@pytest.fixture(scope="module")
def shop(board: Board) -> Element:
    return task_page(board, "shop")


def task_page(board: Board, task: str, track: str = "standard") -> Element:
    return read_page(board.task(task, track))


def section(page: Element, task: str, track: str = "standard") -> Element:
    return next(
        part
        for part in page.all("section", class_="task")
        if part.all("p", class_="eyebrow")[0].text().split()[0] == task
        and f"{track} track" in part.all("p", class_="eyebrow")[0].text()
    )


def board_rows(part: Element, kind: str = "board") -> list[Element]:
    return part.all("table", class_=kind)[0].all("tbody")[0].all("tr")


def row_of(part: Element, name: str, kind: str = "board") -> Element:
    return next(row for row in board_rows(part, kind) if name_of(row).startswith(name))


def name_of(row: Element) -> str:
    return " ".join(row.all("th")[0].text().split())


def cells_of(part: Element, row: Element) -> dict[str, Element]:
    """A row's cells by the keys of their columns."""
    heads = [head.attributes["data-key"] for head in part.all("table", class_="board")[0].all("thead")[0].all("th")]
    inside = [child for child in row.children if isinstance(child, Element)]
    return dict(zip(heads, inside, strict=True))


def value(cell: Element) -> str:
    """The text of a cell without its small line."""
    return "".join(child for child in cell.children if isinstance(child, str)).strip()


def right(record: RunRecord) -> np.ndarray:
    assert record.clean is not None
    return (record.clean.scores.to_float() > 0) == record.clean.labels.to_bool()


def test_every_accuracy_on_the_pages_is_recomputed_from_the_records(board: Board, page: Element) -> None:
    """From the packed bits alone, by other code than the pages': clean, robust at every tier, retained."""
    checked = 0
    records = [r for r in board_records() if r.status == "ok" and r.model.name in {"nrms", "mf"}]
    for task, track in {(r.task.id, r.task.track) for r in records}:
        part = task_page(board, task, track)
        for row in board_rows(part):
            name, cells = name_of(row), cells_of(part, row)
            chosen = [
                r
                for r in records
                if (r.task.id, r.task.track) == (task, track)
                and name.split(" epsilon")[0] == f"{r.model.name} + {shown_name('defense', r.defense.name)}"
                and (" epsilon" not in name or f"epsilon = {r.defense.hyperparameters.get('epsilon')}" in name)
            ]
            if not chosen:
                continue
            clean = float(np.mean([right(r).mean() for r in chosen]))
            assert value(cells["clean"]) == f"{100 * clean:.1f}"
            worst = []
            for number, threat in enumerate(chosen[0].threats):
                outcomes = [next(t for t in r.threats if t.id == threat.id) for r in chosen]
                for level, tier in enumerate(("low", "standard", "high")):
                    cell = cells[f"t{number}{tier[0]}"]
                    if not outcomes[0].tiers:
                        assert cell.text() == "not applicable"
                        continue
                    robust = float(np.mean([o.tiers[level].robust.to_bool().mean() for o in outcomes]))
                    assert value(cell) == f"{100 * robust:.1f}"
                    checked += 1
                    if tier == "standard" and outcomes[0].ranked:
                        worst.append(robust)
            if worst:
                assert value(cells["retained"]) == f"{100 * min(worst) / clean:.1f}"
                first = row_of(section(page, task, track), name, "headlines")
                shown = {cell.attributes.get("data-label"): value(cell) for cell in first.all("td")}
                assert (shown["clean"], shown["robust"]) == (f"{100 * clean:.1f}", f"{100 * min(worst):.1f}")
            own = read_page(board.files[row_link(row)[3:]])
            assert f"{100 * clean:.1f}" in own.all("dl", class_="keys")[0].text()
            seeds = own.all("section", aria_labelledby="seeds")[0].all("tbody")[0].all("tr")
            for seed, record in zip(seeds, chosen, strict=True):
                assert seed.all("td")[0].text() == f"{100 * right(record).mean():.1f}"
    assert checked >= 40


def row_link(row: Element) -> str:
    return row.all("th")[0].all("a")[0].attributes["href"]


def test_intervals_hold_their_values(shop: Element) -> None:
    shown = 0
    for row in board_rows(shop):
        for cell in row.all("td"):
            found = re.fullmatch(r"([\d.]+) ([\d.]+)–([\d.]+)(?: [\d.]+ % turned)?", " ".join(cell.text().split()))
            if found:
                shown += 1
                assert float(found[2]) <= float(found[1]) <= float(found[3])
    assert shown > 20


def test_cost_is_a_multiple_of_the_undefended_twin(shop: Element) -> None:
    assert value(cells_of(shop, row_of(shop, "nrms + pgd epsilon = 0.2"))["seconds"]) == "1.41×"
    twin = cells_of(shop, row_of(shop, "nrms + undefended"))["seconds"]
    assert " ".join(twin.text().split()) == "1× the twin"


def test_flagged_rows_say_why_on_the_spot_and_have_no_rank(shop: Element) -> None:
    for name, word in {
        "nrms + collapsed": "failed check: not-constant: 99.0% of the predictions",
        "nrms + fgm": "fewer than three seeds",
        "mf + undefended": "does not read what stuffing changes",
    }.items():
        row = row_of(shop, name)
        assert row.all("td", class_="rank")[0].text() == "–not ranked"
        assert word in flags_of(shop, row)
    assert "seed 1 failed" in flags_of(shop, row_of(shop, "nrms + fgm"))
    assert "refused" in flags_of(shop, row_of(shop, "nrms + pgd epsilon = 0.4"))
    assert row_of(shop, "nrms + pgd epsilon = 0.2").all("td", class_="rank")[0].text() == "1 range 1"
    assert value(cells_of(shop, row_of(shop, "nrms + pgd epsilon = 0.2"))["best"]) == "100"


def flags_of(page: Element, row: Element) -> str:
    """What a row's button explains."""
    (button,) = row.all("button", class_="flag")
    (told,) = page.all("div", id=button.attributes["popovertarget"])
    assert "popover" in told.attributes
    return told.text()


def test_demo_tables_are_labelled_simulated_and_unranked(board: Board, page: Element) -> None:
    demo = section(page, "shop", "demo")
    assert "Demo, simulated data. Not ranked." in demo.all("p", class_="banner")[0].text()
    assert {row.all("td")[0].text() for row in board_rows(demo, "headlines")} == {"–not ranked"}
    assert "demo, simulated" in page.all("nav")[0].text()
    assert not section(page, "shop").all("p", class_="banner")
    own = task_page(board, "shop", "demo")
    assert "Not ranked." in own.all("p", class_="banner")[0].text()
    assert {row.all("td", class_="rank")[0].text() for row in board_rows(own)} == {"–not ranked"}


def test_failed_cells_and_unreadable_files_are_listed_with_their_errors(board: Board, page: Element) -> None:
    failed = task_page(board, "shop").all("ul", class_="failed")[0].text()
    assert "nrms + fgm, seed 1, stage training: RuntimeError: the loss became <NaN>" in failed
    assert "no data" in task_page(board, "lost").text()
    assert "1 failed" in section(page, "lost").text()
    (broken,) = [part for part in page.all("section") if part.attributes.get("aria-labelledby") == "broken"]
    assert "preview/records/cut <b>.json" in broken.text()
    assert "is not complete JSON" in broken.text()


def test_the_text_of_an_installed_card_is_shown_and_a_missing_card_is_reported(board: Board) -> None:
    shop = task_page(board, "shop").text()
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
    assert "not installed here" in task_page(board, "news").text()


def test_the_headline_names_the_best_row_and_its_cost(page: Element) -> None:
    told = section(page, "shop").all("p", class_="headline")[0].text()
    assert told.startswith("nrms + pgd has 65.0 % robust accuracy under stuffing")
    assert "at 1.41× the training time of the undefended twin. The twin has 50.0 %" in told


def test_the_commands_to_reproduce_it_are_quoted_for_a_shell(board: Board, shop: Element) -> None:
    about = read_page(board.files["about.html"])
    commands = [pre.text() for pre in about.all("pre", class_="command")]
    (command,) = [text for text in commands if "--model '<script>alert(\"x\")</script>'" in text]
    assert command.startswith("recgauntlet run --task shop --track standard ")
    assert "--seeds 0,1,2" in command
    own = read_page(board.files[row_link(row_of(shop, "nrms + pgd epsilon = 0.2"))[3:]])
    (command,) = [pre.text() for pre in own.all("pre", class_="command")]
    assert command.startswith("recgauntlet run --task shop --track standard --model nrms --defense pgd")
    assert "--defense-option epsilon=0.2" in command
    hostile = next(row for row in board_rows(shop) if HOSTILE in row.text())
    own = read_page(board.files[row_link(hostile)[3:]])
    (command,) = [pre.text() for pre in own.all("pre", class_="command")]
    assert "--model '<script>alert(\"x\")</script>'" in command


def test_hostile_names_are_text_on_every_page(board: Board, shop: Element) -> None:
    for text in board.pages.values():
        document = read_page(text)
        assert HOSTILE not in text
        assert "\u202e" not in text
        for script in document.all("script"):
            assert script.attributes.get("src") or script.attributes["type"] == "application/json"
        assert not document.all("b")
    assert any(HOSTILE in head.text() for head in shop.all("th"))
    assert "</td><b>crash</b>" in "".join(read_page(text).text() for text in board.pages.values())
    assert "pgd\\u202etxet\\u2066" in shop.text()
    assert "long" * 60 in shop.text()
    for name in board.files:
        assert re.fullmatch(r"[A-Za-z0-9./-]+", name)


def walk(element: Element) -> list[Element]:
    inner = [child for child in element.children if isinstance(child, Element)]
    return [element, *(below for child in inner for below in walk(child))]


def test_no_page_loads_anything_from_elsewhere_and_each_forbids_it(board: Board) -> None:
    for path, text in board.pages.items():
        document = read_page(text)
        (policy,) = document.all("meta", http_equiv="Content-Security-Policy")
        rules = dict(rule.strip().split(" ", 1) for rule in policy.attributes["content"].split(";"))
        assert rules["default-src"] == "'none'"
        assert rules["script-src"] == rules["style-src"] == "'self' file:"
        for element in walk(document):
            assert "style" not in element.attributes, element
            assert not [name for name in element.attributes if name.startswith("on")]
            assert element.tag != "style"
            if element.tag in {"script", "link"} and element.attributes.get("type") != "application/json":
                target = element.attributes.get("src", element.attributes.get("href", ""))
                assert target == "data:," or resolved(path, target) in board.files
    style = board.files["assets/style.css"].decode()
    assert "url(" not in style
    assert "@import" not in style


def resolved(path: str, link: str) -> str:
    return posixpath.normpath(posixpath.join(posixpath.dirname(path), link.partition("#")[0]))


def test_every_link_inside_leads_somewhere(board: Board) -> None:
    ids = {path: set(re.findall(r'\bid="([^"]+)"', text)) for path, text in board.pages.items()}
    linked = set()
    for path, text in board.pages.items():
        for link in (link.attributes["href"] for link in read_page(text).all("a")):
            if link.startswith("https://example.org"):
                continue
            target = resolved(path, link) if not link.startswith("#") else path
            linked.add(target)
            assert target in board.files, (path, link)
            if "#" in link and target.endswith(".html"):
                assert link.partition("#")[2] in ids[target], (path, link)
    assert {name for name in board.files if name.startswith(("records/", "downloads/", "rows/"))} <= linked
    assert set(board.pages) <= linked


def test_ids_are_there_once_and_every_reference_has_its_id(board: Board) -> None:
    for text in board.pages.values():
        ids = re.findall(r'\bid="([^"]+)"', text)
        assert len(ids) == len(set(ids))
        for wanted in re.findall(r'(?:url\(#|labelledby="|popovertarget=")([^)"]+)', text):
            assert wanted in ids


def test_tables_have_captions_and_scopes_and_plots_have_words(board: Board, shop: Element) -> None:
    for text in board.pages.values():
        document = read_page(text)
        assert document.all("html")[0].attributes["lang"] == "en"
        assert len(document.all("h1")) == 1
        for table in document.all("table"):
            assert table.all("caption")[0].text().strip()
            assert all(head.attributes.get("scope") for head in table.all("th"))
    images = shop.all("img")
    assert len(images) == 7
    for image in images:
        assert len(image.attributes["alt"]) > 40


def test_figures_have_a_file_for_light_and_print_one_for_dark_mode_and_one_for_papers(
    board: Board, shop: Element
) -> None:
    for picture in shop.all("picture"):
        (dark,), (light,) = picture.all("source"), picture.all("img")
        assert dark.attributes["media"] == "screen and (prefers-color-scheme: dark)"
        for path in (light.attributes["src"], dark.attributes["srcset"]):
            assert board.files[path.removeprefix("../")].startswith(b"<?xml")
        assert dark.attributes["srcset"] == light.attributes["src"].replace(".svg", "-dark.svg")
        assert board.files[light.attributes["src"].removeprefix("../").replace(".svg", ".pdf")].startswith(b"%PDF")


def test_text_stands_out_from_its_ground_in_light_and_dark(board: Board) -> None:
    """WCAG AA: 4.5 for text."""
    style = board.files["assets/style.css"].decode()
    light, dark, _ = re.findall(r":root\{([^}]*)\}", style.partition("--s0")[0])  # the third is for print
    for block in (light, dark):
        colours = dict(re.findall(r"--([\w-]+):(#[0-9a-f]{6})", block))
        for ground in ("paper", "card", "wash"):
            for name in ("ink", "soft", "link", "warn", "rank"):
                assert contrast(colours[name], colours[ground]) >= 4.5, (name, ground)
        assert contrast(colours["warn"], colours["warn-wash"]) >= 4.5


def test_tables_of_one_task_that_may_not_be_compared_say_why_and_link_each_other(tmp_path: Path) -> None:
    records = [make_record(seed=seed, suite_fingerprint=suite * 64) for seed in range(3) for suite in "12"]
    page = read_page(render_records(tmp_path, records)["index.html"])
    sections = page.all("section", class_="task")
    assert len(sections) == 2
    for part, other in zip(sections, reversed(sections), strict=True):
        (told,) = [p for p in part.all("p", class_="banner") if "Not comparable with" in p.text()]
        assert "another attack suite" in told.text()
        assert told.all("a")[0].attributes["href"] == "#" + other.all("h2")[0].attributes["id"]


def test_a_split_for_each_user_is_told_from_one_by_time(board: Board, tmp_path: Path) -> None:
    split = Split(rule="per-user", valid_from="0.7", test_from="0.8")
    track = CARD.track("standard").model_copy(update={"split": split})
    card = CARD.model_copy(update={"tracks": {"standard": track}})
    write_record(make_record(), tmp_path / "record.json")
    files = dict(render_site([("mine", tmp_path, read_records(tmp_path))], cards=lambda table: card))
    for_each, by_time = read_page(files["tasks/shop-standard.html"]).text(), read_page(board.task("shop")).text()
    assert "Split for each user" in for_each
    assert "Split by time" not in for_each
    assert "Split by time" in by_time
    assert "Split for each user" not in by_time

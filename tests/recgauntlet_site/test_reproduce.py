"""The commands on the pages run the cells that the board shows, also those of a user's own card."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path

import pytest
from board import CARD, Board, render_records
from page_reader import read_page
from synthetic_records import make_record

from recgauntlet.cli.options import options_of
from recgauntlet.cli.run import run
from recgauntlet.core.card import TaskCard, load_card
from recgauntlet.core.files import CURRENT
from recgauntlet.leaderboard.build import build_table
from recgauntlet.leaderboard.schema import TaskTable
from recgauntlet.records.io import read_records
from recgauntlet.records.schema import RunRecord
from recgauntlet_site.pages.reproduce import commands_of, under_present_name

RELEASE = Path(__file__).resolve().parents[2] / "results" / CURRENT
Cell = tuple[object, ...]


def cells_of_command(command: str) -> Iterator[Cell]:
    """What `recgauntlet run` plans for the command, without the twins that it adds."""
    program, name, *words = shlex.split(command)
    assert (program, name) == ("recgauntlet", "run")
    given = run.make_context("run", words).params
    for task, model, defense, seed in product(*(given[key] for key in ("tasks", "models", "defenses", "seed_list"))):
        options = options_of(given["model_options"], model), options_of(given["defense_options"], defense)
        yield task, given["track"], model, defense, seed, *options


def cells_of_table(table: TaskTable) -> list[Cell]:
    return [
        (table.task, table.track, model.name, row.defense.name, seed, *options)
        for row in table.rows
        for model in [under_present_name(row.model)]
        for options in [tuple(tuple(sorted(ref.hyperparameters.items())) for ref in (model, row.defense))]
        for seed in row.seeds
    ]


def tables_with_two_sets_of_options() -> Sequence[TaskTable]:
    records = [
        make_record(defense=defense, seed=seed, hyperparameters=options)
        for defense, options in [("standard", {}), ("pgd", {"epsilon": 0.2}), ("pgd", {"epsilon": 1.0}), ("fgm", {})]
        for seed in range(3 if defense != "fgm" else 1)
    ]
    return build_table(records)


@pytest.mark.parametrize("release", [True, False])
def test_the_commands_of_a_table_run_each_cell_that_it_shows_once_and_no_other(release: bool) -> None:
    tables = build_table(list(read_records(RELEASE))) if release else tables_with_two_sets_of_options()
    for table in tables:
        commands = commands_of(table.task, table)
        planned = [cell for command in commands for cell in cells_of_command(command)]
        assert Counter(planned) == Counter(cells_of_table(table))
        assert len(commands) < len(table.rows)


def test_the_about_page_has_the_commands_of_every_table(board: Board) -> None:
    page = read_page(board.files["about.html"])
    commands = [pre.text() for pre in page.all("pre", class_="command")]
    for table in build_table([record for _, record in board.results.records]):
        for command in commands_of(table.task, table):
            assert command in commands or not command.isprintable()


def own_record(card: TaskCard, seed: int = 0) -> RunRecord:
    record = make_record(task=card.id, fingerprint=card.fingerprint("standard"), seed=seed)
    return record.model_copy(update={"task": record.task.model_copy(update={"card": card})})


def test_pages_of_an_own_card_show_it_and_their_commands_name_its_file(tmp_path: Path) -> None:
    source = CARD.tracks["standard"].source.model_copy(update={"url": "javascript:alert(1)"})
    track = CARD.tracks["standard"].model_copy(update={"source": source})
    card = CARD.model_copy(update={"tracks": {"standard": track}})
    files = render_records(tmp_path, [own_record(card)])
    page = read_page(files["tasks/shop-standard.html"])
    text = page.text()
    assert card.title in text
    assert card.question in text
    assert card.description in text
    assert "Title rules of the trade" in text
    assert "not installed here" not in text
    assert not [link for link in page.all("a") if link.attributes["href"].startswith("javascript")]
    (row,) = (name for name in files if name.startswith("rows/"))
    for name in ("about.html", row):
        page = read_page(files[name])
        (command, *_) = (pre.text() for pre in page.all("pre", class_="command"))
        assert command.startswith("recgauntlet run --task shop.toml ")
        (link,) = (link for link in page.all("a") if link.attributes.get("download") == "shop.toml")
        assert link.attributes["href"].removeprefix("../") == "cards/shop-standard.toml"
    (tmp_path / "shop.toml").write_bytes(files["cards/shop-standard.toml"])
    assert load_card(tmp_path / "shop.toml") == card


def test_pages_without_a_card_say_what_is_missing(tmp_path: Path) -> None:
    files = render_records(tmp_path, [make_record()])
    (row,) = (name for name in files if name.startswith("rows/"))
    for name in ("about.html", row):
        assert "give the path of its card (--task PATH.toml)" in " ".join(read_page(files[name]).text().split())


def test_the_small_model_that_was_called_gpt_is_run_under_its_present_name() -> None:
    from recgauntlet.records.references import PluginRef

    options = {"checkpoint": "", "layers": 2, "width": 128}
    old = PluginRef(name="gpt", distribution="recgauntlet", version="0.1.0", hyperparameters=options)
    now = under_present_name(old)
    assert (now.name, now.hyperparameters) == ("gpt-small", {"layers": 2, "width": 128})
    new = old.model_copy(update={"hyperparameters": {"checkpoint": "", "layers": 6, "rank": 8}})
    assert under_present_name(new) is new

"""`recgauntlet poison`: lists, makes and checks tables; bad tables are refused with file, row and remedy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import poison_task
import pytest
from command_line import Run

from recgauntlet.core import files
from recgauntlet.data.poison_tables import PoisonTable, read_table, rows_hash, write_table


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The tiny task's card, and a legal table for it."""
    folder = tmp_path_factory.mktemp("poison")
    store, _ = poison_task.make_store(folder)
    path = store.tables(poison_task.RandomProfiles())["standard"].path
    assert path is not None
    return folder / "tiny.toml", path


def rewritten(table: Path, target: Path, change: Callable[[list[list[object]]], object]) -> Path:
    """The table with `change` done to its rows, hash included."""
    old = read_table(table)
    rows = [list(row) for row in old.rows()]
    change(rows)
    header = old.header.model_copy(update={"sha256": rows_hash([tuple(row) for row in rows])})  # type: ignore[misc]
    write_table(PoisonTable(header, *([row[place] for row in rows] for place in range(3))), target)
    return target


def test_list_names_attacks_and_what_they_know(run: Run) -> None:
    shown = run("poison", "list")
    assert "bandwagon" in shown
    assert "training-data" in shown
    assert "ecommerce-purchase: brushing\n" in shown


def test_list_of_a_task_has_its_budget_and_targets(run: Run, made: tuple[Path, Path]) -> None:
    shown = run("poison", "list", made[0])
    assert "60 users" in shown
    assert "medium: 6 accounts of at most" in shown
    assert "tail targets (users): i" in shown


def test_tables_are_made_once_and_listed(run: Run, made: tuple[Path, Path]) -> None:
    shown = run("poison", "make", made[0], "--attacks", "bandwagon,copy")
    assert shown.count("accounts, ") == 6
    assert "bandwagon medium: 6 accounts" in shown
    assert run("poison", "make", made[0], "--attacks", "bandwagon,copy") == shown
    assert len(list(files.poison(files.cache_root()).glob("tiny-standard-brushing-bandwagon-*"))) == 3


def test_a_legal_table_is_ok(run: Run, made: tuple[Path, Path]) -> None:
    assert "random medium: 6 accounts, " in run("poison", "check", made[0], made[1])


BAD: dict[str, tuple[Callable[[list[list[object]]], object], str, str]] = {
    "a genuine user": (lambda rows: rows[2].__setitem__(0, "u7"), "account, row 3", "'u7' is a genuine user"),
    "a date after the split": (
        lambda rows: rows[2].__setitem__(2, 1_609_900_000),
        "time, row 3",
        "outside the training",
    ),
    "no such item": (lambda rows: rows[2].__setitem__(1, "i777"), "item, row 3", "'i777' is no item of the catalog"),
    "a missing time": (lambda rows: rows[2].__setitem__(2, None), "time, row 3", "is missing"),
    "a missing account": (lambda rows: rows[2].__setitem__(0, None), "account, row 3", "is missing"),
    "too many accounts": (
        lambda rows: rows.append(["one-more", *rows[0][1:]]),
        "account, row",
        "there are 7 accounts, 6 are allowed",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_table_is_refused_with_file_row_and_remedy(
    run: Run, made: tuple[Path, Path], tmp_path: Path, name: str
) -> None:
    change, place, problem = BAD[name]
    message = run("poison", "check", made[0], rewritten(made[1], tmp_path / "mine.parquet", change), code=2)
    for part in ("mine.parquet", place, problem, "what to do: take the row out"):
        assert part in message


def test_nan_is_missing(run: Run, made: tuple[Path, Path], tmp_path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    table = parquet.read_table(made[1])
    times = [float(time) for time in table["time"].to_pylist()]
    times[4] = float("nan")
    changed = table.set_column(2, "time", pa.array(times)).replace_schema_metadata(table.schema.metadata)
    parquet.write_table(changed, tmp_path / "mine.parquet")
    assert "time, row 1: " in run(
        "poison", "check", made[0], tmp_path / "mine.parquet", code=2
    )  # 1.0 is no whole number
    parquet.write_table(changed.slice(4), tmp_path / "mine.parquet")
    assert "time, row 1: is missing" in run("poison", "check", made[0], tmp_path / "mine.parquet", code=2)


def test_a_table_of_another_task_is_refused(run: Run, made: tuple[Path, Path], tmp_path: Path) -> None:
    table = read_table(made[1])
    write_table(
        PoisonTable(table.header.model_copy(update={"data": "0" * 64}), *_columns(table)), tmp_path / "o.parquet"
    )
    message = run("poison", "check", made[0], tmp_path / "o.parquet", code=2)
    assert "header.data: is 0000" in message
    assert "use a table that was made for this task" in message


def _columns(table: PoisonTable) -> tuple[list[object], list[object], list[object]]:
    return list(table.accounts), list(table.items), list(table.times)


@pytest.mark.parametrize(
    ("content", "problem"),
    [(b"account,item,time\n", "is no Parquet file"), (b"", "is no Parquet file")],
)
def test_a_file_that_is_no_table_is_refused(
    run: Run, made: tuple[Path, Path], tmp_path: Path, content: bytes, problem: str
) -> None:
    (tmp_path / "x.parquet").write_bytes(content)
    message = run("poison", "check", made[0], tmp_path / "x.parquet", code=2)
    assert "x.parquet" in message
    assert problem in message


def test_a_parquet_file_without_header_or_column_is_refused(run: Run, made: tuple[Path, Path], tmp_path: Path) -> None:
    from pyarrow import parquet

    table = parquet.read_table(made[1])
    parquet.write_table(table.replace_schema_metadata({}), tmp_path / "x.parquet")
    assert "has no header" in run("poison", "check", made[0], tmp_path / "x.parquet", code=2)
    parquet.write_table(table.drop_columns(["time"]), tmp_path / "x.parquet")
    assert "time: must have one such column" in run("poison", "check", made[0], tmp_path / "x.parquet", code=2)
    parquet.write_table(table.replace_schema_metadata({"recgauntlet": "{}"}), tmp_path / "x.parquet")
    assert "header.task" in run("poison", "check", made[0], tmp_path / "x.parquet", code=2)


def test_plays_in_genuine_accounts_are_listed_made_checked_and_trained_with(run: Run, tmp_path: Path) -> None:
    card = poison_task.write_insertion_task(tmp_path)
    chosen = ("--threat", "playlist-insertion")
    shown = run("poison", "list", card, *chosen)
    assert "medium: 10 plays of targets in the accounts of 12 users" in shown
    assert "insert-behind-predictor" in shown
    assert "coattails" not in shown
    assert "places 0, 1, 2, ..." in run("poison", "list", card)  # of the card's first threat
    made = run("poison", "make", card, *chosen, "--attacks", "insert-random")
    assert "insert-random high: " in made
    (table,) = files.poison(files.cache_root()).glob("tiny-standard-playlist-insertion-insert-random-standard-*")
    assert "10 rows, ok" in run("poison", "check", card, table, *chosen)
    bad = rewritten(table, tmp_path / "bad.parquet", lambda rows: rows[2].__setitem__(0, "u999"))
    message = run("poison", "check", card, bad, *chosen, code=2)
    assert "account, row 3: 'u999' takes no part in the attack" in message
    assert "header.threat" in run("poison", "check", card, table, code=2)
    command = ["poison", "run", card, *chosen, "--model", "most-popular", "--tier", "high"]
    trained = run(*command, "--device", "cpu", "--out", tmp_path / "out")
    rows = {
        line.split("│")[1].strip(): line.split("│")[2].split() for line in trained.splitlines() if line.count("│") > 4
    }
    assert float(rows["insert-random"][1]) > float(rows["none (clean)"][1]) + 10
    assert "no threat 'streams'" in run("poison", "list", card, "--threat", "streams", code=2)


def test_a_task_that_cannot_be_poisoned_is_refused(run: Run) -> None:
    assert "no threat to training data" in run("poison", "make", "news-click", code=2)


def test_an_unknown_attack_is_refused(run: Run, made: tuple[Path, Path]) -> None:
    assert "there is no poisoning attack 'bandwagn' for brushing" in run(
        "poison", "make", made[0], "--attacks", "bandwagn", code=2
    )


def test_a_model_is_trained_clean_and_poisoned_and_finished_trainings_are_kept(
    run: Run, made: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["poison", "run", made[0], "--model", "most-popular", "--attacks", "random,coattails", "--tier", "high"]
    shown = run(*command, "--device", "cpu", "--out", tmp_path / "out")
    rows = {line.split("│")[1].strip(): line for line in shown.splitlines() if line.count("│") > 4}
    assert {"none (clean)", "random", "coattails"} <= rows.keys()

    def tail(row: str) -> list[float]:
        return [float(number) for number in rows[row].split("│")[2].split()]

    assert tail("random")[1] > tail("none (clean)")[1] + 10
    assert tail("coattails")[2] <= tail("random")[2] <= tail("none (clean)")[2]
    monkeypatch.setattr("recgauntlet.runner.poison_look.train_cell", None)
    assert run(*command, "--device", "cpu", "--out", tmp_path / "out") == shown


@pytest.mark.usefixtures("test_plugins")
def test_attacks_of_plugins_are_listed_and_run_where_they_are_named(run: Run, made: tuple[Path, Path]) -> None:
    assert "a plugin, from recgauntlet-test-plugins 1.0" in run("poison", "list")
    shown = run("poison", "make", made[0], "--attacks", "targets-alone,random")
    assert "targets-alone medium: 6 accounts, 24 rows" in shown
    assert "random medium: 6 accounts" in shown
    command = ["poison", "run", made[0], "--model", "most-popular", "--attacks", "targets-alone", "--device", "cpu"]
    assert "targets-alone" in run(*command, "--out", made[0].parent / "out-of-plugins")
    message = run("poison", "make", made[0], "--attacks", "replaces-the-verifier", code=2)
    assert "there are 7 accounts, 6 are allowed" in message


def test_tables_of_a_release_take_the_place_of_those_made_here(
    run: Run, made: tuple[Path, Path], tmp_path: Path
) -> None:
    run("poison", "make", made[0], "--attacks", "random")
    kept = sorted(files.poison(files.cache_root()).glob("tiny-standard-brushing-random-*"))
    assert len(kept) == 3
    elsewhere = tmp_path / "poison" / "tiny"
    elsewhere.mkdir(parents=True)
    for path in kept:
        table = read_table(path)
        times = [int(str(time)) + (1 if int(str(time)) % 86_400 < 80_000 else -1) for time in table.times]
        rows = list(zip(table.accounts, table.items, times, strict=True))
        header = table.header.model_copy(update={"sha256": rows_hash(rows)})
        write_table(PoisonTable(header, table.accounts, table.items, times), elsewhere / path.name)
    assert "3 tables of" in run("poison", "make", made[0], "--attacks", "random", "--from", tmp_path)
    for path in kept:
        assert read_table(path).header == read_table(elsewhere / path.name).header
    assert "holds no poison table of tiny" in run(
        "poison", "make", made[0], "--attacks", "copy", "--from", tmp_path, code=2
    )

"""The headlines here are simulated; no line of MIND is."""

from __future__ import annotations

import threading
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from recgauntlet.core.errors import DataError
from recgauntlet.core.task import SourceOptions
from recgauntlet.data.fingerprint import fingerprint
from recgauntlet.data.prepare import prepare
from recgauntlet.data.sources import RawFile
from recgauntlet.data.validate import validate
from recgauntlet_tasks import mind, news_click, news_simulator
from recgauntlet_tasks.news_click import task

SIZE = news_simulator.Size(articles=80, readers=10, impressions=60, shown=5, seed=7)


def put(files: Path, made: dict[str, bytes]) -> None:
    for name, content in made.items():
        (files / name).write_bytes(content)


def raw(made: dict[str, bytes]) -> dict[str, RawFile]:
    return {role: RawFile(name, made[name]) for role, name in news_click.ROLES.items()}


def key_of(row: str) -> str:
    """The key of a line of behaviors.tsv."""
    _, user, time, *_ = row.split("\t")
    moment = datetime.strptime(time, "%m/%d/%Y %I:%M:%S %p").replace(tzinfo=UTC)
    return mind.key_of(user, int(moment.timestamp()))


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> mind.Selection:
    """The standard track made of forty simulated impressions, twenty of them cut to four articles of five."""
    rows = news_simulator.simulate(SIZE)["behaviors.tsv"].decode().splitlines()
    keys = [key_of(row) for row in rows[:40]]
    articles = frozenset(f"N{number}" for number in range(SIZE.articles) if number % 5)
    chosen = mind.Selection(frozenset(keys[:20]), frozenset(keys[20:]), articles)
    monkeypatch.setattr(news_click, "selection", lambda: chosen)
    return chosen


def test_the_standard_track_is_made_of_nine_thousand_impressions() -> None:
    chosen = news_click.selection()
    assert (len(chosen.whole), len(chosen.cut), len(chosen)) == (5000, 4088, 9088)
    assert not chosen.whole & chosen.cut
    assert all(len(key) == 12 and set(key) <= set("0123456789abcdef") for key in chosen.whole | chosen.cut)
    assert all(article[0] == "N" and article[1:].isdecimal() for article in chosen.articles)


def cut_by_hand(row: str, articles: frozenset[str]) -> str:
    impression, user, time, history, shown = row.split("\t")
    history = " ".join(item for item in history.split() if item in articles)
    shown = " ".join(item for item in shown.split() if item.partition("-")[0] in articles)
    return "\t".join([f"9{impression}", user, time, history, shown])


def test_the_whole_release_and_a_joined_sample_give_one_table(
    here: SourceOptions, files: Path, small: mind.Selection
) -> None:
    made = news_simulator.simulate(SIZE)
    put(files, made)
    whole = task.load(task.card, "standard", here)
    rows = made["behaviors.tsv"].decode().splitlines()
    sample = rows[:20] + [cut_by_hand(row, small.articles) for row in rows[20:40]]
    assert sample[20:] != rows[20:40]
    put(files, {"behaviors.tsv": "".join(f"{row}\n" for row in reversed(sample)).encode()})
    assert fingerprint(task.load(task.card, "standard", here)) == fingerprint(whole)
    assert whole.impressions is not None
    found = whole.impressions.to_pylist()
    assert {row["impression"] for row in found} == small.whole | small.cut
    for row in found:
        seen = {*row["history"], *row["shown"]}
        assert row["impression"] in small.whole or seen <= small.articles
        assert len(row["shown"]) == len(row["clicked"])
    mentioned = {item for row in found for name in ("history", "shown") for item in row[name]}
    assert set(whole.items["id"].to_pylist()) == mentioned
    validate(whole, "news")


def test_an_impression_that_stands_twice_is_refused(here: SourceOptions, files: Path, small: mind.Selection) -> None:
    made = news_simulator.simulate(SIZE)
    first, _, rest = made["behaviors.tsv"].decode().partition("\n")
    put(files, made | {"behaviors.tsv": f"{first}\n{rest}{first}\n".encode()})
    with pytest.raises(DataError, match=r"holds 40 of the 40 impressions .* 1 of them twice"):
        task.load(task.card, "standard", here)


def test_what_is_read_is_what_was_shown(here: SourceOptions) -> None:
    line = "7\tU9\t11/12/2019 12:14:46 PM\tN3 N1\tN2-0 N1-1\n"
    news = "".join(f"N{n}\tsports\t\tHeadline {n}\t\t\t[]\t[]\n" for n in (1, 2, 3, 4))
    tables = mind.read(raw({"behaviors.tsv": line.encode(), "news.tsv": news.encode()}), None)
    assert tables.impressions is not None
    assert tables.impressions.to_pylist() == [
        {
            "impression": "7",
            "user": "U9",
            "time": 1573560886,
            "history": ["N3", "N1"],
            "shown": ["N2", "N1"],
            "clicked": [False, True],
        }
    ]
    assert tables.items["id"].to_pylist() == ["N1", "N2", "N3"]
    assert tables.items["category"].to_pylist() == ["sports"] * 3


def test_impressions_without_history_are_left_out() -> None:
    made = news_simulator.simulate(SIZE)
    rows = [row.split("\t") for row in made["behaviors.tsv"].decode().splitlines()]
    rows[3][3] = ""
    made["behaviors.tsv"] = "".join("\t".join(row) + "\n" for row in rows).encode()
    impressions = mind.read(raw(made), None).impressions
    assert impressions is not None
    assert impressions.num_rows == 59
    assert rows[3][0] not in impressions["impression"].to_pylist()


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        ('Mayor Calls Vote a "Waste of Time"', "Mayor Calls Vote a Waste of Time"),
        ('Mayor Calls Vote a "Waste of Time', "Mayor Calls Vote a Waste of Time"),
        ("Mayor Calls Vote a \u201cWaste of\u200b Time\u201d", "Mayor Calls Vote a Waste of Time"),
        ("The Town\u2019s  Oldest   Tree", "The Town's Oldest Tree"),
        ("Cafe\u0301 Reopens\ufeff", "Caf\u00e9 Reopens"),
    ],
)
def test_copies_of_a_headline_agree(title: str, expected: str) -> None:
    assert mind.headline(title) == expected


def test_a_release_without_the_impressions_says_so(here: SourceOptions, files: Path) -> None:
    put(files, news_simulator.simulate(SIZE))
    with pytest.raises(DataError, match=r"holds 0 of the 9088 impressions") as caught:
        task.load(task.card, "standard", here)
    assert "MINDsmall_train" in caught.value.remedy


@pytest.mark.parametrize(
    ("name", "line", "problem"),
    [
        ("behaviors.tsv", "1\tU1\t11/12/2019 2:14:46 PM\tN1\tN1 N2", "form N1-0 or N1-1"),
        ("behaviors.tsv", "1\tU1\t2019-11-12\tN1\tN1-0", "no time of the form"),
        ("behaviors.tsv", "1\tU1\t11/12/2019", "fields where 5"),
        ("news.tsv", "N1\tsports\tHeadline", "fields where 8"),
    ],
)
def test_a_damaged_line_is_named(name: str, line: str, problem: str) -> None:
    made = news_simulator.simulate(SIZE)
    made[name] = made[name] + line.encode() + b"\n"
    with pytest.raises(DataError, match=problem) as caught:
        mind.read(raw(made), None)
    assert caught.value.where == name
    assert caught.value.field == f"line {made[name].count(bytes([10]))}"


@pytest.fixture(params=["", "MINDsmall_train/"], ids=["former", "one-folder-deeper"])
def official(
    request: pytest.FixtureRequest, here: SourceOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[SourceOptions]:
    """A server on this machine that gives the archive at the second address alone; no directory is named."""
    (tmp_path / "www").mkdir()
    with zipfile.ZipFile(tmp_path / "www" / "MINDsmall_train.zip", "w") as archive:
        for name, content in news_simulator.simulate(SIZE).items():
            archive.writestr(request.param + name, content)

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path / "www")))
    thread = threading.Thread(target=http.serve_forever, daemon=True)
    thread.start()
    server = f"http://127.0.0.1:{http.server_address[1]}"
    addresses = [f"{server}/gone/MINDsmall_train.zip", f"{server}/MINDsmall_train.zip"]
    monkeypatch.setattr(news_click, "ARCHIVES", addresses)
    yield replace(here, directory=None, offline=False)
    http.shutdown()
    http.server_close()
    thread.join()


def test_the_archive_waits_for_the_licence(official: SourceOptions, small: mind.Selection) -> None:
    with pytest.raises(DataError) as caught:
        task.load(task.card, "standard", official)
    assert "--accept-licence" in str(caught.value)
    assert "Microsoft Research License Terms" in str(caught.value)
    assert not (official.cache / "downloads").exists()
    tables = task.load(task.card, "standard", replace(official, accept_licence=True))
    assert tables.impressions is not None
    assert tables.impressions.num_rows == len(small)


def test_every_address_that_fails_is_named(official: SourceOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = [f"{url}.gone" for url in news_click.ARCHIVES]
    monkeypatch.setattr(news_click, "ARCHIVES", gone)
    with pytest.raises(DataError) as caught:
        task.load(task.card, "standard", replace(official, accept_licence=True))
    assert "; ".join(f"{url} cannot be fetched (HTTP status 404)" for url in gone) in caught.value.problem


def test_the_address_that_answers_comes_first_and_the_former_one_last() -> None:
    hosts = [url.split("/")[2] for url in news_click.ARCHIVES]
    assert hosts == ["recodatasets.z20.web.core.windows.net", "mind201910small.blob.core.windows.net"]


def test_real_data_is_never_replaced_by_the_simulated(here: SourceOptions) -> None:
    task.load(task.card, "demo", here)
    with pytest.raises(DataError, match="no mirror"):
        task.load(task.card, "standard", here)


def test_other_tables_than_the_cards_are_refused(here: SourceOptions, files: Path, small: mind.Selection) -> None:
    put(files, news_simulator.simulate(SIZE))
    with pytest.raises(DataError, match=r"impressions \(40 rows where the card has 8981\)"):
        prepare(task, "standard", here)


def test_the_demo_prepares_offline_and_is_balanced(here: SourceOptions) -> None:
    data = prepare(task, "demo", replace(here, directory=None))
    card = task.card.track("demo")
    assert (len(data.train), len(data.valid), len(data.test)) == (card.train_pairs, card.valid_pairs, card.test_pairs)
    assert len(data.impressions) == card.test_impressions


def test_the_simulator_writes_the_same_bytes_and_another_seed_others() -> None:
    assert news_simulator.simulate(SIZE) == news_simulator.simulate(SIZE)
    assert news_simulator.simulate(SIZE) != news_simulator.simulate(replace(SIZE, seed=8))


def test_simulated_readers_click_what_they_read_about() -> None:
    tables = mind.read(raw(news_simulator.simulate(replace(SIZE, impressions=300))), None)
    topic = dict(zip(tables.items["id"].to_pylist(), tables.items["category"].to_pylist(), strict=True))
    assert tables.impressions is not None
    seen: dict[bool, list[bool]] = {True: [], False: []}
    for row in tables.impressions.to_pylist():
        read = [topic[item] for item in row["history"]]
        for item, clicked in zip(row["shown"], row["clicked"], strict=True):
            seen[clicked].append(read.count(topic[item]) > len(read) / 8)
    assert sum(seen[True]) / len(seen[True]) > 0.7
    assert sum(seen[False]) / len(seen[False]) < 0.4


def test_simulated_headlines_are_distinct_and_hold_names_and_numbers() -> None:
    titles = mind.items(RawFile("news.tsv", news_simulator.simulate(SIZE)["news.tsv"]))
    texts = [title for _, title, _ in titles]
    assert len(set(texts)) == 80
    assert any(character.isdigit() for text in texts for character in text)
    assert all(text[0].isupper() or text[0].isdigit() for text in texts)

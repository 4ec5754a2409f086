from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from recgauntlet import cli
from recgauntlet.cli.data import data
from recgauntlet.core.errors import DataError, PluginError, RecGauntletError

EXAMPLE = Path(__file__).parents[3] / "examples" / "own-data" / "bookshop.toml"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RECGAUNTLET_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "160")
    return tmp_path / "cache"


def call(*arguments: str) -> Result:
    return CliRunner().invoke(data, arguments)


def good(*arguments: str) -> str:
    result = call(*arguments)
    assert result.exit_code == 0, result.output
    return result.output


def fault(*arguments: str) -> RecGauntletError:
    error = call(*arguments).exception
    assert isinstance(error, RecGauntletError)
    assert error.exit_code == 2
    return error


def test_list_shows_what_is_simulated_and_what_is_here(cache: Path) -> None:
    before = good("list")
    assert before.count("simulated") >= 2
    assert "264,514 interactions" in before
    assert "CC BY 4.0" in before
    assert "yes (" not in before
    good("fetch", "news-click", "--track", "demo", "--offline")
    assert good("list").count("yes (") == 1


def test_fetch_prepares_and_path_says_where(cache: Path) -> None:
    assert good("path").strip() == str(cache)
    error = fault("path", "news-click", "--track", "demo")
    assert "not prepared yet" in error.problem
    assert error.remedy == "recgauntlet data fetch news-click --track demo"
    out = good("fetch", "news-click", "--track", "demo", "--offline")
    assert "3,000 training, 200 validation and 75 test pairs" in out
    assert "licence" in out
    assert Path(good("path", "news-click", "--track", "demo").strip()).is_file()


def test_a_second_fetch_prepares_nothing(cache: Path) -> None:
    assert "1/4" in good("fetch", "news-click", "--track", "demo", "--offline")
    assert "1/4" not in good("fetch", "news-click", "--track", "demo", "--offline")


def test_check_compares_with_the_card_and_looks_at_the_cache(cache: Path) -> None:
    assert "none in the cache" in good("check", "news-click", "--track", "demo")
    good("fetch", "news-click", "--track", "demo", "--offline")
    out = good("check", "news-click", "--track", "demo")
    assert "as on the card" in out
    assert "intact" in out
    target = Path(good("path", "news-click", "--track", "demo").strip())
    target.write_bytes(target.read_bytes()[:100])
    assert isinstance(fault("check", "news-click", "--track", "demo"), DataError)


def test_a_card_of_ones_own_is_a_task(cache: Path) -> None:
    assert "80 items" in good("fetch", str(EXAMPLE))
    checked = good("check", str(EXAMPLE))
    assert "as on the card" in checked
    assert "intact" in checked
    assert Path(good("path", str(EXAMPLE)).strip()).is_file()


def test_popular_candidates_are_shown_where_the_card_asks_for_them(cache: Path, tmp_path: Path) -> None:
    assert "popularity" not in good("fetch", str(EXAMPLE))
    card = shutil.copytree(EXAMPLE.parent, tmp_path / "own") / EXAMPLE.name
    text = card.read_text(encoding="utf-8")
    card.write_text(text.replace("eval_per_click = 9", "eval_per_click = 9, popular_per_click = 7"), encoding="utf-8")
    assert "also with 7 unclicked candidates each that are drawn by popularity" in good("fetch", str(card))


def test_a_card_without_a_fingerprint_takes_the_tables_as_they_are(cache: Path, tmp_path: Path) -> None:
    card = shutil.copytree(EXAMPLE.parent, tmp_path / "own") / EXAMPLE.name
    text = card.read_text(encoding="utf-8")
    card.write_text(re.sub('fingerprint = "[0-9a-f]+"', 'fingerprint = ""', text), encoding="utf-8")
    assert "80 items" in good("fetch", str(card))
    assert "the card names none" in good("check", str(card))
    assert fault("path", str(card)).field == "fingerprint"


def test_changed_tables_are_refused_with_the_fingerprint_to_write(cache: Path, tmp_path: Path) -> None:
    card = shutil.copytree(EXAMPLE.parent, tmp_path / "own") / EXAMPLE.name
    items = tmp_path / "own" / "items.csv"
    items.write_text(items.read_text(encoding="utf-8").replace("Growing Roses", "Growing Lilies"), encoding="utf-8")
    error = fault("fetch", str(card))
    assert error.field == "fingerprint"
    (found,) = re.findall('write fingerprint = "([0-9a-f]{64})"', error.remedy)
    text = card.read_text(encoding="utf-8")
    card.write_text(re.sub('fingerprint = "[0-9a-f]+"', f'fingerprint = "{found}"', text), encoding="utf-8")
    assert "80 items" in good("fetch", str(card))


def test_an_unknown_task_stops_before_anything_is_fetched(cache: Path) -> None:
    error = fault("fetch", "news-click", "news-clik", "--track", "demo")
    assert isinstance(error, PluginError)
    assert "news-click" in error.remedy
    assert not cache.exists()


def test_a_directory_that_is_none_is_named(cache: Path, tmp_path: Path) -> None:
    error = fault("fetch", "video-watch", "--dir", str(tmp_path / "nowhere"), "--offline")
    assert error.where == str(tmp_path / "nowhere")


def test_the_command_ends_with_exit_code_2_and_one_message(
    cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["recgauntlet", "data", "fetch", "video-watch", "--offline"])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == 2
    assert "what to do:" in capsys.readouterr().err


def test_without_the_variable_the_platforms_cache_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    from recgauntlet.core.files import cache_root

    monkeypatch.setenv("RECGAUNTLET_CACHE", "~/elsewhere")
    assert cache_root() == Path.home() / "elsewhere"
    monkeypatch.setenv("RECGAUNTLET_CACHE", " ")
    assert cache_root().is_absolute()
    assert "recgauntlet" in str(cache_root()).lower()

"""What a plugin says of itself is read from its source, and is what its class says once it is imported."""

from __future__ import annotations

import inspect
import subprocess
import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from recgauntlet.core import plugins
from recgauntlet.core.errors import PluginError
from recgauntlet.core.plugins import Kind, find, names
from recgauntlet.leaderboard import plugin_words
from recgauntlet.leaderboard.plugin_words import PluginWords, words_of

PAPER = "@misc{doe2020}"
NEVER_RUN = "raise SystemExit('this ran')"


@pytest.fixture
def stranger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A place for the modules of a plugin; `thing` is `stranger_plugin:Thing`."""
    entry = EntryPoint("thing", "stranger_plugin:Thing", "recgauntlet.defenses")
    monkeypatch.setattr(plugins, "_entries", lambda kind: {"thing": entry})
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith("stranger_")]:
        del sys.modules[name]
    words_of.cache_clear()
    plugin_words._read.cache_clear()


def written(stranger: Path, text: str, others: Mapping[str, str] | None = None) -> PluginWords:
    """What a plugin of this source says; `others` are files beside it."""
    for name, source in {"stranger_plugin.py": text, **(others or {})}.items():
        path = stranger / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(source, encoding="utf-8")
    return words_of("defenses", "thing")


@pytest.mark.parametrize("kind", ["models", "defenses"])
def test_all_of_ours_are_read_as_they_are_imported(kind: Kind) -> None:
    for name in names(kind):
        value = find(kind, name).value
        summary = (inspect.getdoc(inspect.getmodule(value)) or "").partition("\n\n")[0]
        assert words_of(kind, name) == PluginWords(" ".join(summary.split()), value.citation)


def test_none_of_ours_is_run_for_it() -> None:
    told = (
        "import sys; from recgauntlet.leaderboard.plugin_words import words_of;"
        "from recgauntlet.core.plugins import names;"
        "said = [words_of(kind, name) for kind in ('models', 'defenses') for name in names(kind)];"
        "print(len(said), sum(bool(one.citation) for one in said), 'torch' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True)
    count, cited, torch = ran.stdout.split()
    assert int(count) >= 40
    assert int(cited) == int(count) - 1  # plain training has no reference
    assert torch == "False"


@pytest.mark.parametrize(
    "text",
    [
        "class Thing:\n    citation = '@misc{doe2020}'",
        "class Thing:\n    citation: str = '@misc{doe2020}'",
        "class Thing:\n    citation = '@misc' + '{doe2020}'",
        "DOE = '@misc{doe2020}'\nclass Thing:\n    citation = DOE",
        "from stranger_more import DOE as PAPER\nclass Thing:\n    citation = PAPER",
        "from stranger_package import more\nclass Thing:\n    citation = more.DOE",
        "from stranger_package.more import Base\nclass Thing(Base):\n    pass",
        "from stranger_package.more import Base\nclass Thing:\n    citation = Base.citation",
        "class Base:\n    citation = '@misc{doe2020}'\nclass Thing(Base):\n    pass",
        "from stranger_package import Thing",
    ],
)
def test_a_plain_text_is_read_and_nothing_is_run(stranger: Path, text: str) -> None:
    more = f"{NEVER_RUN}\nDOE = '{PAPER}'\nclass Base:\n    citation = DOE"
    others = {
        "stranger_more.py": more,
        "stranger_package/more.py": more,
        "stranger_package/__init__.py": f"{NEVER_RUN}\nfrom .more import Base as Thing",
    }
    said = written(stranger, f"{NEVER_RUN}\n{text}", others)
    assert said.citation == PAPER


def test_the_summary_is_the_first_paragraph_of_the_module_that_the_class_is_written_in(stranger: Path) -> None:
    more = f'"""Bends the loss,\na little.\n\nAnd more.\n"""\n{NEVER_RUN}\nclass Thing:\n    """Not this."""'
    said = written(stranger, '"""Not this either."""\nfrom stranger_more import Thing', {"stranger_more.py": more})
    assert said == PluginWords("Bends the loss, a little.", "")


@pytest.mark.parametrize(
    "text",
    [
        "class Thing:\n    citation = f'@misc{{doe{2020}}}'",
        "class Thing:\n    citation = '@misc{%s}' % 'doe2020'",
        "class Thing:\n    key = 'doe2020'\n    citation = '@misc{' + key + '}'",
        "key = 'roe2019'\nclass Thing:\n    key = 'doe2020'\n    citation = '@misc{' + key + '}'",
        "class Thing:\n    citation = '@misc{roe2019}'\n    citation = '@misc{doe2020}'",
        "class Thing:\n    if True:\n        citation = '@misc{doe2020}'",
        "class Thing:\n    citation = '@misc{roe2019}'\nThing.citation = '@misc{doe2020}'",
        "DOE = '@misc{roe2019}'\nDOE = '@misc{doe2020}'\nclass Thing:\n    citation = DOE",
        "DOE = '@misc{roe2019}'\nif True:\n    DOE = '@misc{doe2020}'\nclass Thing:\n    citation = DOE",
        "class A:\n    citation = ''\nclass B(A): pass\nclass C(A):\n    citation = '@misc{doe2020}'\n"
        "class Thing(B, C):\n    pass",
        "def made(cls):\n    cls.citation = '@misc{doe2020}'\n    return cls\n@made\nclass Thing:\n    citation = ''",
        "class Meta(type):\n    citation = '@misc{doe2020}'\nclass Thing(metaclass=Meta):\n    pass",
        "Thing = type('Thing', (), {'citation': '@misc{doe2020}'})",
        "from stranger_more import *",
        "DOE = '@misc{roe2019}'\nfrom stranger_more import *\nclass Thing:\n    citation = DOE",
    ],
)
def test_what_is_not_plain_is_imported(stranger: Path, text: str) -> None:
    more = "DOE = '@misc{doe2020}'\nclass Thing:\n    citation = DOE"
    assert written(stranger, text, {"stranger_more.py": more}).citation == PAPER


@pytest.mark.parametrize(
    "text",
    [
        "class Thing:\n    citation = 1 / 0",
        "class Thing(",
        "import stranger_missing\nThing = stranger_missing.Thing",
        "from stranger_more import Thing",
        "x = " + "(" * 500 + ")" * 500,
    ],
)
def test_one_that_has_to_be_imported_and_cannot_be_is_refused(stranger: Path, text: str) -> None:
    with pytest.raises(PluginError, match="thing"):
        written(stranger, text, {"stranger_more.py": "from stranger_plugin import Thing"})


def test_names_that_go_round_in_circles_end(stranger: Path) -> None:
    text = "from stranger_more import DOE\nclass Thing:\n    citation = DOE"
    with pytest.raises(PluginError, match="thing"):
        written(stranger, text, {"stranger_more.py": "from stranger_plugin import DOE"})


def test_there_must_be_such_a_plugin() -> None:
    with pytest.raises(PluginError, match="no defense named 'nothing'"):
        words_of("defenses", "nothing")

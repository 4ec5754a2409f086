"""The documentation keeps up with the code: links resolve, commands parse, code runs, versions agree."""

from __future__ import annotations

import re
import shlex
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import torch
import yaml

from recgauntlet import CellSpec, SourceOptions, run_cell
from recgauntlet.cli import cli
from recgauntlet.core import plugins
from recgauntlet.core.files import CURRENT
from recgauntlet.core.names import stored

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")])
EXAMPLE = ROOT / "examples" / "defense-plugin"
TAUGHT = {
    "--defense": {"embedding-noise", "my-noise"},
    "--model": {"word-average"},
    "--task": {"support-answer", "finance-sentiment"},
}
"""Names that the documentation itself teaches to register."""


def blocks(page: Path, language: str) -> list[str]:
    """The fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


def without_code(page: Path) -> str:
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    return re.sub(r"`[^`\n]*`", "", text)


def commands(page: Path) -> list[str]:
    """Every line of a code block, fenced or indented, that calls recgauntlet, its remarks left out."""
    text = page.read_text(encoding="utf-8")
    found = re.findall(r"^(?: {4})?(?:\.venv/bin/)?(recgauntlet [a-z].*)$", text, flags=re.MULTILINE)
    return [re.split(r"\s{2,}|\s[#>]", line)[0] for line in found]


def anchors(page: Path) -> set[str]:
    """The addresses of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def parsed(line: str) -> tuple[click.Command, dict[str, Any]]:
    """The command that `line` calls and the options it gives; UsageError where there is no such thing."""
    words = shlex.split(line)[1:]
    command: click.Command = cli
    context = click.Context(cli, info_name="recgauntlet")
    while isinstance(command, click.Group):
        name, found, words = command.resolve_command(context, words)
        assert found is not None
        context, command = click.Context(found, info_name=name, parent=context), found
    values, left, _ = command.make_parser(context).parse_args(words)
    if left:
        raise click.UsageError(f"{left} is left over")
    for parameter in command.params:
        given = values.get(parameter.name or "")
        if parameter.required and not (isinstance(given, str | tuple | list) and given):
            raise click.UsageError(f"{parameter.name} is missing")
        if isinstance(parameter.type, click.Choice) and given is not None:
            for value in given if isinstance(given, list | tuple) else [given]:
                parameter.type.convert(value, parameter, context)
    return command, values


LINES = [(page, line) for page in PAGES for line in commands(page)]


def test_there_are_pages_and_commands_to_check() -> None:
    assert len(PAGES) > 10
    assert len(LINES) > 20


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_relative_links_resolve(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", without_code(page)):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        file = page.parent / name if name else page
        assert file.exists(), f"{page.name} links to {target}"
        assert not anchor or anchor in anchors(file), f"{page.name} links to {target}"


@pytest.mark.parametrize(("page", "line"), LINES, ids=lambda part: part.name if isinstance(part, Path) else part)
def test_commands_parse(page: Path, line: str) -> None:
    _, values = parsed(line)
    kinds: dict[str, plugins.Kind] = {"--task": "tasks", "--model": "models", "--defense": "defenses"}
    for option, kind in kinds.items():
        given = values.get(kind) or ()
        for name in [name for part in ([given] if isinstance(given, str) else given) for name in part.split(",")]:
            if name.endswith(".toml"):
                assert (ROOT / name).is_file()
            else:
                assert stored(option.removeprefix("--"), name) in {*plugins.names(kind), *TAUGHT[option]}


@pytest.mark.parametrize(
    "line", ["recgauntlet fly", "recgauntlet run --speed 3", "recgauntlet show", "recgauntlet run x"]
)
def test_a_wrong_command_would_be_found(line: str) -> None:
    with pytest.raises(click.UsageError):
        parsed(line)


def test_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))
    asked = {name for page in PAGES for name in re.findall(r"(?:^|`| {4})make ([a-z]+)", page.read_text(), flags=re.M)}
    assert {"demo", "test", "install"} <= asked
    assert asked <= targets


def test_the_readme_shows_the_example_defense_as_it_is() -> None:
    code = (EXAMPLE / "embedding_noise.py").read_text(encoding="utf-8")
    assert code in blocks(ROOT / "README.md", "python")
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    shown = [tomllib.loads(block) for block in blocks(ROOT / "README.md", "toml")]
    assert [block["project"]["entry-points"] for block in shown] == [project["entry-points"]]


def test_the_page_on_attacks_registers_the_example_attack_as_it_is() -> None:
    example, page = ROOT / "examples" / "attack-plugin", ROOT / "docs" / "extend" / "attack.md"
    project = tomllib.loads((example / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    shown = [tomllib.loads(block) for block in blocks(page, "toml")]
    assert [block["project"]["entry-points"] for block in shown] == [project["entry-points"]]


def test_every_page_that_code_names_exists() -> None:
    """Error messages, help texts, docstrings and templates send the reader to pages of the documentation."""
    files = [
        path
        for room in ("benchmark", "baselines", "tasks", "site/recgauntlet_site", "tests", "examples", ".github")
        for path in (ROOT / room).rglob("*")
        if path.suffix in {".py", ".toml", ".j2", ".yml", ".md"} and "vendor" not in path.parts
    ]
    named = {
        (path, name)
        for path in [*files, ROOT / "Makefile", ROOT / "pyproject.toml"]
        for name in re.findall(r"(?<![\w/.}])docs/[\w./-]+\.(?:md|json|py)", path.read_text(encoding="utf-8"))
    }
    assert len({name for _, name in named}) > 8
    assert [f"{path.relative_to(ROOT)}: {name}" for path, name in sorted(named) if not (ROOT / name).is_file()] == []


def test_the_site_links_to_pages_and_sections_that_exist() -> None:
    links = {
        link
        for template in (ROOT / "site" / "recgauntlet_site").rglob("*.j2")
        for link in re.findall(r"doc(?:s\.link\(|\(docs, root, )\"([^\"]+)\"", template.read_text(encoding="utf-8"))
    }
    assert links
    for link in links:
        name, _, anchor = link.partition("#")
        assert (ROOT / "docs" / name).is_file(), link
        assert not anchor or anchor in anchors(ROOT / "docs" / name), link


def test_paths_on_the_page_on_architecture_exist() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rooms = re.findall(r"^\| \d \| `(\w+)/` \|", page, flags=re.MULTILINE)
    package = ROOT / "benchmark" / "recgauntlet"
    assert {path.name for path in package.iterdir() if path.is_dir() and path.name[0] != "_"} == set(rooms)
    paths = re.findall(r"`((?:benchmark|baselines|tasks|site|tests|pyproject)[\w./]*)`", page)
    assert len(paths) > 15
    assert [path for path in paths if not (ROOT / path).exists()] == []
    assert page.count("\n") <= 70


def test_every_page_is_in_the_index() -> None:
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"\]\(([\w/]+\.md)\)", index))
    assert listed | {"index.md"} == {
        page.relative_to(ROOT / "docs").as_posix() for page in (ROOT / "docs").rglob("*.md")
    }


def test_the_pages_name_the_newest_release() -> None:
    named = {
        (page.name, name)
        for page in PAGES
        if page.name != "CHANGELOG.md"
        for name in re.findall(r"\b20\d\d\.\d(?:\.\d)?\b", page.read_text(encoding="utf-8"))
    }
    examples = {f"{CURRENT}.1", "2027.1"}  # names in commands that make a release
    assert CURRENT in {name for _, name in named}
    assert {pair for pair in named if pair[1] not in {CURRENT, *examples}} == set()


def test_the_citation_has_what_it_must_and_the_version_of_the_package() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()
    assert all(author.keys() & {"name", "family-names"} for author in citation["authors"])
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert str(citation["version"]) == project["version"]
    assert citation["license"] == project["license"]
    assert f"## [{project['version']}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


@pytest.fixture
def taught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The model of docs/extend/model.md and the example defense, registered; torch's settings put back."""
    (code,) = blocks(ROOT / "docs" / "extend" / "model.md", "python")
    (entry,) = blocks(ROOT / "docs" / "extend" / "model.md", "toml")
    points = tomllib.loads(entry)["project"]["entry-points"]
    points |= tomllib.loads((EXAMPLE / "pyproject.toml").read_text(encoding="utf-8"))["project"]["entry-points"]
    site = tmp_path / "site"
    info = site / "taught-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "my_package.py").write_text(code, encoding="utf-8")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: taught\nVersion: 1.0\n", encoding="utf-8")
    lines = [f"[{group}]\n" + "".join(f"{k} = {v}\n" for k, v in names.items()) for group, names in points.items()]
    (info / "entry_points.txt").write_text("\n".join(lines), encoding="utf-8")
    for directory in (site, EXAMPLE):
        monkeypatch.syspath_prepend(directory)
    plugins._entries.cache_clear()
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(deterministic)
    plugins._entries.cache_clear()
    for name in ("my_package", "embedding_noise"):
        sys.modules.pop(name, None)


@pytest.mark.slow
@pytest.mark.usefixtures("taught")
def test_the_documented_model_runs_the_gauntlet_under_the_documented_defense(tmp_path: Path) -> None:
    spec = CellSpec(
        task=str(ROOT / "examples" / "own-data" / "bookshop.toml"),
        track="standard",
        model="word-average",
        defense="embedding-noise",
        seed=0,
        out=tmp_path / "out",
        source=SourceOptions(directory=None, cache=tmp_path / "cache", offline=True),
        device="cpu",
    )
    record = run_cell(spec)
    assert record.failure is None, record.failure
    assert (record.model.distribution, record.model.hyperparameters) == ("taught", {"size": 32})
    assert record.defense.hyperparameters == {"sigma": 0.5}
    assert {threat.surface for threat in record.threats} <= {"candidate-text", "history", "embedding"}
    assert all(threat.applicable and len(threat.tiers) == 3 for threat in record.threats)
    assert not [a.error for t in record.threats for tier in t.tiers for a in tier.attacks if a.error]
    assert {gate.name for gate in record.gates if not gate.passed} <= {"better-than-chance", "not-constant"}

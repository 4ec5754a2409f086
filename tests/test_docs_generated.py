"""The generated parts of the documentation are those that `make docs` would write."""

from __future__ import annotations

import ast
import inspect
import json
import re
import sys
from dataclasses import asdict, fields, replace
from pathlib import Path
from types import ModuleType

import pytest
from _pytest.mark import ParameterSet
from bench_figures import Figure, keep
from scripts import loaded

import recgauntlet
import recgauntlet.testing
from recgauntlet.core.files import CURRENT
from recgauntlet.core.plugins import Kind, names, whose
from recgauntlet.records.io import read_records
from recgauntlet.testing import KINDS
from recgauntlet.testing.audit.zoo import account_zoo, fake_names

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PACKAGE = ROOT / "benchmark" / "recgauntlet"
SLOW_PAGES = {"reference/zoo.md"}
WITHOUT_PAPER = {"standard", "gradient-scaling", "layer-wise"}
WITHOUT_EQUATION = {"word-dropout", "history-dropout", "augmentation"}


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    sys.path.insert(0, str(DOCS))  # as `python docs/generate.py` has it
    return loaded("docs/generate.py")


def _page(path: Path) -> ParameterSet:
    name = path.relative_to(DOCS).as_posix()
    return pytest.param(path, id=name, marks=pytest.mark.slow if name in SLOW_PAGES else ())


@pytest.mark.parametrize("page", [*map(_page, sorted(DOCS.rglob("*.md")))])
def test_generated_parts_equal_the_committed_ones(
    page: Path, generate: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    text = page.read_text(encoding="utf-8")
    assert generate.generated(text) == text, "`make docs` writes the page anew"


@pytest.mark.slow
def test_a_changed_number_table_and_output_are_restored(generate: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    for name, old, new in (
        ("reference/zoo.md", r"\| `sasrec` \| 1 \|", "| `sasrec` | 7 |"),
        (
            "reference/zoo.md",
            r"[\d.]+<!--=bpr-mf standard video-watch clean-->",
            "1.0<!--=bpr-mf standard video-watch clean-->",
        ),
        ("reference/performance.md", r"MISSED \|", "ok |"),
        ("results/citing.md", "Differences are A - B", "Differences are B - A"),
    ):
        text = (DOCS / name).read_text(encoding="utf-8")
        changed = re.sub(old, new, text, count=1)
        assert changed != text
        assert generate.generated(changed) == text


def test_the_tables_of_performance_follow_what_the_benchmarks_book(
    generate: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, other = Figure("attacks", "a ÷ b", 2.0, "slow", at_most=1.2, subject="nrms"), Figure("site", "c", 3.0, "")
    path = tmp_path / "reference" / "performance.json"
    path.parent.mkdir()
    path.write_text(json.dumps([asdict(old), asdict(other)]), encoding="utf-8")
    keep([replace(old, measured=1.1, detail="fast"), replace(old, measured=1.3, subject="bert")], path)
    monkeypatch.setattr("measured_tables.DOCS", tmp_path)
    assert [row.split(" | ")[1:] for row in generate.performance("attacks").splitlines()[2:]] == [
        ["nrms", "1.1", "≤ 1.2", "ok |"],
        ["bert", "1.3", "≤ 1.2", "MISSED |"],
    ]
    assert "| c | 3 |" in generate.performance("site")
    assert old.line() == "a ÷ b: 2 (target: at most 1.2) MISSED; slow"


def sections(page: str) -> dict[str, str]:
    """The parts of the page on the interface by public name."""
    return dict(re.findall(r"^### `(\w+)`\n(.*?)(?=^##|\Z)", page, flags=re.DOTALL | re.MULTILINE))


def test_the_page_on_the_interface_describes_every_public_name_and_the_shapes_of_a_batch() -> None:
    parts = sections((DOCS / "reference" / "api.md").read_text(encoding="utf-8"))
    assert parts.keys() == {*recgauntlet.__all__, *recgauntlet.testing.__all__}
    for name, part in parts.items():
        assert re.search(r"^[`A-Z]", part, flags=re.MULTILINE), f"{name} has no description"
        assert "Also:" not in part or name in {"RunRecord", "TaskCard"}, f"{name} has attributes without a description"
        first = re.search(r"^[`A-Z].*", part, flags=re.MULTILINE)
        assert not first or f"| {first.group()} |" not in part, f"{name} has an attribute with the words of its class"
    for name in ("Batch", "Users", "Tokens", "Candidates", "UserState", "Pairs"):
        for field in fields(getattr(recgauntlet, name)):
            (row,) = re.findall(rf"^\| `{field.name}: .+` \| (.*) \|$", parts[name], flags=re.MULTILINE)
            shaped = "Tensor" in str(field.type) or "Array" in str(field.type)
            assert not shaped or re.search(r"`\[[A-Z]", row), f"{name}.{field.name} has no shape"


def test_signatures_have_the_parameters_of_the_functions_and_defaults_that_are_plain(generate: ModuleType) -> None:
    parts = sections(generate.api("recgauntlet") + "\n" + generate.api("recgauntlet.testing"))
    called = {name: value for name in parts if inspect.isroutine(value := getattr(recgauntlet, name, None))}
    assert len(called) >= 8
    for name, function in called.items():
        (shown,) = re.findall(r"```python\n(.*?)\n```", parts[name], flags=re.DOTALL)
        node = ast.parse(f"def {shown}: ...").body[0]
        assert isinstance(node, ast.FunctionDef)
        parameters = inspect.signature(function).parameters.values()
        assert [own.arg for own in (*node.args.args, *node.args.kwonlyargs)] == [own.name for own in parameters], name
        shown_defaults = [own for own in (*node.args.defaults, *node.args.kw_defaults) if own is not None]
        given = [own.default for own in parameters if own.default is not own.empty]
        for default, value in zip(shown_defaults, given, strict=True):
            assert ast.literal_eval(default) in (value, ...), name


def test_every_generator_is_used(generate: ModuleType) -> None:
    text = "\n".join(page.read_text(encoding="utf-8") for page in DOCS.rglob("*.md"))
    assert set(re.findall(r"<!-- table: ([\w-]+)", text)) == generate.TABLES.keys()
    assert set(re.findall(r"<!-- table: checks (\w+)", text)) == set(KINDS)


@pytest.mark.parametrize("kind", ["models", "defenses"])
def test_every_included_method_has_its_idea_equation_and_paper(kind: Kind) -> None:
    page = (DOCS / "reference" / "zoo.md").read_text(encoding="utf-8")
    ours = [name for name in names(kind) if whose(kind, name)[0] == "recgauntlet"]
    assert len(ours) >= 11
    for name in ours:
        (row,) = re.findall(rf"^\| `{name}` \| ([^|]{{20,}}) \| ([^|]*)\|$", page, flags=re.MULTILINE)
        assert name in WITHOUT_EQUATION or "`" in row[0], f"{name}: no equation"
        assert name in WITHOUT_PAPER or "](https://" in row[1], f"{name}: no paper"


def test_the_protocol_names_every_sanity_check_and_every_fake_of_the_audit() -> None:
    page = (DOCS / "protocol.md").read_text(encoding="utf-8")
    checks, audit = (
        re.search(rf"^## {title}\n(.*?)^## ", page, re.DOTALL | re.MULTILINE) for title in ("Sanity checks", "Audit")
    )
    assert checks is not None
    assert audit is not None
    named = re.findall(r"^\| `([\w-]+)` \|", checks[1], flags=re.MULTILINE)
    recorded = {gate.name for record in read_records(ROOT / "results" / CURRENT) for gate in record.gates}
    assert recorded <= set(named), "a check of the records is not on the page"
    rooms = ("evaluation", "threats", "runner")
    code = "\n".join(path.read_text() for room in rooms for path in (PACKAGE / room).rglob("*.py"))
    assert [name for name in named if f'"{name}"' not in code] == [], "no such check in the code"
    rows = re.findall(r"^\| ((?:`[\w-]+`(?:, )?)+)", audit[1], flags=re.MULTILINE)
    assert sorted(name for row in rows for name in re.findall(r"`([\w-]+)`", row)) == sorted(
        [*fake_names(), *(fake.name for fake in account_zoo())]
    )

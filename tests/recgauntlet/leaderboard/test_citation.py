"""What `recgauntlet cite` says: references that exist, the row's own numbers, and nothing made up."""

from __future__ import annotations

import hashlib
import json
from email.message import Message
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from real_latex import bibliography, needs_latex
from synthetic_records import make_record

from recgauntlet.cli import cli
from recgauntlet.core.files import CURRENT
from recgauntlet.core.plugins import Kind, find, names
from recgauntlet.core.task import find_task
from recgauntlet.leaderboard import bibtex, citation
from recgauntlet.leaderboard.address import locate
from recgauntlet.leaderboard.build import build_table
from recgauntlet.leaderboard.citation import Citation, cite, cite_software, installed_card
from recgauntlet.leaderboard.release.freeze import Wanted, freeze
from recgauntlet.records.io import write_record
from recgauntlet.records.references import PluginRef
from recgauntlet.records.schema import Gate, RunRecord

ROOT = Path(__file__).resolve().parents[3]
FAILED = Gate(name="not-constant", threat="", passed=False, value=0.9, limit=0.8, explanation="one answer for all")
OURS = ["recgauntlet", "recgauntlet-first"]
STRONG = {"stuffing": (0.7, 0.68, 0.6), "embedding": (0.66, 0.56, 0.3)}


def with_references(record: RunRecord) -> RunRecord:
    """The record with what its installed plugins give as their reference, as a run writes it."""

    def ref(kind: Kind, ref: PluginRef) -> PluginRef:
        found = str(getattr(find(kind, ref.name).value, "citation", "")) if ref.name in names(kind) else ""
        return ref.model_copy(update={"citation": found})

    update = {"model": ref("models", record.model), "defense": ref("defenses", record.defense)}
    return record.model_copy(update=update)


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    fingerprint = find_task("video-watch").card.fingerprint("standard")
    film = {"task": "video-watch", "fingerprint": fingerprint, "threats": {"swap": (0.6, 0.5, 0.4)}}
    records: list[RunRecord] = []
    for seed in range(3):
        records += [
            make_record(seed=seed),
            make_record(seed=seed, defense="pgd", threats=STRONG, ratio=1.5),
            make_record(seed=seed, defense="flagged", gates=(FAILED,)),
            make_record(seed=seed, **film),
            make_record(seed=seed, model="bert", **film),
        ]
    records.append(make_record(task="shop", track="demo", simulated=True))
    directory = tmp_path_factory.mktemp("results") / "first"
    for number, record in enumerate(records):
        write_record(with_references(record), directory / f"{number}.json")
    return directory


def of(release: Path, tail: str = "", **options: object) -> Citation:
    return cite(locate(f"{release}{tail}"), **options)


def keys(found: Citation) -> list[str]:
    return [entry.key for entry in found.entries]


def test_a_card_is_used_only_if_the_records_were_made_with_it() -> None:
    card = find_task("video-watch").card
    made_with = {card.fingerprint("standard"): card, "0" * 64: None}
    for fingerprint, expected in made_with.items():
        (table,) = build_table([make_record(task="video-watch", fingerprint=fingerprint)])
        assert installed_card(table) == expected
    (table,) = build_table([make_record(task="unheard-of")])
    assert installed_card(table) is None


def test_the_software_is_cited_as_the_citation_file_says() -> None:
    stated = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    (entry,) = cite_software().entries
    assert entry.fields["title"] == stated["title"]
    assert entry.fields["author"] == f"{{{stated['authors'][0]['name']}}}"
    assert stated["version"] in entry.fields["howpublished"]
    assert stated["license"] in entry.fields["note"]


def test_a_row_is_cited_with_its_data_its_model_and_its_defense(release: Path) -> None:
    found = of(release, "/video-watch/bert/standard")
    assert keys(found) == [
        "recgauntlet",
        "recgauntlet-first",
        "harper2015movielens",
        "devlin2019bert",
        "wang2020minilm",
        "macavaney2020prettr",
    ]
    assert [reason.what for reason in found.reasons][2:] == [
        "the data of video-watch (standard track)",
        "the model bert",
    ]
    assert keys(of(release, "/shop/nrms/pgd")) == [
        "recgauntlet",
        "recgauntlet-first",
        "wu2019neural",
        "madry2018towards",
    ]


def test_the_release_is_named_by_its_hash_and_said_not_to_be_frozen(release: Path) -> None:
    found = of(release)
    (entry,) = (entry for entry in found.entries if entry.key == "recgauntlet-first")
    assert locate(str(release)).board.digest in entry.fields["note"]
    assert "not a frozen release" in entry.fields["title"]
    assert any("not a frozen release" in caution for caution in found.cautions)
    assert found.rows == ()


def frozen(name: str, release: Path, root: Path, **more: str) -> Path:
    """`release` frozen, but for its demo record."""
    standard = root / f"from-{name}"
    standard.mkdir()
    for path in release.glob("*.json"):
        if json.loads(path.read_bytes())["task"]["track"] == "standard":
            (standard / path.name).write_bytes(path.read_bytes())
    return freeze(Wanted(name, (standard,), root=root / "results", **more))


def test_a_frozen_release_is_cited_by_name_date_and_the_manifests_hash(release: Path, tmp_path: Path) -> None:
    first = frozen("2026.1", release, tmp_path)
    found = of(first)
    (entry,) = (entry for entry in found.entries if entry.key == "recgauntlet-2026.1")
    manifest = (first / "manifest.json").read_bytes()
    assert hashlib.sha256(manifest).hexdigest() in entry.fields["note"]
    assert entry.fields["title"] == "RecGauntlet release 2026.1"
    date = json.loads(manifest)["date"]
    assert (entry.fields["year"], entry.fields["month"]) == (date[:4], date[5:7])
    assert not any("frozen" in caution for caution in found.cautions)
    (text,) = of(first, "/shop/nrms/pgd").rows
    assert "RecGauntlet release 2026.1 (SHA-256" in text.sentence
    assert text.page == of(release, "/shop/nrms/pgd").rows[0].page  # the same row has the same place in every release


def test_a_release_that_was_corrected_says_by_which(release: Path, tmp_path: Path) -> None:
    first = frozen("2026.1", release, tmp_path)
    frozen("2026.2", release, tmp_path, supersedes="2026.1", reason="a test")
    assert any("was corrected by 2026.2" in caution for caution in of(first).cautions)


def test_the_sentence_has_the_tables_numbers(release: Path) -> None:
    scope = locate(f"{release}/shop/nrms/pgd")
    assert scope.row is not None
    row = scope.row.row
    (text,) = of(release, "/shop/nrms/pgd").rows
    cell = row.worst_cell
    assert cell is not None
    for estimate in (row.clean, cell.robust):
        assert f"{100 * estimate.value:.1f} % ({100 * estimate.low:.1f} to {100 * estimate.high:.1f})" in text.sentence
    for part in ("nrms trained with pgd", "under stuffing", "2 words, 500 queries", "undefended twin gets", "3 seeds"):
        assert part in text.sentence
    assert scope.board.digest[:16] in text.sentence


def test_the_sentence_tells_what_takes_a_rank_and_what_is_no_result(release: Path) -> None:
    (text,) = of(release, "/shop/nrms/flagged").rows
    assert "does not rank this row (failed check: not-constant)" in text.sentence
    (text,) = of(release, "/shop:demo").rows
    assert "Simulated data: never ranked, and no result." in text.sentence
    assert "one seed" in text.sentence
    assert "trained plainly" in text.sentence


def test_a_rows_page_is_the_anchor_below_the_published_address(release: Path) -> None:
    scope = locate(f"{release}/shop/nrms/pgd")
    assert scope.row is not None
    (text,) = of(release, "/shop/nrms/pgd", site="https://example.org/board").rows
    assert text.page == f"https://example.org/board#{scope.row.anchor}"
    assert "https://example.org/board" in str(of(release, site="https://example.org/board").entries[1])


def test_a_task_that_is_not_installed_gets_a_caution_and_no_reference(release: Path) -> None:
    cautions = of(release, "/shop/nrms/flagged").cautions
    assert any("The task shop is not installed as it was measured" in caution for caution in cautions)
    assert any("The defense flagged names no reference" in caution for caution in cautions)


def test_a_reference_that_is_no_bibtex_gets_a_caution(tmp_path: Path) -> None:
    record = make_record(defense="pgd")
    broken = record.model_copy(update={"defense": record.defense.model_copy(update={"citation": "Doe (2020)"})})
    write_record(broken, tmp_path / "one.json")
    found = of(tmp_path, "/shop/nrms/pgd")
    assert any("The reference for the defense pgd cannot be read" in caution for caution in found.cautions)
    assert keys(found)[0] == "recgauntlet"
    assert len(keys(found)) == 2


def test_references_are_those_of_the_record_and_no_plugin_is_loaded(
    release: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*arguments: object, **options: object) -> None:
        raise AssertionError(arguments)

    monkeypatch.setattr("importlib.metadata.EntryPoint.load", never)
    rows = [at for at in locate(str(release)).rows if at.table.task == "shop"]
    found = citation._plugins("defense", [at.row.defense for at in rows], [])
    assert [reason.what for reason in found] == ["the defense pgd"]


def test_the_attacks_papers_come_when_asked_for(tmp_path: Path) -> None:
    path = next((ROOT / "results" / CURRENT / "video-watch" / "standard").glob("nrms-pgd-0*.json.xz"))
    (tmp_path / "one.json.xz").write_bytes(path.read_bytes())
    plain, more = (keys(cite(locate(f"{tmp_path}/video-watch"), attacks=attacks)) for attacks in (False, True))
    assert set(more) - set(plain) >= {"croce2020reliable", "yue2022defending", "goodfellow2015explaining"}


def test_a_published_address_is_read_from_the_packages_metadata(monkeypatch: pytest.MonkeyPatch) -> None:
    fields = Message()
    monkeypatch.setattr(citation, "metadata", lambda package: fields)
    assert citation.leaderboard_url() == ""
    fields["Project-URL"] = "Source, https://a.example"
    fields["Project-URL"] = "Leaderboard, https://b.example"
    assert citation.leaderboard_url() == "https://b.example"


def run(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(cli, ["cite", *arguments])
    return result.exit_code, result.stdout, result.stderr


def test_the_command_prints_sentences_references_and_notes_apart(release: Path) -> None:
    code, out, err = run(f"{release}/shop/nrms/pgd")
    assert code == 0
    assert out.index("On shop") < out.index("the software: recgauntlet") < out.index("@misc{recgauntlet,")
    assert "on the leaderboard's page" in out
    assert "note:" in err
    assert "note:" not in out


def test_the_bibtex_is_nothing_but_bibtex(release: Path) -> None:
    code, out, _ = run(f"{release}/video-watch", "--format", "bibtex")
    assert code == 0
    assert [entry.key for entry in bibtex.parse(out)][:2] == ["recgauntlet", "recgauntlet-first"]
    assert run()[1].startswith("the software: recgauntlet")


def test_the_json_has_everything(release: Path) -> None:
    code, out, _ = run(f"{release}/shop", "--format", "json", "--site", "https://example.org/")
    content = json.loads(out)
    assert code == 0
    assert len(content["rows"]) == 3
    assert all(row["page"].startswith("https://example.org#shop-standard-") for row in content["rows"])
    assert {key for reference in content["references"] for key in reference["keys"]} <= {
        entry["key"] for entry in content["bibtex"]
    }


@needs_latex
def test_a_real_bibtex_takes_what_the_command_prints(release: Path, tmp_path: Path) -> None:
    _, out, _ = run(str(release), "--format", "bibtex", "--site", "https://example.org/a_b")
    assert bibliography(out, tmp_path).count(r"\bibitem") == len(bibtex.parse(out))

"""Submissions: packed, checked whatever a hostile sender does to them, and merged as files that count."""

from __future__ import annotations

import io
import json
import lzma
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError
from rich.console import Console
from synthetic_records import make_record

from recgauntlet.cli.rerunning import keep
from recgauntlet.core.errors import RecordError
from recgauntlet.core.source import source_of
from recgauntlet.core.spec import CellSpec
from recgauntlet.core.task import SourceOptions
from recgauntlet.records.columns import BitColumn
from recgauntlet.records.digest import compress, digest_of, to_bytes
from recgauntlet.records.io import read_records
from recgauntlet.records.reruns import confirmed, drawn, records_within
from recgauntlet.records.schema import RunRecord
from recgauntlet.records.submission import archive as archives
from recgauntlet.records.submission.archive import read_archive, sum_of, write_archive
from recgauntlet.records.submission.manifest import Sender
from recgauntlet.records.submission.reader import Finding, open_archive, open_merged
from recgauntlet.runner.submission.checks import static_findings
from recgauntlet.runner.submission.merge import merge
from recgauntlet.runner.submission.pack import SEEDS, TASKS, pack
from recgauntlet.runner.submission.rerun import Rerun, draw

Change = Callable[[dict[str, bytes]], None]
NAME = "nan-loss"
MANIFEST = "manifest.json"


def records(seeds: tuple[int, ...] = SEEDS) -> list[tuple[Path, RunRecord]]:
    """Cells of the ranked tasks: the twin's and those of a registered defense."""
    found = []
    for spec in specs(seeds):
        record = make_record(task=spec.task, defense=spec.defense, seed=spec.seed, pairs=60, further=True)
        shipped = {"distribution": "recgauntlet-test-plugins", "version": "1.0", "source": source_of("defenses", NAME)}
        ref = record.defense.model_copy(update=shipped if spec.defense == NAME else {})
        weights = sum_of(f"{spec.task}{spec.defense}{spec.seed}".encode())
        path = spec.record_path.relative_to(spec.out)
        found.append((path, record.model_copy(update={"defense": ref, "weights_sha256": weights})))
    return found


def specs(seeds: tuple[int, ...] = SEEDS) -> list[CellSpec]:
    source = SourceOptions(directory=None, cache=Path("cache"))
    return [
        CellSpec(task, "standard", "nrms", defense, seed, Path("out"), source)
        for seed in seeds
        for task in TASKS
        for defense in ("standard", NAME)
    ]


@pytest.fixture
def packed(test_plugins: Path) -> bytes:
    found = records()
    suite = found[0][1].suite
    content = pack("defense", NAME, specs(), found, Sender(authors="A. Author", link="https://example.org/paper"))
    return reseal(content, lambda manifest: manifest["recipe"].update(suite=suite.model_dump()))


def files_of(content: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def reseal(content: bytes, change: Callable[[dict[str, object]], object]) -> bytes:
    """The archive with a changed manifest that says that it is whole."""
    files = files_of(content)
    manifest = json.loads(files[MANIFEST])
    change(manifest)
    manifest["digest"] = digest_of(manifest)
    return write_archive({**files, MANIFEST: json.dumps(manifest).encode()})


def with_record(content: bytes, name: str, change: Callable[[RunRecord], RunRecord]) -> bytes:
    """The archive with a record changed and everything sealed again, as a liar would."""
    files = files_of(content)
    path = next(path for path in files if path.endswith(name) and "video-watch" in path)
    record = change(RunRecord.model_validate_json(lzma.decompress(files[path])))
    files[path] = compress(to_bytes(record.sealed()))

    def listed(manifest: dict[str, object]) -> None:
        for file in manifest["files"]:  # type: ignore[attr-defined]
            if file["path"] == path:
                file.update(sha256=sum_of(files[path]), bytes=len(files[path]))

    return reseal(write_archive(files), listed)


def checked(content: bytes, tmp_path: Path) -> list[Finding]:
    target = tmp_path / "it.zip"
    target.write_bytes(content)
    return list(static_findings(open_archive(target), current=False))


def test_an_honest_submission_has_no_findings(packed: bytes, tmp_path: Path) -> None:
    assert checked(packed, tmp_path) == []


def test_the_same_files_make_the_same_archive() -> None:
    files = {"manifest.json": b"{}", "source/a.py": b"x = 1\n"}
    assert write_archive(files) == write_archive(dict(reversed(files.items())))


def test_a_new_submission_must_be_of_the_installed_card_and_suite(packed: bytes, tmp_path: Path) -> None:
    (tmp_path / "it.zip").write_bytes(packed)
    fields = {finding.field for finding in static_findings(open_archive(tmp_path / "it.zip"))}
    assert {"suite.fingerprint", "task.fingerprint", "task.data_fingerprint"} <= fields


def told(findings: list[Finding], path: str, field: str, words: str) -> bool:
    return any(path in f.path and f.field.startswith(field) and words in f.problem for f in findings)


def lying_robust(record: RunRecord) -> RunRecord:
    """Everything that is right on the clean input stands."""
    assert record.clean is not None
    right = (record.clean.scores.to_float() > 0) == record.clean.labels.to_bool()
    threat = record.threats[0]
    tiers = tuple(
        tier.model_copy(update={"robust": BitColumn.of(right), "attacks": tuple(_idle(a) for a in tier.attacks)})
        for tier in threat.tiers
    )
    return record.model_copy(update={"threats": (threat.model_copy(update={"tiers": tiers}), *record.threats[1:])})


def _idle(attack):  # type: ignore[no-untyped-def]
    return attack.model_copy(update={"broken": BitColumn.of(np.zeros(attack.broken.n, dtype=bool))})


def fewer_robust(record: RunRecord) -> RunRecord:
    """A twin that looks weaker than its own outcomes say."""
    threat = record.threats[0]
    nobody = BitColumn.of(np.zeros(threat.tiers[0].robust.n, dtype=bool))
    tiers = tuple(tier.model_copy(update={"robust": nobody}) for tier in threat.tiers)
    return record.model_copy(update={"threats": (threat.model_copy(update={"tiers": tiers}), *record.threats[1:])})


def test_a_record_that_lies_and_is_sealed_again_does_not_match_the_summary(packed: bytes, tmp_path: Path) -> None:
    findings = checked(with_record(packed, f"nrms-{NAME}-0.json.xz", lying_robust), tmp_path)
    assert told(findings, MANIFEST, "summary.robust", "is not what its records make")


def test_robust_outcomes_that_do_not_follow_from_the_attacks_are_told(packed: bytes, tmp_path: Path) -> None:
    findings = checked(with_record(packed, "nrms-standard-1.json.xz", fewer_robust), tmp_path)
    assert told(findings, "nrms-standard-1", "threats.stuffing", "that nothing broke")


def test_a_finished_record_without_its_training_cost_is_refused(packed: bytes, tmp_path: Path) -> None:
    content = with_record(packed, f"nrms-{NAME}-0.json.xz", lambda record: record.model_copy(update={"cost": None}))
    assert told(checked(content, tmp_path), f"{NAME}-0", "cost", "pack it again with recgauntlet submit")


def test_a_record_without_curves_is_refused(packed: bytes, tmp_path: Path) -> None:
    def uncurved(record: RunRecord) -> RunRecord:
        threats = tuple(threat.model_copy(update={"curve": ()}) for threat in record.threats)
        return record.model_copy(update={"threats": threats})

    findings = checked(with_record(packed, f"nrms-{NAME}-0.json.xz", uncurved), tmp_path)
    assert told(findings, f"{NAME}-0", "threats", "run it without --no-curves")


@pytest.mark.parametrize(("other", "told_of"), [(f"video-watch{NAME}1", True), ("video-watchstandard0", False)])
def test_seeds_with_the_same_weights_are_told_and_those_of_the_twin_are_not(
    packed: bytes, tmp_path: Path, other: str, told_of: bool
) -> None:
    same = {"weights_sha256": sum_of(other.encode())}
    content = with_record(packed, f"nrms-{NAME}-0.json.xz", lambda record: record.model_copy(update=same))
    assert told(checked(content, tmp_path), f"{NAME}-", "weights_sha256", "another seed") == told_of


def of_source(record: RunRecord, source: str) -> RunRecord:
    return record.model_copy(update={"defense": record.defense.model_copy(update={"source": source})})


@pytest.mark.parametrize("source", ["0" * 64, ""])
def test_records_that_another_source_made_are_not_packed_and_are_found(
    packed: bytes, tmp_path: Path, source: str
) -> None:
    (path, first), *others = [(path, record) for path, record in records() if record.defense.name == NAME]
    with pytest.raises(RecordError, match="other source code") as caught:
        pack("defense", NAME, specs(), [*others, (path, of_source(first, source))], Sender())
    assert (caught.value.where, caught.value.field) == (str(path), "defense.source")
    content = with_record(packed, f"nrms-{NAME}-0.json.xz", lambda record: of_source(record, source))
    (tmp_path / "it.zip").write_bytes(content)
    findings = list(static_findings(open_archive(tmp_path / "it.zip")))
    assert told(findings, f"{NAME}-0", "defense.source", "another hash")
    assert told(findings, f"{NAME}-1", "defense.source", "a seed of this row")


def test_a_changed_record_is_told_by_its_sum_and_its_digest(packed: bytes, tmp_path: Path) -> None:
    files = files_of(packed)
    path = next(path for path in files if path.endswith(f"{NAME}-2.json.xz"))
    text = lzma.decompress(files[path]).replace(b'"seed": 2', b'"seed": 1')
    findings = checked(write_archive({**files, path: compress(text)}), tmp_path)
    assert told(findings, path, "sha256", "is not the file")
    assert told(findings, path, "digest", "was changed")


@pytest.mark.parametrize(
    ("change", "path", "field", "words"),
    [
        (lambda m: m["recipe"].update(seeds=[0, 1, 2, 3]), MANIFEST, "recipe", "without a record"),
        (lambda m: m["recipe"].update(seeds=[0, 1]), "-2.json", "", "no cell of the recipe"),
        (lambda m: m["recipe"].update(seeds=[0, 1]), MANIFEST, "recipe.seeds", "lacks 2"),
        (lambda m: m["recipe"].update(tasks=["video-watch"]), MANIFEST, "recipe.tasks", "lacks ecommerce-purchase"),
        (lambda m: m["recipe"].update(defenses=[NAME]), MANIFEST, "recipe.defenses", "the undefended twin"),
        (lambda m: m["plugin"].update(source_sha256="0" * 64), MANIFEST, "plugin.source_sha256", "is not the hash"),
        (lambda m: m["plugin"].update(version="2.0"), "records/", "defense", "was shipped by"),
        (lambda m: m["files"].pop(), "source/", "", "is not listed"),
        (lambda m: m["summary"].pop(), MANIFEST, "summary", "lacks the row"),
        (lambda m: m["sender"].update(link="javascript:alert(1)"), MANIFEST, "sender.link", "address"),
        (lambda m: m["sender"].update(authors="A\u202ethor"), MANIFEST, "sender.authors", "U+202E"),
        (lambda m: m["sender"].update(authors="\x1b[2J"), MANIFEST, "sender.authors", "U+001B"),
        (lambda m: m["sender"].update(authors="A" * 201), MANIFEST, "sender.authors", "200"),
        (lambda m: m["plugin"].update(name="../../etc"), MANIFEST, "plugin.name", "letters"),
        (lambda m: m.update(schema_version=7), MANIFEST, "schema_version", "7"),
        (lambda m: m.update(kind="release"), MANIFEST, "kind", "no manifest of a submission"),
    ],
)
def test_what_a_manifest_gets_wrong_is_told_with_its_field(
    packed: bytes, tmp_path: Path, change: Callable[[dict[str, object]], object], path: str, field: str, words: str
) -> None:
    findings = checked(reseal(packed, change), tmp_path)
    assert told(findings, path, field, words), "\n".join(map(str, findings))


def test_everything_wrong_is_told_at_once(packed: bytes, tmp_path: Path) -> None:
    files = files_of(packed)
    first, second, *_ = sorted(path for path in files if path.startswith("records/"))
    broken = {**files, first: b"no xz", second: compress(b"[" * 100_000), "records/a/b/stray.json.xz": compress(b"{}")}
    broken.pop(next(path for path in files if path.startswith("source/")))
    findings = checked(write_archive(broken), tmp_path)
    assert {f.path for f in findings} >= {first, second, "records/a/b/stray.json.xz", "source/"}


def raw_archive(path: Path, *members: tuple[zipfile.ZipInfo | str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for info, content in members:
            archive.writestr(info, content)
    return path


@pytest.mark.parametrize(
    "name",
    [
        "../outside.txt",
        "/etc/passwd",
        "records/../../x.json.xz",
        "source/../../x.py",
        "source/a/../b.py",
        "source\\..\\x.py",
        "C:/x.py",
        "source/\u202ecod.py",
        "source/" + "a" * 300 + ".py",
        "source/.hidden.py",
        "source/-rf",
        "other/x.py",
        "records/x.json.xz",
        "",
    ],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_that_leads_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    files, faults = read_archive(raw_archive(tmp_path / "it.zip", (zipfile.ZipInfo(name), b"x")))
    assert files == {}
    assert len(faults) == 1


def test_links_and_doubles_and_other_cases_are_refused(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("source/link.py")
    link.external_attr = 0o120777 << 16
    with pytest.warns(UserWarning, match="Duplicate name"):
        path = raw_archive(
            tmp_path / "it.zip",
            (link, b"/etc/passwd"),
            ("source/a.py", b"1"),
            ("source/a.py", b"2"),
            ("source/A.py", b"3"),
        )
    files, faults = read_archive(path)
    assert files == {"source/a.py": b"1"}
    assert [fault.problem for fault in faults] == [
        "is no regular file",
        "is there twice",
        "differs from another file in case alone",
    ]


def test_a_zip_bomb_is_not_unfolded(tmp_path: Path) -> None:
    bomb = raw_archive(tmp_path / "it.zip", ("source/bomb.py", bytes(archives.LARGEST_FILE - 1)))
    files, faults = read_archive(bomb)
    assert files == {}
    assert "times its size" in faults[0].problem


def test_a_bomb_that_lies_about_its_size_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = raw_archive(tmp_path / "it.zip", ("source/bomb.py", bytes(5000)))
    content = bytearray(path.read_bytes())
    for place in range(len(content) - 4):
        if content[place : place + 4] in (b"PK\x01\x02", b"PK\x03\x04"):
            offset = 24 if content[place : place + 4] == b"PK\x01\x02" else 22
            content[place + offset : place + offset + 4] = (10).to_bytes(4, "little")
    path.write_bytes(content)
    files, faults = read_archive(path)
    assert files == {} or len(files["source/bomb.py"]) <= 10
    assert bool(faults) != bool(files)


def test_a_bomb_within_a_record_is_not_decompressed(
    packed: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recgauntlet.records.submission.reader.LARGEST_RECORD", 1000)
    findings = checked(packed, tmp_path)
    assert sum("bytes after decompression" in f.problem for f in findings) == 18


def test_the_whole_has_a_limit_too(packed: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "LARGEST_WHOLE", 5000)
    (tmp_path / "it.zip").write_bytes(packed)
    _, faults = read_archive(tmp_path / "it.zip")
    assert "unfolds to more than" in faults[-1].problem


@pytest.mark.parametrize("content", [b"", b"no zip at all"])
def test_what_is_no_archive_is_said_so(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "it.zip").write_bytes(content)
    with pytest.raises(RecordError, match="is no zip archive"):
        open_archive(tmp_path / "it.zip")


def test_an_empty_archive_has_no_manifest(tmp_path: Path) -> None:
    (tmp_path / "it.zip").write_bytes(b"PK\x05\x06" + bytes(18))
    assert [str(finding) for finding in open_archive(tmp_path / "it.zip").findings] == [f"{MANIFEST}: is missing"]


def test_a_sender_says_plain_words(test_plugins: Path) -> None:
    assert Sender(authors="Ødegård, 李, et al. <b>", note="two\nlines").authors.startswith("Ø")
    for bad in ({"authors": "two\nlines"}, {"authors": " x"}, {"link": "ftp://x"}, {"note": "\x07"}):
        with pytest.raises(ValidationError):
            Sender(**bad)


@pytest.fixture
def release(tmp_path: Path) -> Path:
    (tmp_path / "results" / "2026.1").mkdir(parents=True)
    return tmp_path / "results" / "2026.1"


@pytest.fixture
def merged(packed: bytes, release: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "it.zip").write_bytes(packed)
    monkeypatch.setattr("recgauntlet.runner.submission.checks.not_installed", lambda record: ())
    return merge(tmp_path / "it.zip", release)


def test_a_merged_submission_is_files_whose_own_records_count(merged: Path, release: Path) -> None:
    assert merged == release / "submissions" / NAME
    assert {path.suffix for path in merged.rglob("*") if path.is_file()} == {".json", ".xz", ".py"}
    found = read_records(release)
    assert found.broken == ()
    cells = [(record.task.id, record.defense.name, record.seed) for _, record in found.records]
    assert cells == [(task, NAME, seed) for task in TASKS for seed in SEEDS]
    assert static_findings(open_merged(merged), current=False) == ()


def test_a_cell_of_a_merged_submission_that_was_run_again_is_confirmed(merged: Path, release: Path) -> None:
    results = read_records(release)
    within = f"submissions/{NAME}"
    records = records_within(release, results, within)
    assert records_within(release, results) == {}
    opened = open_merged(merged)
    assert opened.manifest is not None
    path = draw(opened, opened.manifest, 5)
    record = records[f"{within}/{path}"]
    assert drawn(records, 5) == f"{within}/{path}"
    found = Rerun(True, (), record)
    keep(Console(quiet=True), release, record, found, 5, NAME)
    assert set(confirmed(release, results)) == {record.digest}


def test_what_is_merged_stays_as_it_is(merged: Path, release: Path, tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="never changes"):
        merge(tmp_path / "it.zip", release)
    path = next(merged.rglob("*.py"))
    path.write_text("changed")
    assert [path for path, _ in read_records(release).broken] == [path]


def test_an_archive_that_does_not_check_out_is_not_merged(packed: bytes, release: Path, tmp_path: Path) -> None:
    (tmp_path / "it.zip").write_bytes(packed)
    with pytest.raises(RecordError, match="recgauntlet verify"):
        merge(tmp_path / "it.zip", release)  # of another card and suite
    assert not (release / "submissions").exists()


def test_a_link_among_merged_files_is_told(merged: Path) -> None:
    (merged / "source" / "link.py").symlink_to("/etc/passwd")
    findings = static_findings(open_merged(merged), current=False)
    assert any("link.py" in f.path and "no regular file" in f.problem for f in findings)


def test_a_failed_cell_is_not_packed(test_plugins: Path) -> None:
    found = records()
    failed = make_record(task="video-watch", defense=NAME, seed=0, failure="it broke")
    with pytest.raises(RecordError, match="1 of 18 cells failed"):
        pack("defense", NAME, specs(), [*found[1:], (found[0][0], failed)], Sender())


def test_a_stray_below_a_submission_is_told(merged: Path, release: Path) -> None:
    shutil.copy(next(merged.rglob("*.py")), merged / "stray.bin")
    assert any("stray.bin" in str(f) for f in open_merged(merged).findings)

"""Freezing: what goes in, what is refused and in which words, and that nothing is left behind."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import poison_task
import pytest
from made_releases import SMALL, board, make_release, small, write_all
from synthetic_poisoning import poisoned_record
from synthetic_records import make_record

from recgauntlet.attacks.poisoning.profiles import PopularProfiles
from recgauntlet.core.errors import OutputError, RecordError
from recgauntlet.data.poison_tables import read_table, write_table
from recgauntlet.leaderboard.build import build_table
from recgauntlet.leaderboard.release import freeze as freezing
from recgauntlet.leaderboard.release.freeze import Wanted, freeze
from recgauntlet.leaderboard.release.summary import summary_rows
from recgauntlet.leaderboard.release.verify import verify_release
from recgauntlet.records.best_known import BestKnown, Challenge, Challenged, write_best_known
from recgauntlet.records.columns import BitColumn, FloatColumn
from recgauntlet.records.manifest import MANIFEST, read_manifest
from recgauntlet.records.references import PluginRef
from recgauntlet.records.release import open_release
from recgauntlet.records.schema import AttackEffort, RunRecord


def without_attack_scores(record: RunRecord) -> RunRecord:
    """The record as it should be in a release."""
    content = record.model_dump(mode="json")
    for threat in content["threats"]:
        for tier in threat["tiers"]:
            for attack in tier["attacks"]:
                attack["scores"] = FloatColumn.of(np.zeros(0)).model_dump(mode="json")
    return RunRecord.model_validate(content).sealed()


def refusal(folder: Path, records: list[RunRecord], **options: object) -> str:
    """The words of the refusal; nothing is left behind."""
    with pytest.raises(RecordError) as caught:
        make_release(folder, records=records, **options)
    assert not list((folder / "results").glob("*"))
    assert not list((folder / "results").glob(".*"))
    return str(caught.value)


def challenge_of(record: RunRecord) -> BestKnown:
    """An attack from outside that broke nothing."""
    assert record.clean is not None
    none = BitColumn.of(record.clean.labels.to_bool() & False)
    effort = AttackEffort(forwards=1, backwards=0, user_encodings=0, cache_hits=0, seconds=0.0)
    outcome = Challenge(
        threat="stuffing", surface="candidate-text", goal="promote", tier="standard", amount=2, characters=0,
        queries=500, robust=none, attacked=none, broken=none, violations=0, effort=effort,
    )  # fmt: skip
    return BestKnown(
        challenged=Challenged.of(record),
        attack=PluginRef(name="patient/../../ascent", distribution="mine", version="1", hyperparameters={}),
        examples="standing",
        environment=record.environment,
        started=record.started,
        finished=record.finished,
        outcomes=(outcome,),
        evidence=(),
    )


def test_a_release_holds_every_record_and_its_numbers(tmp_path: Path) -> None:
    records = board()
    directory = make_release(tmp_path, records=records)
    release = open_release("2026.1", tmp_path / "results")
    assert (release.name, release.directory) == ("2026.1", directory)
    assert release.results.broken == ()
    wanted = [without_attack_scores(record) for record in records]
    assert sorted(r.digest for _, r in release.results.records) == sorted(r.digest for r in wanted)
    assert all(record in wanted for _, record in release.results.records)
    manifest = release.manifest
    assert manifest is not None
    assert manifest.summary == summary_rows(build_table(records))
    assert {row.rank for row in manifest.summary} >= {1, None}
    counts = (manifest.counts.records, manifest.counts.failed, manifest.counts.best_known, manifest.counts.rows)
    assert counts == (len(records), 0, 0, 5)
    assert [(task.id, task.version, task.records) for task in manifest.tasks] == [("news", 1, 3), ("shop", 1, 11)]
    assert {file.source for file in manifest.files if file.kind == "record"} == {record.digest for record in records}
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", manifest.date)


def test_the_digest_of_a_release_is_that_of_its_manifests_file(tmp_path: Path) -> None:
    import hashlib

    directory = make_release(tmp_path, records=small())
    assert open_release(directory).digest == hashlib.sha256((directory / MANIFEST).read_bytes()).hexdigest()


def test_the_same_records_give_the_same_bytes_in_whatever_order_and_place(tmp_path: Path) -> None:
    first = make_release(tmp_path / "a", records=board())
    second = make_release(tmp_path / "b", records=board()[::-1])
    files = {path.relative_to(first) for path in first.rglob("*") if path.is_file()}
    assert files == {path.relative_to(second) for path in second.rglob("*") if path.is_file()}
    assert [path for path in files if (first / path).read_bytes() != (second / path).read_bytes()] == []


def test_broken_records_are_refused_all_at_once(tmp_path: Path) -> None:
    source = write_all(tmp_path / "records", small())
    (source / "cut.json").write_text("{")
    (source / "old.json").write_text('{"schema_version": 99}')
    with pytest.raises(RecordError, match="cannot be frozen, for 2 reasons") as caught:
        freeze(Wanted("2026.1", (source,), tmp_path / "results"))
    assert "cut.json: broken: is not complete JSON" in str(caught.value)
    assert "old.json: broken: has schema version 99" in str(caught.value)


def test_failed_records_are_refused_or_left_out(tmp_path: Path) -> None:
    records = [*small(), make_record(seed=7, failure="no memory"), make_record(seed=8, failure="no disk")]
    told = refusal(tmp_path, records)
    assert "for 2 reasons" in told
    assert told.count("failed (training): leave it out with --without-failed") == 2
    directory = make_release(tmp_path / "again", records=records, without_failed=True)
    assert len(open_release(directory).results.records) == 3


@pytest.mark.parametrize(
    ("other", "why"),
    [
        ({"version": 2}, "another version of the task (2 and 1)"),
        ({"fingerprint": "1" * 64}, "another task card (fingerprints 111111111111 and cccccccccccc)"),
        ({"data_fingerprint": "2" * 64}, "other data (fingerprints 222222222222 and dddddddddddd)"),
        ({"suite_fingerprint": "3" * 64}, "another attack suite (preview-1 1 with fingerprints 333333333333 and eee"),
        ({"pairs": 70}, "other test examples"),
        ({"task": "news", "suite_fingerprint": "3" * 64}, "another attack suite than most"),
    ],
)
def test_what_may_not_stand_in_one_ranking_is_never_in_one_release(
    tmp_path: Path, other: dict[str, object], why: str
) -> None:
    told = refusal(tmp_path, [*small(), make_record(**{**SMALL, "defense": "pgd", **other})])  # type: ignore[arg-type]
    assert "003.json: cannot stand in one ranking with most others: " in told
    assert why in told
    assert "for 1 reason:" in told


def test_the_demo_track_is_frozen_only_where_it_is_asked_for_and_never_with_the_other(tmp_path: Path) -> None:
    demo = small(track="demo", simulated=True)
    assert refusal(tmp_path / "a", demo).count("is of the demo track, which needs --track demo") == 3
    directory = make_release(tmp_path / "b", records=demo, track="demo")
    manifest = read_manifest(directory / MANIFEST)
    assert {row.rank for row in manifest.summary} == {None}
    told = refusal(tmp_path / "c", [*demo, *small(1)], track="demo")
    assert "is of the standard track, which needs --track standard" in told


@pytest.mark.parametrize(
    "name", ["", ".", "..", "a/b", "a\\b", ".hidden", "end.", "a b", "ä", "x" * 65, "a..b", "-x", "nul", "Com1.2"]
)
def test_a_name_that_is_no_files_name_is_refused(tmp_path: Path, name: str) -> None:
    source = write_all(tmp_path / "records", small(1))
    with pytest.raises(RecordError, match=r"NAME: .* cannot be the name"):
        freeze(Wanted(name, (source,), tmp_path / "results"))


@pytest.mark.parametrize("name", ["2026.1", "OSCAR"])
def test_a_name_that_is_taken_is_refused_even_by_a_directory_that_nobody_froze(tmp_path: Path, name: str) -> None:
    make_release(tmp_path, records=small(1))
    (tmp_path / "results" / "oscar").mkdir()
    before = (tmp_path / "results" / "2026.1" / MANIFEST).read_bytes()
    with pytest.raises(RecordError, match="is there already, and a release never changes"):
        freeze(Wanted(name, (tmp_path / "records-of-2026.1",), tmp_path / "results"))
    assert (tmp_path / "results" / "2026.1" / MANIFEST).read_bytes() == before


def test_two_records_of_one_cell_are_refused_unless_the_newest_is_wanted(tmp_path: Path) -> None:
    again = make_record(seed=0, clean=0.6, finished="2026-05-01T00:00:00Z", **SMALL)  # type: ignore[arg-type]
    told = refusal(tmp_path / "a", [*small(), again])
    assert "000.json, " in told
    assert "003.json: are of one cell and seed; --newest takes what finished last" in told
    directory = make_release(tmp_path / "b", records=[*small(), again], newest=True)
    assert without_attack_scores(again) in [record for _, record in open_release(directory).results.records]
    assert len(open_release(directory).results.records) == 3


def test_a_record_that_is_there_twice_is_frozen_once(tmp_path: Path) -> None:
    directory = make_release(tmp_path, records=[*small(), *small()])
    assert len(open_release(directory).results.records) == 3


def test_a_release_can_be_frozen_again_from_a_release(tmp_path: Path) -> None:
    first = make_release(tmp_path, records=small())
    second = freeze(Wanted("2026.2", (first,), tmp_path / "results"))
    was, now = (open_release(directory) for directory in (first, second))
    assert [record for _, record in was.results.records] == [record for _, record in now.results.records]


def test_a_correction_names_what_it_supersedes_and_why(tmp_path: Path) -> None:
    make_release(tmp_path, records=small())
    root, source = tmp_path / "results", write_all(tmp_path / "new", small(clean=0.7))
    wanted: Callable[..., Wanted] = lambda name, **options: Wanted(name, (source,), root, **options)  # noqa: E731
    for options in ({"supersedes": "2026.1"}, {"reason": "x"}, {"supersedes": "2026.1", "reason": " "}):
        with pytest.raises(RecordError, match="names the release that it supersedes, and why"):
            freeze(wanted("2026.1.1", **options))
    (root / "loose").mkdir()
    with pytest.raises(RecordError, match="is no frozen release"):
        freeze(wanted("2026.1.1", supersedes="loose", reason="x"))
    with pytest.raises(RecordError, match=r"did you mean 2026\.1"):
        freeze(wanted("2026.1.1", supersedes="2026.l", reason="x"))
    manifest = read_manifest(freeze(wanted("2026.1.1", supersedes="2026.1", reason="labels")) / MANIFEST)
    assert (manifest.supersedes, manifest.reason) == ("2026.1", "labels")
    with pytest.raises(RecordError, match=r"is superseded by 2026\.1\.1 already"):
        freeze(wanted("2026.1.2", supersedes="2026.1", reason="again"))


def test_plugins_with_odd_names_get_files_below_the_release(tmp_path: Path) -> None:
    records = [
        make_record(model=model, defense=defense, **SMALL)  # type: ignore[arg-type]
        for model, defense in [
            ("../../x", "a/b"),
            ("..", "."),
            ("ÄÖ", "\n"),
            ("東京", "\u202e"),
            ("A", "b"),
            ("a", "B"),
        ]
    ]
    directory = make_release(tmp_path, records=records)
    release = open_release(directory)
    assert (len(release.results.records), release.results.broken) == (6, ())
    assert {path.name for path in tmp_path.iterdir()} == {"records-of-2026.1", "results"}


def test_best_known_attacks_are_frozen_with_the_records_they_challenge(tmp_path: Path) -> None:
    source = write_all(tmp_path / "records", small())
    write_best_known(challenge_of(small(1)[0]), source / "best_known" / "one.json")
    directory = freeze(Wanted("2026.1", (source,), tmp_path / "results"))
    release = open_release(directory)
    ((path, known),) = release.results.best_known
    assert known == challenge_of(small(1)[0]).sealed()
    assert path.relative_to(directory).as_posix() == "best_known/patient-ascent/shop/standard/nrms-standard-0.json.xz"
    assert release.manifest is not None
    assert release.manifest.counts.best_known == 1


def test_a_best_known_attack_on_no_record_of_the_release_is_refused(tmp_path: Path) -> None:
    source = write_all(tmp_path / "records", small())
    write_best_known(challenge_of(make_record(defense="pgd", **SMALL)), source / "loose.json")  # type: ignore[arg-type]
    with pytest.raises(RecordError, match=r"loose\.json: challenges no record here"):
        freeze(Wanted("2026.1", (source,), tmp_path / "results"))


def test_scores_of_attacks_are_left_out_unless_they_are_wanted(tmp_path: Path) -> None:
    lean = make_release(tmp_path / "a", records=small())
    full = make_release(tmp_path / "b", records=small(), attack_scores=True)
    assert (read_manifest(lean / MANIFEST).attack_scores, read_manifest(full / MANIFEST).attack_scores) == (False, True)
    assert list(open_release(full).results) == small()
    assert list(open_release(lean).results) == [without_attack_scores(record) for record in small()]
    with pytest.raises(RecordError, match="has no scores of attacks any more"):
        freeze(Wanted("2026.2", (lean,), tmp_path / "results", attack_scores=True))


@pytest.mark.parametrize(
    "options",
    [
        {"further": True},
        {"threats": {"stuffing": None, "embedding": (0.6, 0.5, 0.4)}},
        {"model": 'm"data":null', "defense": "\u202e<b>", "hyperparameters": {"data": None, "kind": "bits", "n": 3}},
    ],
)
def test_a_frozen_record_has_all_that_the_record_has(tmp_path: Path, options: dict[str, object]) -> None:
    records = small(1, **options)
    assert list(open_release(make_release(tmp_path, records=records)).results) == [without_attack_scores(records[0])]


def test_the_tables_of_a_release_have_the_very_numbers_of_its_records(tmp_path: Path) -> None:
    records = small(further=True)
    release = open_release(make_release(tmp_path, records=records))
    (first,), (second,) = build_table(records), build_table(list(release.results))
    assert [row.sources for row in first.rows] != [row.sources for row in second.rows]  # the digests are other ones
    for was, now in zip(first.rows, second.rows, strict=True):
        for name in ("rank", "clean", "threats", "worst", "quality", "cost", "flags", "seeds"):
            assert getattr(was, name) == getattr(now, name), name


def test_a_directory_without_records_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(RecordError, match="has no records"):
        freeze(Wanted("2026.1", (tmp_path / "empty",), tmp_path / "results"))
    with pytest.raises(RecordError, match="is no directory"):
        freeze(Wanted("2026.1", (tmp_path / "none",), tmp_path / "results"))


def test_what_cannot_be_written_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(file: object) -> None:
        raise OSError(28, "No space left on device")

    source = write_all(tmp_path / "records", small(1))
    monkeypatch.setattr(freezing.os, "fsync", full)
    with pytest.raises(OutputError, match="No space left"):
        freeze(Wanted("2026.1", (source,), tmp_path / "results"))
    assert list((tmp_path / "results").iterdir()) == []


@pytest.fixture
def poisoned(tmp_path: Path) -> tuple[list[RunRecord], Path]:
    """A record that was trained on three tables of an attack, and the directory of these and of some that it was not
    trained on."""
    store, _ = poison_task.make_store(tmp_path / "task")
    tables = store.tables(poison_task.RandomProfiles())
    store.tables(PopularProfiles())
    (outcome,) = poisoned_record().poisoning
    hashes = {tier: made.table.header.sha256 for tier, made in tables.items()}
    trainings = tuple(one.model_copy(update={"table": hashes[one.tier]}) for one in outcome.trainings)
    parts = {"poisoning": (outcome.model_copy(update={"trainings": trainings}),)}
    records = [poisoned_record(seed).model_copy(update=parts).sealed() for seed in range(3)]
    path = tables["low"].path
    assert path is not None
    return records, path.parent


def test_the_poison_tables_of_redistributable_data_are_frozen(
    poisoned: tuple[list[RunRecord], Path], tmp_path: Path
) -> None:
    records, tables = poisoned
    release = make_release(tmp_path, records=records, poison_tables=tables)
    frozen = sorted(release.rglob("*.parquet"))
    assert len(frozen) == 3
    assert verify_release(release) == ()
    header = read_table(frozen[0]).header
    write_table(replace(read_table(frozen[0]), times=[0] * len(read_table(frozen[0]))), frozen[0])
    assert read_table(frozen[0]).header == header
    assert {finding.path for finding in verify_release(release)} == {str(frozen[0])}


def test_missing_poison_tables_are_refused(poisoned: tuple[list[RunRecord], Path], tmp_path: Path) -> None:
    records, tables = poisoned
    next(path for path in tables.iterdir() if "random" in path.name).unlink()
    assert "lacks 1 of the poison tables" in refusal(tmp_path, records, poison_tables=tables)


def test_poison_tables_of_data_that_may_not_be_passed_on_are_left_out(
    poisoned: tuple[list[RunRecord], Path], tmp_path: Path
) -> None:
    records, tables = poisoned
    kept = [
        r.model_copy(update={"task": r.task.model_copy(update={"redistributable": False})}).sealed() for r in records
    ]
    assert not list(make_release(tmp_path, records=kept, poison_tables=tables).rglob("*.parquet"))

"""Naturalness of edits in rows, downloads, DataFrames and the summary of a record."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from synthetic_edits import with_edits
from synthetic_records import make_record

from recgauntlet.core.errors import RecordError
from recgauntlet.leaderboard.build import build_table
from recgauntlet.leaderboard.dataframe import load
from recgauntlet.leaderboard.natural_schema import NaturalEdits
from recgauntlet.leaderboard.table_csv import to_csv
from recgauntlet.records.columns import FloatColumn, IntColumn
from recgauntlet.records.io import read_record, write_record
from recgauntlet.records.naturalness import Naturalness
from recgauntlet.records.schema import RunRecord
from recgauntlet.records.summary import print_summary
from recgauntlet.records.validate import check_record

SEEDS = (0, 1)


def records(reason: str = "", **more: object) -> list[RunRecord]:
    return [with_edits(make_record(seed=n, further=True, **more), seed=n, reason=reason) for n in SEEDS]  # type: ignore[arg-type]


def edits_of(found: list[RunRecord], threat: str = "stuffing") -> NaturalEdits | None:
    (table,) = build_table(found)
    (row,) = table.rows
    cells = row.under(threat)
    return cells and cells.naturalness


def passes(one: Naturalness | None) -> np.ndarray:
    assert one is not None
    assert one.perplexity_ratio is not None
    assert one.cosine is not None
    return (one.perplexity_ratio.to_float() <= 5) & (one.cosine.to_float() >= 0.8)


def test_found_edits_are_counted_up_to_the_medium_tier_and_those_of_any_attack_on_the_ablation() -> None:
    made = records()
    natural = edits_of(made)
    assert natural is not None
    assert natural.found is not None
    assert natural.of_any is not None
    broken = stay = any_broken = any_stay = 0
    for record in made:
        threat = next(threat for threat in record.threats if threat.id == "stuffing")
        right = threat.tiers[1].robust.to_bool()
        for tier in threat.tiers[:2]:
            for attack in tier.attacks:
                broken += int(attack.broken.to_bool().sum())
                stay += int(passes(attack.naturalness).sum())
        assert not right[threat.tiers[0].attacks[0].broken.to_bool()].any()
        by_any, natural_by_any = np.zeros((2, len(threat.subset)), dtype=bool)
        for lone in threat.alone:
            bits = lone.broken.to_bool()
            by_any |= bits
            natural_by_any[np.flatnonzero(bits)[passes(lone.naturalness)]] = True
        any_broken += int(by_any.sum())
        any_stay += int(natural_by_any.sum())
    assert (natural.found.broken, natural.found.natural) == (broken, stay)
    assert (natural.of_any.broken, natural.of_any.natural) == (any_broken, any_stay)
    assert 0 < stay < broken
    assert any_stay / any_broken > stay / broken  # another attack's edit may be natural
    for one in (natural.found, natural.of_any):
        assert one.share is not None
        assert one.share.value == pytest.approx(one.natural / one.broken)
        assert one.share.low < one.share.value < one.share.high


def test_each_attack_alone_has_the_medians_over_all_seeds() -> None:
    made = records()
    natural = edits_of(made)
    assert natural is not None
    assert [attack.attack for attack in natural.attacks] == ["random", "gradient", "query"]
    own = [
        lone.naturalness
        for record in made
        for threat in record.threats
        for lone in threat.alone
        if (threat.id, lone.attack) == ("stuffing", "gradient")
    ]
    line = natural.attacks[1]
    words = np.concatenate([one.words.to_int() for one in own if one is not None])
    ratios = np.concatenate([one.perplexity_ratio.to_float() for one in own if one and one.perplexity_ratio])
    assert line.edits == len(words) == len(ratios)
    assert line.words == np.median(words)
    assert line.perplexity_ratio == pytest.approx(np.median(ratios))
    assert line.natural == sum(int(passes(one).sum()) for one in own)


def test_without_a_language_model_words_are_there_and_the_reason() -> None:
    natural = edits_of(records("not asked for"))
    assert natural is not None
    assert natural.found is natural.of_any is None
    assert natural.reason == "not asked for"
    assert natural.attacks[0].words is not None
    assert natural.attacks[0].perplexity_ratio is natural.attacks[0].natural is None


def test_older_records_have_none_and_one_seed_without_makes_the_row_incomplete() -> None:
    assert edits_of([make_record(seed=n, further=True) for n in SEEDS]) is None
    half = [records()[0], make_record(seed=1, further=True)]
    assert edits_of(half) is None
    mixed = edits_of([records()[0], records("not asked for")[1]])
    assert mixed is not None
    assert mixed.found is mixed.of_any is None
    assert mixed.attacks[0].words is not None
    assert mixed.reason == "not asked for"
    assert edits_of(records(), "embedding") is None


def test_the_record_keeps_it_and_a_record_without_keeps_its_bytes(tmp_path: Path) -> None:
    record = records()[0]
    write_record(record, tmp_path / "edits.json")
    assert read_record(tmp_path / "edits.json") == record
    assert "naturalness" not in make_record(further=True).model_dump_json()


def other(change: Callable[[Naturalness], dict[str, object]]) -> RunRecord:
    """A record whose first attack on texts has other values."""
    record = records()[0]
    threat = record.threats[0]
    attack = threat.tiers[0].attacks[0]
    assert attack.naturalness is not None
    changed = attack.model_copy(
        update={"naturalness": attack.naturalness.model_copy(update=change(attack.naturalness))}
    )
    tier = threat.tiers[0].model_copy(update={"attacks": (changed,)})
    threats = (threat.model_copy(update={"tiers": (tier, *threat.tiers[1:])}), *record.threats[1:])
    return record.model_copy(update={"threats": threats})


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda own: {"words": IntColumn.of(np.array([1]))}, "one for each broken example"),
        (lambda own: {"cosine": None}, "or neither"),
        (lambda own: {"cosine": FloatColumn.of(np.full(own.words.n, 1.5))}, "cosines from -1 to 1"),
        (lambda own: {"perplexity_ratio": FloatColumn.of(np.full(own.words.n, np.nan))}, "ratios from 0 on"),
        (lambda own: {"characters": own.characters.model_copy(update={"data": "eJw="})}, "cannot be decoded|not hold"),
    ],
)
def test_values_that_contradict_the_record_are_refused(
    change: Callable[[Naturalness], dict[str, object]], problem: str
) -> None:
    check_record(other(lambda own: {}))
    with pytest.raises(RecordError, match=problem) as caught:
        check_record(other(change), Path("some.json"))
    assert "naturalness" in (caught.value.field or "")


def test_the_csv_has_shares_and_medians_of_each_attack() -> None:
    made = records()
    natural = edits_of(made)
    assert natural is not None
    assert natural.of_any is not None
    assert natural.of_any.share is not None
    (line,) = csv.DictReader(io.StringIO(to_csv(build_table(made)).decode()))
    assert float(line["stay_broken:stuffing:standard"]) == natural.of_any.share.value
    assert float(line["perplexity_ratio:stuffing:standard:query"]) == natural.attacks[2].perplexity_ratio
    assert float(line["natural_edits:stuffing:standard:query"]) == natural.attacks[2].natural
    plain = to_csv(build_table(records("not asked for"))).decode()
    assert "words_changed:stuffing" in plain
    assert "perplexity_ratio" not in plain


def test_the_data_frames_have_it_by_tier_and_by_example(tmp_path: Path) -> None:
    made = records()
    for number, record in enumerate([*made, *records("no", defense="pgd")]):
        write_record(record, tmp_path / f"{number}.json")
    frame = load(tmp_path)
    lines = frame[(frame.defense == "standard") & (frame.threat == "stuffing") & (frame.tier == "standard")]
    assert len(lines) == len(SEEDS)
    natural = edits_of(made)
    assert natural is not None
    assert natural.found is not None
    examples = load(tmp_path, examples=True)
    own = examples[(examples.defense == "standard") & (examples.threat == "stuffing") & (examples.tier == "standard")]
    broken = own[own.broken_by.notna()]
    assert len(broken) == natural.found.broken
    assert broken.words_changed.notna().all()
    kept = (broken.perplexity_ratio <= 5) & (broken.cosine >= 0.8)
    assert int(kept.sum()) == natural.found.natural
    assert lines.stay_broken.tolist() == pytest.approx(kept.groupby(broken.seed).mean().tolist())
    assert lines.perplexity_ratio.tolist() == pytest.approx(broken.groupby("seed").perplexity_ratio.median().tolist())
    assert own[own.broken_by.isna()].words_changed.isna().all()
    others = frame[(frame.defense == "pgd") & (frame.threat == "stuffing")]
    assert others.words_changed.notna().all()
    assert others.perplexity_ratio.isna().all()
    assert others.stay_broken.isna().all()


def test_the_summary_lists_each_attack_or_why_nothing_was_measured() -> None:
    def text(record: RunRecord) -> str:
        console = Console(record=True, width=120, file=io.StringIO())
        print_summary(console, record)
        return console.export_text()

    shown = text(records()[0])
    line = next(line for line in shown.splitlines() if line.startswith("query"))
    attack = next(lone for lone in records()[0].threats[0].alone if lone.attack == "query").naturalness
    assert attack is not None
    assert line.split()[1] == str(attack.words.n)
    assert line.split()[-1] == str(int(passes(attack).sum()))
    assert "stay broken" in shown
    without = text(records("no language model was asked for")[0])
    assert "not computed: no language model was asked for" in without
    assert "stay broken" not in without
    assert "edits" not in text(make_record(further=True))

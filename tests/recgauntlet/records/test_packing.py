"""A record for a release: nothing that a number comes from is lost, and what is packed comes out as it went in."""

from __future__ import annotations

import json
import random
import zlib

import numpy as np
import pytest
from generated import repeatable
from hypothesis import given
from hypothesis import strategies as st
from made_releases import SMALL
from synthetic_records import make_record

from recgauntlet.core.errors import RecordError
from recgauntlet.leaderboard.build import build_table
from recgauntlet.records.columns import Packed
from recgauntlet.records.digest import digest_of, to_bytes
from recgauntlet.records.packing import as_released, pack, unpack, unpacked_file
from recgauntlet.records.schema import RunRecord
from recgauntlet.records.validate import check_record

KINDS = {
    "plain": {},
    "with everything": {"further": True},
    "not applicable": {"threats": {"stuffing": None, "embedding": (0.6, 0.5, 0.4)}},
    "failed": {"failure": 'said "data":null,"kind":"bits","n":8}'},
    "odd names": {"model": 'm"data":null', "defense": "\u202e<b>", "hyperparameters": {"data": None, "n": 3}},
}


def record_of(kind: str) -> RunRecord:
    return make_record(**{**SMALL, **KINDS[kind]})  # type: ignore[arg-type]


def without_scores(record: RunRecord) -> dict[str, object]:
    """The record's content, the columns unfolded, the attacks' scores left out."""

    def plain(part: object) -> object:
        if isinstance(part, dict) and set(part) == {"kind", "n", "data"}:
            return Packed.model_validate(part).raw().hex()
        if isinstance(part, dict):
            return {name: plain(value) for name, value in part.items()}
        return [plain(one) for one in part] if isinstance(part, list) else part

    content = record.model_dump(mode="json", exclude={"digest"})
    for threat in content["threats"]:
        for tier in threat["tiers"]:
            for attack in tier["attacks"]:
                del attack["scores"]
    return plain(content)  # type: ignore[return-value]


@pytest.mark.parametrize("kind", KINDS)
def test_a_released_record_says_all_that_the_record_said_but_the_scores_of_attacks(kind: str) -> None:
    record = record_of(kind)
    released = as_released(record)
    assert without_scores(released) == without_scores(record)
    assert all(attack.scores.n == 0 for t in released.threats for tier in t.tiers for attack in tier.attacks)
    assert released.digest == digest_of(released.model_dump(mode="json"))
    assert (released.digest == record.digest) == (record.clean is None)  # a failed cell has no columns
    check_record(released)


def test_the_tables_of_released_records_have_the_very_numbers() -> None:
    records = [make_record(seed=seed, further=True) for seed in range(3)]
    (first,), (second,) = build_table(records), build_table([as_released(record) for record in records])
    assert [row.sources for row in first.rows] != [row.sources for row in second.rows]  # the digests are other ones
    for was, now in zip(first.rows, second.rows, strict=True):
        for name in ("rank", "clean", "threats", "worst", "quality", "cost", "flags", "seeds"):
            assert getattr(was, name) == getattr(now, name), name


def test_the_scores_of_attacks_are_kept_where_that_is_wanted() -> None:
    record = make_record(**SMALL)  # type: ignore[arg-type]
    released = as_released(record, attack_scores=True)
    wanted = [a.scores.raw() for t in record.threats for tier in t.tiers for a in tier.attacks]
    assert [a.scores.raw() for t in released.threats for tier in t.tiers for a in tier.attacks] == wanted
    assert any(wanted)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("attack_scores", [False, True])
def test_what_is_packed_comes_out_as_it_went_in(kind: str, attack_scores: bool) -> None:
    released = as_released(record_of(kind), attack_scores=attack_scores)
    packed = pack(released)
    assert to_bytes(unpack(*packed)) == to_bytes(released)
    assert unpacked_file(*packed) == to_bytes(released)
    assert pack(released) == packed
    assert as_released(released, attack_scores=attack_scores) == released


def test_scores_that_are_no_numbers_come_out_as_they_went_in() -> None:
    record = make_record(further=True, **SMALL)  # type: ignore[arg-type]
    assert record.clean is not None
    odd = np.full(record.clean.impression_scores.n, np.nan)
    odd[::3], odd[1::3] = -0.0, np.inf
    clean = record.clean.model_copy(update={"impression_scores": Packed.floats(odd)})
    released = as_released(record.model_copy(update={"clean": clean}))
    assert to_bytes(unpack(*pack(released))) == unpacked_file(*pack(released)) == to_bytes(released)


def test_the_file_of_an_unpacked_record_is_made_anew_where_its_digest_is_not_that_of_the_words() -> None:
    released = as_released(record_of("with everything"))
    words, columns = pack(released)
    other = words.replace(released.digest.encode(), b"0" * 64)
    assert unpacked_file(other, columns) == to_bytes(unpack(other, columns)) != to_bytes(released)
    spaced = words.replace(b'"seed":0', b'"seed": 0')  # the same content, laid out as no release does
    assert unpacked_file(spaced, columns) == to_bytes(released)


def test_rankings_with_the_same_scores_are_not_mixed_up() -> None:
    record = make_record(further=True, **SMALL)  # type: ignore[arg-type]
    twice = [record.ranking[0], record.ranking[0].model_copy(update={"threat": "another"})]
    released = as_released(record.model_copy(update={"ranking": tuple(twice)}))
    assert unpacked_file(*pack(released)) == to_bytes(released)


def test_a_ranking_that_barely_changes_scores_takes_little_room() -> None:
    _, columns = pack(as_released(make_record(further=True, pairs=60, impressions=400)))
    ranking = make_record(further=True, pairs=60, impressions=400).ranking
    assert ranking
    alone = len(zlib.compress(b"".join(outcome.scores.raw() for outcome in ranking)))
    without = make_record(further=True, pairs=60, impressions=400).model_copy(update={"ranking": ()})
    assert len(zlib.compress(columns)) - len(zlib.compress(pack(as_released(without))[1])) < 0.6 * alone


def test_options_of_a_plugin_that_look_like_a_column_are_refused_and_not_mixed_up() -> None:
    record = make_record(hyperparameters={"data": None, "kind": "bits", "n": 8}, **SMALL)  # type: ignore[arg-type]
    with pytest.raises(RecordError, match=r"are data, kind and n|do not go together"):
        pack(as_released(record))


@pytest.mark.parametrize("cut", [0, 1, 7])
def test_columns_that_are_too_short_or_too_long_are_told(cut: int) -> None:
    words, columns = pack(as_released(make_record(**SMALL)))  # type: ignore[arg-type]
    with pytest.raises(RecordError, match="do not go together"):
        unpack(words, columns[: -cut or None] + (b"x" if not cut else b""))


def test_words_that_are_no_record_are_told_with_the_field() -> None:
    words, columns = pack(as_released(make_record(**SMALL)))  # type: ignore[arg-type]
    with pytest.raises(RecordError, match="seed: Field required"):
        unpack(words.replace(b'"seed":0', b'"sead":0'), columns)
    with pytest.raises(RecordError, match="cannot be unpacked"):
        unpack(b"{", b"")


@repeatable(60)
@given(st.integers(0, 2**32), st.integers(1, 12))
def test_damaged_words_end_in_one_error_and_nothing_else(seed: int, places: int) -> None:
    words, columns = PACKED
    draw = random.Random(seed)
    damaged = bytearray(words)
    for _ in range(places):
        damaged[draw.randrange(len(damaged))] = draw.randrange(256)
    try:
        record = unpack(bytes(damaged), columns)
    except RecordError:
        return
    assert isinstance(record, RunRecord)


PACKED = pack(as_released(make_record(pairs=60, impressions=32, further=True)))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("impression_sizes", [10**30] * 40),
        ("impression_sizes", [-3] * 40),
        ("impression_sizes", [2**40] * 40),
        ("impression_sizes", []),
    ],
)
def test_impressions_that_cannot_be_take_no_memory_and_no_time(field: str, value: list[int]) -> None:
    words, columns = pack(as_released(make_record(further=True, **SMALL)))  # type: ignore[arg-type]
    content = json.loads(words)
    content["clean"][field] = value
    record = unpack(json.dumps(content, sort_keys=True, separators=(",", ":")).encode(), columns)
    with pytest.raises((RecordError, OverflowError)):
        check_record(record)


@repeatable(40)
@given(st.binary(max_size=300), st.integers(0, 3))
def test_stored_columns_are_zlib_streams_of_their_bytes(raw: bytes, times: int) -> None:
    raw = raw * (1, 2, 100, 700)[times]
    column = Packed(kind="bits", n=8 * len(raw), data=Packed.stored(raw).decode())
    assert column.raw() == raw

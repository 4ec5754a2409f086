"""A file that stands as it was written is known at a glance, and no other is taken for one."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from synthetic_records import make_record

from recgauntlet.core.errors import RecordError
from recgauntlet.records.digest import digest_of, load_json, parse_json, to_bytes, written_digest
from recgauntlet.records.io import write_record
from recgauntlet.records.places import Place
from recgauntlet.records.schema import RunRecord

SMALL = {"pairs": 2, "impressions": 3, "threats": {"stuffing": (0.6, 0.5, 0.4)}}
PREVIEW = Path(__file__).parents[3] / "results" / "preview"


def sealed(**options: object) -> bytes:
    return to_bytes(make_record(**{**SMALL, **options}))  # type: ignore[arg-type]


def test_every_published_record_is_known_at_a_glance() -> None:
    paths = sorted(PREVIEW.rglob("*.json"))
    assert paths
    for path in paths:
        assert written_digest(path.read_bytes()) == digest_of(load_json(path, "a record", "none"))


@pytest.mark.parametrize("words", ["plain", ":b", 'a":b'])
def test_no_change_of_what_a_file_says_goes_unnoticed(words: str) -> None:
    """Every byte taken out, put in twice, exchanged, and with a blank before it: whatever then reads as JSON and says
    something else does not fit its digest."""
    text = sealed(hyperparameters={"words": words})
    content, noticed = json.loads(text), 0
    for place in range(len(text)):
        head, byte, tail = text[:place], text[place : place + 1], text[place + 1 :]
        for changed in (head + tail, head + byte + byte + tail, head + b" " + byte + tail, head + b"7" + tail):
            digest = written_digest(changed)
            if digest is not None:
                assert json.loads(changed) == content
            elif changed != text:
                noticed += 1
    assert noticed > len(text)


@pytest.mark.parametrize(
    "words",
    [
        'a "quote": here',
        ": at the beginning",
        "é and \u202e",
        "back\\slash",
        "a: colon",
        "  blanks  ",
        "line\nbreak",
        "",
    ],
)
def test_whatever_a_text_says_the_record_is_read(words: str, tmp_path: Path) -> None:
    record = make_record(**SMALL, hyperparameters={"words": words, words or "none": 1.0})  # type: ignore[arg-type]
    write_record(record, tmp_path / "one.json")
    assert Place(tmp_path / "one.json").read() == record
    spoiled = (tmp_path / "one.json").read_bytes().replace(b'"seed": 0', b'"seed": 1')
    (tmp_path / "one.json").write_bytes(spoiled)
    assert written_digest(spoiled) is None
    with pytest.raises(RecordError, match="digest does not match"):
        Place(tmp_path / "one.json").read()


@pytest.mark.parametrize(("words", "other"), [(":b", ": b"), ('a":b', 'a": b')])
def test_blanks_within_a_text_are_part_of_it(words: str, other: str, tmp_path: Path) -> None:
    """A text that differs from what was sealed by a blank that looks like layout does not pass for it."""
    text = sealed(hyperparameters={"words": words})
    changed = text.replace(json.dumps(words).encode(), json.dumps(other).encode())
    assert changed != text
    assert written_digest(changed) is None
    (tmp_path / "one.json").write_bytes(changed)
    with pytest.raises(RecordError, match="digest does not match"):
        Place(tmp_path / "one.json").read()


def test_a_second_digest_does_not_count(tmp_path: Path) -> None:
    """Made by whoever knows that of two fields of one name the last counts, and of two digests the first is found."""
    content = json.loads(sealed())
    content["digest"] = "0" * 64
    whole = json.dumps(content, sort_keys=True, separators=(",", ":")).encode()
    line = f' "digest": "{hashlib.sha256(whole).hexdigest()}",\n'
    text = json.dumps(content, sort_keys=True, indent=1) + "\n"
    text = text.replace(' "digest"', line + ' "digest"')
    assert written_digest(text.encode()) is not None
    (tmp_path / "one.json").write_text(text)
    with pytest.raises(RecordError, match="digest does not match"):
        Place(tmp_path / "one.json").read()


def test_another_layout_is_read_too(tmp_path: Path) -> None:
    record = make_record(**SMALL)  # type: ignore[arg-type]
    content = json.loads(to_bytes(record))
    for number, text in enumerate(
        (json.dumps(content), json.dumps(content, indent=4), json.dumps(dict(reversed(content.items())), indent=1))
    ):
        path = tmp_path / f"{number}.json"
        path.write_text(text)
        assert Place(path).read() == record
        path.write_text(text, encoding="utf-16")
        assert isinstance(Place(path).read(), RunRecord)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"[" * 100_000, "sane size"),
        (b'{"seed": ' + b"1" * 10_000 + b"}", "sane size"),
        (b'{"seed": 1', "not complete JSON"),
        (b'{"a": "\xe9"}', "not UTF-8"),
        (b"[]", "a JSON object is expected"),
    ],
)
def test_a_file_that_is_no_sane_json_is_told(content: bytes, problem: str, tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=problem):
        parse_json(content, tmp_path / "one.json", "a record", "none")

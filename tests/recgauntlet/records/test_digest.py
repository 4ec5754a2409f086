"""Files with a digest: every change of the content is noticed, and bad or hostile files end in one clear error."""

from __future__ import annotations

import json
import lzma
from collections.abc import Callable
from pathlib import Path

import pytest
from synthetic_records import make_record

from recgauntlet.core.errors import RecordError
from recgauntlet.records.digest import compress, decompress, parse_json, to_bytes
from recgauntlet.records.io import read_record, write_record

SMALL = {"pairs": 2, "impressions": 3, "threats": {"stuffing": (0.6, 0.5, 0.4)}}
WHERE = Path("some.xz")


def sealed(**options: object) -> bytes:
    return to_bytes(make_record(**{**SMALL, **options}))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "words",
    ['a "quote": here', "é and \u202e", "back\\slash", "  blanks  ", "line\nbreak", ""],
)
def test_a_record_is_read_whatever_text_it_has_and_refused_once_changed(words: str, tmp_path: Path) -> None:
    record = make_record(**SMALL, hyperparameters={"words": words, words or "none": 1.0})  # type: ignore[arg-type]
    write_record(record, tmp_path / "one.json")
    assert read_record(tmp_path / "one.json") == record
    spoiled = (tmp_path / "one.json").read_bytes().replace(b'"seed": 0', b'"seed": 1')
    (tmp_path / "one.json").write_bytes(spoiled)
    with pytest.raises(RecordError, match="digest does not match"):
        read_record(tmp_path / "one.json")


def test_another_layout_is_read_too(tmp_path: Path) -> None:
    record = make_record(**SMALL)  # type: ignore[arg-type]
    content = json.loads(to_bytes(record))
    for number, text in enumerate(
        (json.dumps(content), json.dumps(content, indent=4), json.dumps(dict(reversed(content.items())), indent=1))
    ):
        path = tmp_path / f"{number}.json"
        path.write_text(text)
        assert read_record(path) == record
        path.write_text(text, encoding="utf-16")
        assert read_record(path) == record


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"[" * 100_000, "a nesting that no record has"),
        (b'{"seed": ' + b"1" * 10_000 + b"}", "a number or a nesting"),
        (b'{"seed": 1', "not complete JSON"),
        (b'{"a": "\xe9"}', "not UTF-8"),
        (b"[]", "a JSON object is expected"),
    ],
)
def test_a_file_that_is_no_json_object_is_refused(content: bytes, problem: str, tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=problem):
        parse_json(content, tmp_path / "one.json", "a record", "none")


@pytest.mark.parametrize("content", [b"", b"x", b"abc" * 5000])
def test_what_is_compressed_comes_out_as_it_was_and_its_bytes_are_always_the_same(content: bytes) -> None:
    assert decompress(compress(content), WHERE) == content
    assert lzma.decompress(compress(content)) == content
    assert compress(content) == compress(content)


def test_a_small_file_that_expands_to_much_is_refused() -> None:
    with pytest.raises(RecordError, match=r"some\.xz: has more than 1,000 bytes after decompression"):
        decompress(compress(bytes(100_000)), WHERE, limit=1000)
    assert len(decompress(compress(bytes(1000)), WHERE, limit=1000)) == 1000


@pytest.mark.parametrize("spoil", [lambda b: b[:-3], lambda b: b + b"more", lambda b: b"no" + b, lambda b: b""])
def test_a_truncated_prolonged_or_foreign_file_is_refused(spoil: Callable[[bytes], bytes]) -> None:
    with pytest.raises(RecordError, match=r"some\.xz: (cannot be decompressed|is truncated)"):
        decompress(spoil(compress(b"abc" * 500)), WHERE)


def test_a_file_that_asks_for_much_memory_to_be_decompressed_is_refused() -> None:
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 6, "dict_size": 1 << 28}]
    with pytest.raises(RecordError, match="cannot be decompressed"):
        decompress(lzma.compress(b"abc", filters=filters), WHERE)

"""Unfolding within limits: what is cut off, foreign, or much larger than it looks ends in one clear error."""

from __future__ import annotations

import lzma
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from recgauntlet.core.errors import RecordError
from recgauntlet.records.digest import load_json
from recgauntlet.records.squeezed import deflated, inflated, squeezed, unsqueezed

WHERE = Path("some.xz")
WAYS = [(squeezed, unsqueezed), (deflated, inflated)]
Fold = Callable[[bytes], bytes]


@pytest.mark.parametrize(("fold", "unfold"), WAYS)
@pytest.mark.parametrize("content", [b"", b"x", b"abc" * 5000])
def test_what_is_folded_unfolds_and_the_bytes_are_always_the_same(fold: Fold, unfold: Fold, content: bytes) -> None:
    assert unfold(fold(content), WHERE) == content  # type: ignore[call-arg]
    assert fold(content) == fold(content)


@pytest.mark.parametrize(("fold", "unfold"), WAYS)
def test_a_small_file_that_unfolds_to_much_is_refused(fold: Fold, unfold: Fold) -> None:
    with pytest.raises(RecordError, match=r"some\.xz: unfolds to more than 1,000 bytes"):
        unfold(fold(bytes(100_000)), WHERE, limit=1000)  # type: ignore[call-arg]
    assert len(unfold(fold(bytes(1000)), WHERE, limit=1000)) == 1000  # type: ignore[call-arg]


@pytest.mark.parametrize(("fold", "unfold"), WAYS)
@pytest.mark.parametrize("spoil", [lambda b: b[:-3], lambda b: b + b"more", lambda b: b"no" + b, lambda b: b""])
def test_a_file_that_is_cut_off_prolonged_or_foreign_is_told(
    fold: Fold, unfold: Fold, spoil: Callable[[bytes], bytes]
) -> None:
    with pytest.raises(RecordError, match=r"some\.xz: (cannot be unfolded|is cut off)"):
        unfold(spoil(fold(b"abc" * 500)), WHERE)  # type: ignore[call-arg]


def test_a_file_that_asks_for_much_memory_to_be_unfolded_is_refused() -> None:
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 6, "dict_size": 1 << 28}]
    with pytest.raises(RecordError, match="cannot be unfolded"):
        unsqueezed(lzma.compress(b"abc", filters=filters), WHERE)


def test_a_squeezed_json_file_is_read_like_any_other(tmp_path: Path) -> None:
    path = tmp_path / "one.json.xz"
    path.write_bytes(squeezed(b'{"a": 1}'))
    assert load_json(path, "a thing", "mend it") == {"a": 1}
    path.write_bytes(squeezed(b'{"a": '))
    with pytest.raises(RecordError, match="not complete JSON"):
        load_json(path, "a thing", "mend it")
    path.write_bytes(zlib.compress(bytes(99), 0))
    with pytest.raises(RecordError, match="cannot be unfolded"):
        load_json(path, "a thing", "mend it")

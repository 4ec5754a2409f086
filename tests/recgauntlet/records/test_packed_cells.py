"""Packed cells on disk: read one by one or all together, and never without their words."""

from __future__ import annotations

import json
import lzma
import zlib
from pathlib import Path

import pytest
from made_releases import small

from recgauntlet.core.errors import RecordError
from recgauntlet.records.io import read_record, read_records
from recgauntlet.records.packed_cells import WORDS, packed_cells
from recgauntlet.records.packing import as_released
from recgauntlet.records.schema import RunRecord
from recgauntlet.records.squeezed import squeezed


@pytest.fixture
def cells(tmp_path: Path) -> dict[Path, RunRecord]:
    found = {f"cell-{n}.cell": as_released(record) for n, record in enumerate(small(further=True))}
    for name, content in packed_cells(found).items():
        (tmp_path / name).write_bytes(content)
    return {tmp_path / name: record for name, record in found.items()}


def test_a_cell_is_read_like_a_record(cells: dict[Path, RunRecord]) -> None:
    for path, record in cells.items():
        assert read_record(path) == record


def test_a_directory_of_cells_needs_no_manifest(cells: dict[Path, RunRecord], tmp_path: Path) -> None:
    found = read_records(tmp_path)
    assert dict(found.records) == cells
    assert found.broken == ()


def test_the_format_can_be_read_without_recgauntlet(cells: dict[Path, RunRecord], tmp_path: Path) -> None:
    lines = [json.loads(line) for line in lzma.decompress((tmp_path / WORDS).read_bytes()).splitlines()]
    assert [line["file"] for line in lines] == [path.name for path in cells]
    record = cells[tmp_path / "cell-0.cell"]
    assert record.clean is not None
    columns = zlib.decompress((tmp_path / "cell-0.cell").read_bytes())
    labels = lines[0]["record"]["clean"]["impression_labels"]
    assert labels == {"data": None, "kind": "bits", "n": record.clean.impression_labels.n}
    assert columns[: (labels["n"] + 7) // 8] == record.clean.impression_labels.raw()


def test_a_cell_without_words_is_broken(cells: dict[Path, RunRecord], tmp_path: Path) -> None:
    next(iter(cells)).rename(tmp_path / "stray.cell")
    found = read_records(tmp_path)
    assert [path.name for path, _ in found.broken] == ["stray.cell"]
    assert "has no words" in str(found.broken[0][1])
    (tmp_path / WORDS).unlink()
    assert len(read_records(tmp_path).broken) == 3


def test_a_cell_whose_columns_were_exchanged_does_not_fit_its_digest(
    cells: dict[Path, RunRecord], tmp_path: Path
) -> None:
    first, second, _ = cells
    columns = bytearray(zlib.decompress(first.read_bytes()))
    columns[200] ^= 1
    first.write_bytes(zlib.compress(bytes(columns)))
    with pytest.raises(RecordError, match="digest does not match"):
        read_record(first)
    assert read_record(second) == cells[second]


@pytest.mark.parametrize("lines", [b"no json\n", b'{"file":"../x.cell","record":{}}\n'])
def test_words_that_are_none_are_told_with_their_line(
    cells: dict[Path, RunRecord], tmp_path: Path, lines: bytes
) -> None:
    (tmp_path / WORDS).write_bytes(squeezed(lines))
    with pytest.raises(RecordError, match="line 1"):
        read_record(next(iter(cells)))

from __future__ import annotations

import base64
import errno
import json
import os
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from synthetic_records import make_record as synthetic_record

from recgauntlet.core.errors import OutputError, RecordError
from recgauntlet.core.files import write_atomically
from recgauntlet.records.columns import BitColumn, FloatColumn
from recgauntlet.records.digest import digest_of
from recgauntlet.records.io import read_record, write_record
from recgauntlet.records.references import PluginRef
from recgauntlet.records.schema import Gate, RunRecord
from recgauntlet.training.defense import find_defense


def make_record(gate_value: float = 0.25) -> RunRecord:
    gate = Gate(name="g", threat="", passed=False, value=gate_value, limit=0.0, explanation="e")
    return synthetic_record(pairs=2, impressions=3, threats={"stuffing": (0.6, 0.5, 0.4)}, gates=(gate,))


def written(place: Path) -> Path:
    path = place / "cell.json"
    write_record(make_record(), path)
    return path


def changed(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    content = json.loads(path.read_text(encoding="utf-8"))
    change(content)
    path.write_text(json.dumps(content), encoding="utf-8")


@pytest.mark.parametrize("value", [0.25, float("inf"), -0.0, 1e-300])
def test_a_record_is_read_as_it_was_written(tmp_path: Path, value: float) -> None:
    record = make_record(value)
    write_record(record, tmp_path / "cell.json")
    assert read_record(tmp_path / "cell.json") == record.sealed()


def test_columns_unfold_to_what_was_packed() -> None:
    bits = np.arange(19) % 3 == 0
    assert (BitColumn.of(bits).to_bool() == bits).all()
    floats = np.array([0.0, -1.5, 1e9, -1e9, np.nan])
    unfolded = FloatColumn.of(floats).to_float()
    assert unfolded[:2].tolist() == [0.0, -1.5]
    assert unfolded[2:4].tolist() == [65504.0, -65504.0]
    assert np.isnan(unfolded[4])


@pytest.mark.parametrize("kept", [0, 1, 100, -3])
def test_a_truncated_record_is_named(tmp_path: Path, kept: int) -> None:
    path = written(tmp_path)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(RecordError, match="not complete JSON") as caught:
        read_record(path)
    assert caught.value.where == str(path)
    assert "run the cell again" in caught.value.remedy


def _seed(content: dict[str, Any]) -> None:
    content["seed"] = 7


def _column(content: dict[str, Any]) -> None:
    content["clean"]["scores"] = FloatColumn.of(np.array([9.0, 9.0, 9.0])).model_dump()


@pytest.mark.parametrize("edit", [_seed, _column])
def test_an_edited_record_is_refused(tmp_path: Path, edit: Callable[[dict[str, Any]], None]) -> None:
    path = written(tmp_path)
    changed(path, edit)
    with pytest.raises(RecordError) as caught:
        read_record(path)
    assert caught.value.field == "digest"


@pytest.mark.parametrize("version", [0, 3, "1", None])
def test_another_schema_version_is_refused(tmp_path: Path, version: object) -> None:
    path = written(tmp_path)
    changed(path, lambda content: content.update(schema_version=version))
    with pytest.raises(RecordError) as caught:
        read_record(path)
    assert caught.value.field == "schema_version"
    assert repr(version) in str(caught.value)


def test_unknown_and_missing_fields_are_named(tmp_path: Path) -> None:
    path = written(tmp_path)
    changed(path, lambda content: content.update(novelty=1))
    with pytest.raises(RecordError, match="novelty"):
        read_record(path)
    path = written(tmp_path)
    changed(path, lambda content: content["task"].pop("track"))
    with pytest.raises(RecordError) as caught:
        read_record(path)
    assert caught.value.field == "task.track"


def test_a_record_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="cannot be read"):
        read_record(tmp_path / "none.json")


def test_a_column_cannot_blow_up_its_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = base64.b64encode(zlib.compress(b"\0" * 10_000_000, 9)).decode()
    sizes: list[int] = []
    make = zlib.decompressobj

    class Watched:
        def decompress(self, data: bytes, limit: int) -> bytes:
            out = make().decompress(data, limit)
            sizes.append(len(out))
            return out

    monkeypatch.setattr(zlib, "decompressobj", Watched)
    with pytest.raises(RecordError, match="does not hold 8 values"):
        BitColumn(kind="bits", n=8, data=bomb).to_bool()
    assert sizes == [2]


@pytest.mark.parametrize("data", ["!!!", base64.b64encode(b"no zlib").decode(), BitColumn.of(np.ones(3, bool)).data])
def test_a_broken_column_is_refused(data: str) -> None:
    with pytest.raises(RecordError):
        BitColumn(kind="bits", n=20, data=data).to_bool()


@pytest.mark.parametrize(
    ("field", "column"), [("scores", BitColumn.of(np.ones(4, bool))), ("labels", FloatColumn.of(np.ones(4)))]
)
def test_a_column_of_another_kind_is_refused_by_the_schema(tmp_path: Path, field: str, column: Any) -> None:
    path = written(tmp_path)
    changed(path, lambda content: content["clean"].update({field: column.model_dump()}))
    with pytest.raises(RecordError, match=f"clean.{field}.kind: Input should be"):
        read_record(path)


def test_a_full_disk_leaves_the_old_file_and_no_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "cell.json"
    write_atomically(path, b"old")

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="No space left") as caught:
        write_atomically(path, b"new")
    assert "--out" in caught.value.remedy
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_an_interrupt_leaves_no_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(handle: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(tmp_path / "cell.json", b"new")
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    path = tmp_path / "file" / "cell.json"
    with pytest.raises(OutputError) as caught:
        write_record(make_record(), path)
    assert caught.value.where == str(path)


def test_a_record_carries_what_its_plugins_say_of_themselves(tmp_path: Path) -> None:
    described = PluginRef.of(find_defense("pgd"), {"steps": 2})
    assert described.summary.startswith("PGD adversarial training: ")
    assert "\n" not in described.summary
    assert described.citation.startswith("@")
    assert described.citation == find_defense("pgd").value.citation.strip()
    plain = PluginRef.model_validate(described.key.model_dump())
    assert (plain.summary, plain.citation, plain.key) == ("", "", described.key)
    write_record(make_record().model_copy(update={"defense": described}), tmp_path / "one.json")
    assert read_record(tmp_path / "one.json").defense == described


def test_a_record_without_descriptions_and_sources_keeps_the_digest_from_before_there_were_any(tmp_path: Path) -> None:
    write_record(make_record(), tmp_path / "one.json")
    content = json.loads((tmp_path / "one.json").read_text())
    assert set(content["model"]) == {"name", "distribution", "version", "hyperparameters"}
    assert content["digest"] == digest_of(content)

"""A record split in two for a frozen release: its words as JSON, its columns as bytes that squeeze well.

The words are the record's own JSON, fields sorted by name, without spaces, in which every column that is not empty has
`"data":null`. The columns follow one another in the order in which they stand there: bits as they are, half floats as
all their high bytes and then all their low bytes, since the high ones repeat and the low ones do not. The scores of a
ranking under attack are stored as their bits XOR those of the clean scores of the same candidates: most did not change.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ValidationError

from recgauntlet.core.errors import RecordError
from recgauntlet.core.types import IntArray
from recgauntlet.records.columns import Packed
from recgauntlet.records.digest import digest_of, to_bytes
from recgauntlet.records.indented import laid_out
from recgauntlet.records.schema import Clean, RankingOutcome, RunRecord, ThreatOutcome

Bytes = npt.NDArray[np.uint8]
Read = TypeVar("Read", bound=BaseModel)
REMEDY = "restore the release from where it was published"
_EMPTY = Packed.floats(np.zeros(0))
_COLUMN = re.compile(rb'"data":null(?=,"kind":"(bits|f2)","n":(\d{1,8})\})')
"""No text of a record looks like that: a quotation mark within a text has a backslash in front of it."""


def as_released(record: RunRecord, *, attack_scores: bool = False) -> RunRecord:
    """The record as a release holds it: sealed anew, its columns written so that any zlib writes them alike.

    No number that is computed from a record changes. Unless `attack_scores` is set, the columns
    `threats[].tiers[].attacks[].scores` are emptied: they are more than half of a record, and no table or page is
    computed from them (`attacked`, `broken` and `robust` say what fell).
    """

    def column(one: Packed) -> dict[str, Any]:
        return {"kind": one.kind, "n": one.n, "data": Packed.stored(one.raw()).decode()}

    if not attack_scores:
        record = record.model_copy(update={"threats": tuple(_without_scores(threat) for threat in record.threats)})
    content = _plain(record, column)
    content["digest"] = digest_of(content)
    return RunRecord.model_validate(content)


def pack(record: RunRecord) -> tuple[bytes, bytes]:
    """The words of a record that `as_released` made, and its columns. The same record gives the same bytes.

    Raises
    ------
    RecordError
        Where `unpack` would not make the same record of them: an option of a plugin looks like a column.
    """
    columns: list[Packed] = []

    def taken(one: Packed) -> dict[str, Any]:
        if one.n == 0:
            return one.model_dump(mode="json")
        columns.append(one)
        return {"kind": one.kind, "n": one.n, "data": None}

    words = json.dumps(_plain(record, taken), sort_keys=True, separators=(",", ":")).encode()
    bases = _bases(record, {})
    raws = [np.frombuffer(one.raw(), dtype=np.uint8) for one in columns]
    raws = [raw if (base := bases.get(id(one))) is None else raw ^ base for one, raw in zip(columns, raws, strict=True)]
    parts = [_halved(raw) if one.kind == "f2" else raw for one, raw in zip(columns, raws, strict=True)]
    packed = words, b"".join(part.tobytes() for part in parts)
    if to_bytes(unpack(*packed)) != to_bytes(record):
        raise RecordError(
            "cannot be packed: it would not come out as it went in",
            field="hyperparameters",
            remedy="rename a plugin's options if they are data, kind and n, which make a column of a record",
        )
    return packed


def unpack(words: bytes, columns: bytes) -> RunRecord:
    """The record, checked against the schema; neither its digest nor its columns against each other.

    Raises
    ------
    RecordError
        Where the words are no record, or do not go with the columns.
    """
    line, floats = _on_one_line(words, columns)
    record = _validated(RunRecord, line)
    bases = _bases(record, floats)
    if not bases:
        return record
    return record.model_copy(update={"ranking": tuple(_changed_by(bases, one, floats) for one in record.ranking)})


def unpacked_file(words: bytes, columns: bytes) -> bytes:
    """The file of the record, as `to_bytes` makes it; RecordError as `unpack`.

    The words are that file on one line. The scores of a ranking are found in it by what they are while they are packed,
    and others may be alike; so its digest is looked at, and where that is another the file is made of the record. What
    has that digest needs no schema: nothing but the rankings is read.
    """
    line, floats = _on_one_line(words, columns)
    scored = _validated(_Scored, line)
    bases = _bases(scored, floats)
    before, name, after = line.partition(b',"ranking":[')
    for packed in scored.ranking:
        old, new = (b'"data":"%b"' % one.scores.data.encode() for one in (packed, _changed_by(bases, packed, floats)))
        after = after.replace(old, new, 1)
    line = b"".join((before, name, after))
    body = line.replace(b'"digest":"%b",' % scored.digest.encode(), b"", 1)
    if hashlib.sha256(body).hexdigest() == scored.digest:
        return laid_out(line) + b"\n"
    return to_bytes(unpack(words, columns))


class _Scored(BaseModel):
    """What a record says of its rankings and of their clean scores, and its digest."""

    clean: Clean | None = None
    ranking: tuple[RankingOutcome, ...] = ()
    digest: str = ""


def _on_one_line(words: bytes, columns: bytes) -> tuple[bytes, dict[str, bytes]]:
    """The record's JSON on one line, in which the rankings are still packed, and the bytes of its half floats by their
    data."""
    datas: list[bytes] = []
    known: dict[bytes, bytes] = {}
    floats: dict[str, bytes] = {}
    at = 0
    texts = _COLUMN.split(words)  # a text, a kind, a number, a text, ...
    for kind, digits in zip(texts[1::3], texts[2::3], strict=True):
        size = (int(digits) + 7) // 8 if kind == b"bits" else 2 * int(digits)
        raw = columns[at : at + size]
        at += size
        if kind == b"f2":
            raw = _joined(raw)
        data = known.get(raw)  # many columns of a record are alike: nothing broken, all attacked
        if data is None:
            stored = Packed.stored(raw)
            data = known[raw] = b'"data":"%b"' % stored
            if kind == b"f2":
                floats[stored.decode()] = raw
        datas.append(data)
    if at != len(columns):
        raise _fault("its words and its columns do not go together")
    parts = [b""] * (2 * len(datas) + 1)
    parts[0::2], parts[1::2] = texts[0::3], datas
    return b"".join(parts), floats


def _validated(kind: type[Read], line: bytes) -> Read:
    try:
        return kind.model_validate_json(line)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise _fault(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error


def _without_scores(threat: ThreatOutcome) -> ThreatOutcome:
    tiers = [
        tier.model_copy(update={"attacks": tuple(a.model_copy(update={"scores": _EMPTY}) for a in tier.attacks)})
        for tier in threat.tiers
    ]
    return threat.model_copy(update={"tiers": tuple(tiers)})


def _plain(part: Any, column: Callable[[Packed], dict[str, Any]]) -> Any:
    """`part` as JSON has it, each packed column as `column` makes it, asked in order of the fields' names."""
    if isinstance(part, Packed):
        return column(part)
    if isinstance(part, BaseModel):
        fields = sorted(type(part).model_fields.items())
        found = {name: (getattr(part, name), field.exclude_if) for name, field in fields}
        return {
            name: _plain(value, column)
            for name, (value, left_out) in found.items()
            if not (left_out and left_out(value))
        }
    if isinstance(part, tuple):
        return [_plain(one, column) for one in part]
    return dict(part) if isinstance(part, dict) else part


def _halved(raw: Bytes) -> Bytes:
    """Little-endian half floats: all high bytes, then all low ones."""
    return np.concatenate([raw[1::2], raw[0::2]])


def _joined(halves: bytes) -> bytes:
    """The inverse of `_halved`; nothing for an odd number of bytes, which are the rest of columns that are cut off."""
    if len(halves) % 2:
        return b""
    return np.frombuffer(halves, dtype=np.uint8).reshape(2, -1)[::-1].T.tobytes()


def _bases(record: RunRecord | _Scored, known: Mapping[str, bytes]) -> dict[int, Bytes]:
    """By the identity of each ranking's column the bytes of the clean scores of the same candidates; nothing for one
    whose impressions are not those of the record. `known` has columns that are unfolded already, by their data."""
    clean = record.clean
    if clean is None or not record.ranking or clean.impression_scores.kind != "f2":
        return {}
    scores = np.frombuffer(_raw(clean.impression_scores, known), dtype=np.uint8).reshape(-1, 2)
    try:
        sizes = np.array(clean.impression_sizes, dtype=np.int64)
        chosen = [np.array(outcome.impressions, dtype=np.int64) for outcome in record.ranking]
    except OverflowError:
        return {}
    if ((sizes < 0) | (sizes > len(scores))).any():
        return {}
    ends = np.cumsum(sizes)
    found = {}
    for outcome, numbers in zip(record.ranking, chosen, strict=True):
        rows = _rows(sizes, ends, numbers)
        if outcome.scores.kind == "f2" and len(rows) == outcome.scores.n > 0 and int(rows.max()) < len(scores):
            found[id(outcome.scores)] = scores[rows].ravel()
    return found


def _rows(sizes: IntArray, ends: IntArray, chosen: IntArray) -> IntArray:
    """Where the candidates of the impressions `chosen` stand, impression by impression; none where one is not there, or
    where they are more than there are candidates."""
    if not len(chosen) or int(chosen.min()) < 0 or int(chosen.max()) >= len(sizes):
        return np.zeros(0, dtype=np.int64)
    lengths = sizes[chosen]
    if int(lengths.sum()) > int(ends[-1]):
        return np.zeros(0, dtype=np.int64)
    before = np.cumsum(lengths) - lengths
    return np.repeat(ends[chosen] - lengths - before, lengths) + np.arange(int(lengths.sum()))


def _raw(column: Packed, known: Mapping[str, bytes]) -> bytes:
    raw = known.get(column.data)
    return column.raw() if raw is None or len(raw) != column.size else raw


def _changed_by(bases: Mapping[int, Bytes], outcome: RankingOutcome, known: Mapping[str, bytes]) -> RankingOutcome:
    base = bases.get(id(outcome.scores))
    if base is None:
        return outcome
    raw = np.frombuffer(_raw(outcome.scores, known), dtype=np.uint8) ^ base
    column = outcome.scores.model_copy(update={"data": Packed.stored(raw.tobytes()).decode()})
    return outcome.model_copy(update={"scores": column})


def _fault(problem: str) -> RecordError:
    return RecordError(f"cannot be unpacked: {problem}", remedy=REMEDY)

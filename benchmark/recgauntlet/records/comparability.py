"""Which results can be compared: the setting in which they were measured, and how two settings differ."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from recgauntlet.core.card import Track
from recgauntlet.core.types import BoolArray
from recgauntlet.records.columns import BitColumn
from recgauntlet.records.references import SuiteRef
from recgauntlet.records.schema import Clean, RunRecord


@dataclass(frozen=True)
class EvaluationSetting:
    """What a number was measured on: the task's version and track, the hashes of its card, its data and its test
    examples, and the attack suite. Two numbers may be compared if their settings are equal; a record of the first test
    pairs has the setting of one of all, and is compared on the pairs that both have.

    `data_fingerprint` and `examples_fingerprint` are empty where a cell failed before they were known.
    """

    task: str
    version: int
    track: Track
    fingerprint: str
    data_fingerprint: str
    suite: SuiteRef
    examples_fingerprint: str
    simulated: bool
    redistributable: bool

    @classmethod
    def of(cls, record: RunRecord) -> EvaluationSetting:
        """The setting of a record."""
        task = dict(record.task)
        del task["card"]  # its fingerprint is compared
        if record.first_pairs is not None:
            examples = record.first_pairs.examples
        else:
            examples = "" if record.clean is None else _examples(record.clean)
        return cls(task=task.pop("id"), suite=record.suite, examples_fingerprint=examples, **task)

    def unlike(self, other: EvaluationSetting) -> tuple[str, ...]:
        """Every difference in what is known of both, one sentence part each; empty where they can be compared."""
        differences = []
        if self.task != other.task:
            differences.append(f"another task ({self.task} and {other.task})")
        if self.track != other.track:
            differences.append(f"another track ({self.track} and {other.track})")
        if self.version != other.version:
            differences.append(f"another version of the task ({self.version} and {other.version})")
        if self.fingerprint != other.fingerprint:
            differences.append(f"another task card (fingerprints {_two(self.fingerprint, other.fingerprint)})")
        data = (self.data_fingerprint, other.data_fingerprint)
        if all(data) and data[0] != data[1]:
            differences.append(f"other data (fingerprints {_two(*data)})")
        if (self.simulated, self.redistributable) != (other.simulated, other.redistributable):
            differences.append("other data (simulated or not, redistributable or not)")
        if self.suite != other.suite:
            differences.append(f"another attack suite ({_suites(self.suite, other.suite)})")
        examples = (self.examples_fingerprint, other.examples_fingerprint)
        if all(examples) and examples[0] != examples[1]:
            differences.append(f"other test examples (hashes {_two(*examples)})")
        return tuple(differences)


def _two(first: str, second: str) -> str:
    return f"{first[:12] or 'none'} and {second[:12] or 'none'}"


def _suites(first: SuiteRef, second: SuiteRef) -> str:
    names = f"{first.id} {first.version}", f"{second.id} {second.version}"
    hashes = f"fingerprints {_two(first.fingerprint, second.fingerprint)}"
    return f"{names[0]} and {names[1]}, {hashes}" if names[0] != names[1] else f"{names[0]} with {hashes}"


def _examples(clean: Clean) -> str:
    """A hash of what was scored: rows over different examples are never compared."""
    columns = (clean.labels.model_dump_json(), clean.impression_labels.model_dump_json())
    popular = "" if clean.popular is None else clean.popular.labels.model_dump_json()
    return _hash_of(*columns, clean.impression_sizes, clean.impression_users, popular)


@lru_cache(maxsize=16)
def _hash_of(labels: str, shown: str, sizes: tuple[int, ...], users: tuple[int, ...], popular: str) -> str:
    """Of columns as JSON; the same for all records of a table."""
    bits = [BitColumn.model_validate_json(column).to_bool() for column in (labels, shown, popular) if column]
    return hash_of_examples(bits[0], bits[1], sizes, users, *bits[2:])


def hash_of_examples(
    labels: BoolArray, shown: BoolArray, sizes: Sequence[int], users: Sequence[int], popular: BoolArray | None = None
) -> str:
    """The `examples_fingerprint`: of the labels of the test pairs, the labels, sizes and users of the impressions, and
    the labels of popular candidates where there are any."""
    parts = [labels.tobytes(), shown.tobytes(), json.dumps((sizes, users), sort_keys=True).encode()]
    if popular is not None:
        parts.append(popular.tobytes())
    return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()

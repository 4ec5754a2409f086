from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from recgauntlet.core.dataset import INTERACTIONS, ITEMS, Tables
from recgauntlet.data.cleaning import table_of
from recgauntlet.data.fingerprint import fingerprint


@pytest.mark.parametrize("table", ["items", "interactions", "impressions"])
def test_the_order_does_not_matter_for_any_table(toys: Tables, shows: Tables, table: str) -> None:
    tables = shows if table == "impressions" else toys
    before = fingerprint(tables)
    order = np.random.default_rng(3).permutation(getattr(tables, table).num_rows)
    shuffled = {**vars(tables), table: getattr(tables, table).take(pa.array(order))}
    assert fingerprint(Tables(**shuffled)) == before


def test_how_a_column_is_stored_does_not_matter(toys: Tables) -> None:
    pieces = pa.concat_tables([toys.items.slice(0, 7), toys.items.slice(7)])
    assert fingerprint(Tables(pieces, toys.interactions)) == fingerprint(toys)


def test_a_changed_cell_changes_the_fingerprint_of_its_table_alone(toys: Tables) -> None:
    rows = [tuple(row.values()) for row in toys.items.to_pylist()]
    rows[5] = (*rows[5][:1], "another text", *rows[5][2:])
    before, after = fingerprint(toys), fingerprint(Tables(table_of(rows, ITEMS), toys.interactions))
    assert before.sha256 != after.sha256
    assert before.tables["items"] != after.tables["items"]
    assert before.tables["interactions"] == after.tables["interactions"]


def test_a_field_that_moves_over_its_border_changes_the_fingerprint() -> None:
    interactions = table_of([("u", "i", 1)], INTERACTIONS)
    first, second = (
        fingerprint(Tables(table_of([row], ITEMS), interactions)).sha256 for row in (("a", "bc", ""), ("ab", "c", ""))
    )
    assert first != second

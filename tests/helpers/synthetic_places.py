"""Records with places of clicks among all items."""

from __future__ import annotations

from recgauntlet.records.schema import CatalogRanks, RunRecord


def with_places(record: RunRecord, **changes: tuple[int, ...]) -> RunRecord:
    """The record with two lists: the click is first of 100 items, and twentieth."""
    assert record.clean is not None
    places = {"above": (0, 19), "tied": (0, 0), "others": (99, 99)} | changes
    clean = record.clean.model_copy(update={"catalog": CatalogRanks(**places)})
    return record.model_copy(update={"clean": clean, "digest": ""})

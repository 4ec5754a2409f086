from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa
import pytest

from recgauntlet.core.dataset import IMPRESSIONS, INTERACTIONS, ITEMS, Tables
from recgauntlet.core.errors import DataError
from recgauntlet.data.cleaning import table_of
from recgauntlet.data.fingerprint import fingerprint
from recgauntlet.data.validate import validate

GOOD = [("a", "first toy", ""), ("b", "second toy", "")]
TAKES = [("u", "a", 1), ("u", "b", 2)]
SHOWN = [("1", "u", 1, ["a"], ["b", "a"], [True, False])]


def taken(items: list[tuple[str, str, str]] | None = None, takes: list[tuple[str, str, int]] | None = None) -> Tables:
    return Tables(table_of(items or GOOD, ITEMS), interactions=table_of(takes or TAKES, INTERACTIONS))


def shown(*rows: tuple[object, ...]) -> Tables:
    return Tables(table_of(GOOD, ITEMS), impressions=table_of(rows, IMPRESSIONS))


FAULTS: dict[str, tuple[Callable[[], Tables], str, str]] = {
    "duplicate ids": (lambda: taken([*GOOD, ("a", "again", "")]), "items] id", "more than once (a)"),
    "an empty id": (lambda: taken([*GOOD, ("", "nameless", "")]), "items] id", "empty in 1 rows"),
    "an empty text": (lambda: taken([*GOOD, ("c", " ", "")]), "items] text", "empty text (c)"),
    "an empty user": (lambda: taken(takes=[*TAKES, ("", "a", 1)]), "interactions] user", "empty in 1 rows"),
    "an unknown item": (lambda: taken(takes=[*TAKES, ("u", "z", 3)]), "interactions] item", "(z)"),
    "a user without history": (lambda: taken(takes=[*TAKES, ("v", "a", 3)]), "interactions] user", "without history"),
    "one item taken twice": (
        lambda: taken(takes=[*TAKES, ("v", "a", 3), ("v", "a", 4)]),
        "interactions] user",
        "without history",
    ),
    "milliseconds": (lambda: taken(takes=[*TAKES, ("u", "a", 10**13)]), "interactions] time", "1970 to 2100"),
    "a negative time": (lambda: taken(takes=[*TAKES, ("u", "a", -5)]), "interactions] time", "1970 to 2100"),
    "no rows": (lambda: Tables(table_of(GOOD, ITEMS), table_of([], INTERACTIONS)), "interactions]", "no rows"),
    "no second table": (lambda: Tables(table_of(GOOD, ITEMS)), "toys", "neither or both"),
    "both second tables": (
        lambda: Tables(table_of(GOOD, ITEMS), table_of(TAKES, INTERACTIONS), table_of(SHOWN, IMPRESSIONS)),
        "toys",
        "neither or both",
    ),
    "a missing column": (
        lambda: Tables(table_of(GOOD, ITEMS).drop_columns("text"), table_of(TAKES, INTERACTIONS)),
        "items] text",
        "missing",
    ),
    "a column of another type": (
        lambda: Tables(table_of(GOOD, ITEMS), table_of(TAKES, INTERACTIONS).set_column(2, "time", [["1", "2"]])),
        "interactions] time",
        "int64 is expected",
    ),
    "a null": (
        lambda: Tables(
            table_of(GOOD, ITEMS),
            table_of(TAKES, INTERACTIONS).set_column(0, "user", pa.array(["u", None], pa.string())),
        ),
        "interactions] user",
        "empty in 1 rows",
    ),
    "duplicate impressions": (lambda: shown(*SHOWN, *SHOWN), "impressions] impression", "more than once (1)"),
    "an impression without history": (
        lambda: shown(*SHOWN, ("2", "u", 1, [], ["b"], [True])),
        "impressions] history",
        "without history (2)",
    ),
    "marks that do not fit": (
        lambda: shown(*SHOWN, ("2", "u", 1, ["a"], ["b"], [True, False])),
        "impressions] clicked",
        "(2)",
    ),
    "an unknown item shown": (lambda: shown(("1", "u", 1, ["a"], ["z"], [True])), "impressions] shown", "(z)"),
    "an unknown item in a history": (lambda: shown(("1", "u", 1, ["z"], ["a"], [True])), "impressions] history", "(z)"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_broken_rule_names_table_column_and_id(name: str) -> None:
    make, place, problem = FAULTS[name]
    with pytest.raises(DataError) as caught:
        validate(make(), "toys")
    message = str(caught.value).replace(": ", " ")
    assert place in message
    assert problem in message
    assert caught.value.remedy
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("tables", [taken(), shown(*SHOWN)], ids=["interactions", "impressions"])
def test_good_tables_pass_and_stay_as_they_were(tables: Tables) -> None:
    before = fingerprint(tables)
    validate(tables, "toys")
    assert fingerprint(tables) == before


def test_many_ids_at_fault_are_cut_to_three() -> None:
    with pytest.raises(DataError, match=r"5 items .*\(p, q, r, \.\.\.\)"):
        validate(taken(takes=[*TAKES, *(("u", item, 3) for item in "pqrst")]), "toys")

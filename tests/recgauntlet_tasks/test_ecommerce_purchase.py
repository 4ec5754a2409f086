from __future__ import annotations

import csv
import io
import zipfile
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from openpyxl import Workbook

from recgauntlet.core.errors import DataError
from recgauntlet.core.task import SourceOptions
from recgauntlet.data.fingerprint import fingerprint
from recgauntlet.data.validate import validate
from recgauntlet_tasks import ecommerce_purchase, online_retail
from recgauntlet_tasks.ecommerce_purchase import task

COLUMNS = ["InvoiceNo", "StockCode", "Description", "Quantity", "InvoiceDate", "UnitPrice", "CustomerID", "Country"]
MORNING = datetime(2011, 3, 1, 8, 26)


def lines() -> list[tuple[Any, ...]]:
    """Six customers who each bought six products, and lines that the rules must leave out."""
    rows: list[tuple[Any, ...]] = []
    for customer in range(6):
        for product in range(6):
            description = f"RED  TIN {product} " if customer else f"A TIN {product}"
            when = MORNING.replace(day=1 + product)
            rows.append(
                (str(536365 + customer), f"2{product:04}", description, 3.0, when, 1.5, 17850.0 + customer, "UK")
            )
    # Each of these would show in the tables: as an earlier time, or as a customer or product that the core keeps.
    before = MORNING.replace(month=2)
    rows += [
        ("C536400", "20001", "RED TIN 1", 1.0, before, 1.5, 17850.0, "UK"),
        ("536401", "20002", "RED TIN 2", -2.0, before, 1.5, 17850.0, "UK"),
        ("536403", "20003", None, 1.0, before, 0.0, 17850.0, "UK"),
        ("536404", "85123A", "RARE HEART", 1.0, MORNING, 1.5, 17850.0, "UK"),
        ("536405", "20000", "RED TIN 0", 1.0, MORNING.replace(day=28), 1.5, 17850.0, "UK"),
    ]
    rows += [("536402", "POST", "POSTAGE", 1.0, MORNING, 18.0, 17850.0 + customer, "UK") for customer in range(6)]
    rows += [("536406", f"2{product:04}", "RED TIN", 1.0, MORNING, 1.5, None, "UK") for product in range(6)]
    return rows


def as_parquet(path: Path) -> None:
    columns = dict(zip(COLUMNS, map(list, zip(*lines(), strict=True)), strict=True))
    types = {"InvoiceDate": pa.timestamp("us"), "Quantity": pa.float64(), "CustomerID": pa.float64()}
    pq.write_table(pa.table({name: pa.array(values, types.get(name)) for name, values in columns.items()}), path)


def as_sheet(path: Path) -> None:
    """As the official spreadsheet: numbers where a code or a customer looks like one."""
    book = Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.append(COLUMNS)
    for row in lines():
        sheet.append([int(cell) if isinstance(cell, str) and cell.isdecimal() else cell for cell in row])
    book.save(path)


def as_csv(path: Path) -> None:
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(COLUMNS)
    for invoice, code, text, quantity, when, price, customer, country in lines():
        moment = f"{when.month}/{when.day}/{when.year} {when.hour}:{when.minute:02}"
        writer.writerow(
            [invoice, code, text, int(quantity), moment, price, "" if customer is None else int(customer), country]
        )
    path.write_bytes(out.getvalue().replace("RARE", "RAR\u00c9").encode("latin-1"))


WRITERS = {"online_retail.parquet": as_parquet, "Online Retail.xlsx": as_sheet, "data.csv": as_csv}


@pytest.mark.parametrize("name", WRITERS)
def test_spreadsheet_csv_and_parquet_give_one_table(here: SourceOptions, files: Path, name: str) -> None:
    WRITERS[name](files / name)
    tables = task.load(task.card, "standard", here)
    validate(tables, "shop")
    assert {row["id"]: row["text"] for row in tables.items.to_pylist()} == {
        f"2{n:04}": f"RED TIN {n}" for n in range(6)
    }
    assert tables.interactions is not None
    rows = {(row["user"], row["item"]): row["time"] for row in tables.interactions.to_pylist()}
    assert set(rows) == {(str(17850 + customer), f"2{n:04}") for customer in range(6) for n in range(6)}
    # 2011-03-01 08:26 UTC and the days after: neither the later repeat nor the lines that are left out count.
    assert [rows["17850", f"2{n:04}"] for n in range(4)] == [1298967960 + n * 86_400 for n in range(4)]


def test_the_archive_holds_the_spreadsheet(here: SourceOptions, files: Path) -> None:
    sheet = files / "Online Retail.xlsx"
    as_sheet(sheet)
    direct = fingerprint(task.load(task.card, "standard", here))
    with zipfile.ZipFile(files / "online+retail.zip", "w") as archive:
        archive.write(sheet, sheet.name)
    sheet.unlink()
    assert fingerprint(task.load(task.card, "standard", here)) == direct


def test_a_copy_in_a_shared_folder_above_is_found(
    here: SourceOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = tmp_path / "above" / "copies" / "online_retail.parquet"
    shared.parent.mkdir(parents=True)
    as_parquet(shared)
    (tmp_path / "above" / "checkout").mkdir()
    monkeypatch.chdir(tmp_path / "above" / "checkout")
    monkeypatch.setattr(online_retail, "SHARED", Path("copies", "online_retail.parquet"))
    assert online_retail.read(SourceOptions(None, here.cache, offline=True)).name == str(shared)


def test_without_a_mirror_every_one_is_named(here: SourceOptions) -> None:
    with pytest.raises(DataError) as caught:
        task.load(task.card, "standard", here)
    for part in ("a directory of yours", "above here", "the UCI archive: not downloaded yet"):
        assert part in str(caught.value)


def test_damaged_and_foreign_files_are_named(here: SourceOptions, files: Path) -> None:
    path = files / "online_retail.parquet"
    as_parquet(path)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(DataError, match="truncated or damaged") as caught:
        task.load(task.card, "standard", here)
    assert caught.value.where == str(path)
    path.unlink()
    (files / "data.csv").write_text("Invoice,StockCode,Description,Quantity,InvoiceDate,Price,Customer ID\n")
    with pytest.raises(DataError, match="Online Retail II") as caught:
        task.load(task.card, "standard", here)
    assert caught.value.field == "InvoiceNo"
    (files / "data.csv").write_text(",".join(COLUMNS) + "\n")
    with pytest.raises(DataError, match="no rows"):
        task.load(task.card, "standard", here)
    (files / "data.csv").write_text(",".join(COLUMNS) + "\n1,20001,TIN,many,3/1/2011 8:26,1,17850,UK\n")
    with pytest.raises(DataError, match="'many' in row 2") as caught:
        task.load(task.card, "standard", here)
    assert caught.value.field == "Quantity"


def journey(households: int = 12) -> dict[str, bytes]:
    """The two members of the wheel, invented."""
    products = {
        "product_id": [30, 10, 20, 40, 50],
        "department": ["GROCERY", "GROCERY", "GROCERY", "FUEL", "GROCERY"],
        "product_category": ["SOUP", "SOUP", "TEA", "FUEL", None],
        "product_type": ["CONDENSED SOUP", "CONDENSED  SOUP", "GREEN TEA", "GASOLINE", None],
        "package_size": ["10 OZ", "10 OZ", None, None, "1 CT"],
    }
    buys = [
        (household, product, 1, datetime(2017, 1, 1 + household, hour))
        for household in range(households)
        for hour, product in enumerate([30, 20, 40, 50, 10])
    ]
    buys.append((0, 20, 0, datetime(2016, 1, 1)))
    names = ("household_id", "product_id", "quantity", "transaction_timestamp")
    transactions = dict(zip(names, map(list, zip(*buys, strict=True)), strict=True))
    out = {}
    for name, columns in {"products": products, "transactions": transactions}.items():
        buffer = io.BytesIO()
        pq.write_table(pa.table(columns), buffer)
        out[ecommerce_purchase.MEMBERS[name]] = buffer.getvalue()
    return out


def put_wheel(files: Path, content: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    path = files / ecommerce_purchase.WHEEL.filename
    with zipfile.ZipFile(path, "w") as wheel:
        for name, data in content.items():
            wheel.writestr(name, data)
    monkeypatch.setattr("recgauntlet.data.download.checked", lambda path, wheel: path)


def test_the_demo_merges_products_of_one_text(
    here: SourceOptions, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_wheel(files, journey(), monkeypatch)
    demo = task.card.track("demo")
    smaller = demo.model_copy(update={"cleaning": {**demo.cleaning, "households": 5, "core_users": 2, "core_items": 2}})
    card = task.card.model_copy(update={"tracks": {**task.card.tracks, "demo": smaller}})
    tables = task.load(card, "demo", here)
    assert tables.items.to_pylist() == [
        {"id": "10", "text": "CONDENSED SOUP 10 OZ", "category": "SOUP"},
        {"id": "20", "text": "GREEN TEA", "category": "TEA"},
    ]
    assert tables.interactions is not None
    rows = tables.interactions.to_pylist()
    assert len({row["user"] for row in rows}) == 5
    assert len(rows) == 10
    assert all(row["time"] >= 1483228800 for row in rows)


def test_a_damaged_member_of_the_wheel_is_named(
    here: SourceOptions, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = journey()
    content[ecommerce_purchase.MEMBERS["products"]] = b"PAR1 is how it begins"
    put_wheel(files, content, monkeypatch)
    with pytest.raises(DataError, match="damaged or of another version") as caught:
        task.load(task.card, "demo", here)
    assert str(caught.value.where).endswith("products.parquet")


def shared_copy() -> Path | None:
    places = (above / online_retail.SHARED for above in Path(__file__).resolve().parents)
    return next((place for place in places if place.is_file()), None)


@pytest.mark.skipif(shared_copy() is None, reason="no copy of Online Retail in a folder shared/ above the checkout")
def test_the_real_file_has_the_fingerprint_on_the_card(tmp_path: Path) -> None:
    copy = shared_copy()
    assert copy is not None
    options = SourceOptions(copy.parent, tmp_path, offline=True)
    found = fingerprint(task.load(task.card, "standard", options))
    assert found.sha256 == task.card.track("standard").fingerprint

"""Load-test or fuzz a running `recgauntlet serve` on this machine.

    recgauntlet serve CHECKPOINT --tripwire --port 8123 &
    python tools/try_service.py load http://127.0.0.1:8123 [--seconds 10] [--connections 8]     needs wrk
    python tools/try_service.py fuzz http://127.0.0.1:8123 [--cases 200] [--st PATH]            needs schemathesis

`load` asks for rankings of 10, 100 and 1,000 candidates and prints requests a second and latencies. `fuzz` runs
schemathesis twice against the service's OpenAPI: as it is, where ids of items are any text and may be refused; and with
the ids of twenty catalog items alone, where whatever fits the schema must be accepted. The exit code is not 0 where it
finds something. schemathesis belongs into an environment of its own: `pip install schemathesis`.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests

from recgauntlet import load_data

SIZES = (10, 100, 1_000)
LOOPBACK = {"127.0.0.1", "localhost", "::1"}


def catalog_ids(url: str) -> tuple[str, ...]:
    """The ids of the catalog that the service at `url` ranks."""
    card = requests.get(f"{url}/card", timeout=10).json()
    return load_data(card["task"], card["track"]).catalog.ids


def load(url: str, seconds: int, connections: int) -> int:
    """Print the figures of `wrk` for each size; 1 where a request was refused."""
    ids, refused = catalog_ids(url), 0
    for size in SIZES:
        body = {"history": ids[:5], "candidates": [{"item": item} for item in ids[:size]]}
        with tempfile.TemporaryDirectory() as place:
            script = Path(place) / "rank.lua"
            lines = ['wrk.method = "POST"', 'wrk.headers["Content-Type"] = "application/json"']
            script.write_text("\n".join([*lines, f"wrk.body = [==[{json.dumps(body)}]==]"]), encoding="utf-8")
            words = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "-s", str(script), f"{url}/rank"]
            said = subprocess.run(words, capture_output=True, text=True, check=True).stdout
        found = dict(re.findall(r"^\s+(50|99)%\s+(\S+)", said, flags=re.MULTILINE))
        rate = re.search(r"^Requests/sec:\s+(\S+)", said, flags=re.MULTILINE)
        errors = re.findall(r"^\s*(Non-2xx.*|Socket errors.*)$", said, flags=re.MULTILINE)
        refused += len(errors)
        print(
            f"{size} candidates: {rate[1] if rate else '?'} requests/s, 50 % {found['50']}, 99 % {found['99']}", *errors
        )
    return min(refused, 1)


def fuzz(url: str, cases: int, st: str) -> int:
    """The number of runs of schemathesis, of two, that found something."""
    schema: dict[str, Any] = requests.get(f"{url}/openapi.json", timeout=10).json()
    with tempfile.TemporaryDirectory() as place:
        as_it_is, known = Path(place) / "as-it-is.json", Path(place) / "known-items.json"
        as_it_is.write_text(json.dumps(schema), encoding="utf-8")
        with_ids(schema, catalog_ids(url)[:20])
        known.write_text(json.dumps(schema), encoding="utf-8")
        shared = ["--url", url, "--max-examples", str(cases), "--phases", "coverage,fuzzing", "--no-color"]
        runs = (
            [str(as_it_is), *shared, "--exclude-checks", "positive_data_acceptance"],
            [str(known), *shared, "--mode", "positive"],
        )
        return sum(subprocess.run([st, "run", *run], check=False).returncode != 0 for run in runs)


def with_ids(part: Any, ids: tuple[str, ...]) -> None:
    """Let every id of an item in the schema be one of `ids`."""
    if isinstance(part, dict):
        if part.get("description") == "The id of a catalog item.":
            part["enum"] = list(ids)
        for inner in part.values():
            with_ids(inner, ids)
    elif isinstance(part, list):
        for inner in part:
            with_ids(inner, ids)


def main() -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["load", "fuzz"])
    parser.add_argument("url")
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--cases", type=int, default=200)
    parser.add_argument("--st", default="st")
    given = parser.parse_args()
    if urlsplit(given.url).hostname not in LOOPBACK:
        parser.error("test a service on this machine: http://127.0.0.1:PORT")
    url = given.url.rstrip("/")
    if given.what == "load":
        return load(url, min(given.seconds, 60), given.connections)
    return fuzz(url, given.cases, given.st)


if __name__ == "__main__":
    sys.exit(main())

"""A results directory of synthetic records with everything on it that a page can have, and the page made of
it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from synthetic_records import failed_gate, make_record

from recgauntlet.core.card import TaskCard
from recgauntlet.leaderboard.schema import TaskTable
from recgauntlet.records.io import Results, read_records, write_record
from recgauntlet.records.schema import RunRecord
from recgauntlet_site.render import render_site


def render_records(directory: Path, records: Iterable[RunRecord]) -> dict[str, bytes]:
    """The site of `records`, which are written to `directory`, without the card of any task."""
    for number, record in enumerate(records):
        write_record(record, directory / f"{number}.json")
    return dict(render_site([("mine", directory, read_records(directory))], cards=lambda table: None))


HOSTILE = '<script>alert("x")</script>'
REVERSED = "pgd\u202etxet\u2066"

CARD = TaskCard.model_validate(
    {
        "id": "shop",
        "version": 1,
        "title": "Will this shopper buy it?",
        "question": "Given what a shopper bought, will they buy <this>?",
        "description": "Orders & baskets.",
        "clicked": "bought",
        "metrics": ["accuracy", "auc"],
        "tracks": {
            "standard": {
                "source": {
                    "name": "Orders",
                    "url": "https://example.org/orders?a=1&b=2",
                    "licence": "CC BY 4.0",
                    "redistributable": True,
                    "citation": "@misc{orders, title={{Orders}}}",
                },
                "fingerprint": "",
                "split": {"valid_from": "0.8", "test_from": "0.9"},
                "negatives": {"rule": "uniform-unseen", "train_per_click": 1},
                "history_length": 50,
                "token_length": 16,
                "train_pairs": 100,
                "valid_pairs": 100,
                "test_pairs": 200,
                "test_impressions": 40,
            }
        },
        "threats": [
            {
                "id": "stuffing",
                "surface": "candidate-text",
                "goal": "promote",
                "ranked": True,
                "operations": ["insert-word"],
                "words": {"low": 1, "standard": 2, "high": 4},
                "max_repeats": 2,
                "banned_characters": "!$",
                "queries": {"low": 100, "standard": 500, "high": 2000},
                "source": "Title rules of the trade; the caps are ours.",
            },
            {
                "id": "embedding",
                "surface": "embedding",
                "goal": "flip",
                "ranked": False,
                "norm": "l2",
                "radius": {"low": 0.1, "standard": 0.25, "high": 0.5},
                "queries": {"low": 100, "standard": 500, "high": 2000},
                "source": "ours",
            },
        ],
    }
)


@dataclass(frozen=True)
class Board:
    """A results directory, what was read there, and the files of the page."""

    directory: Path
    results: Results
    files: dict[str, bytes]

    @property
    def page(self) -> str:
        """The text of index.html."""
        return self.files["index.html"].decode()

    @property
    def pages(self) -> dict[str, str]:
        """The text of every page by its path."""
        return {path: content.decode() for path, content in self.files.items() if path.endswith(".html")}

    def task(self, task: str, track: str = "standard") -> str:
        """The text of a task's page."""
        return self.files[f"tasks/{task}-{track}.html"].decode()


def board_records() -> list[RunRecord]:
    """Ranked and unranked rows, failed cells, a model that reads no text, demo and simulated tracks, hostile
    names."""
    records = []
    for seed in range(3):
        records += [
            make_record(seed=seed, further=True),
            make_record(
                seed=seed,
                further=True,
                defense="pgd",
                ratio=1.4,
                hyperparameters={"epsilon": 0.2},
                threats={"stuffing": (0.7, 0.65, 0.6), "embedding": (0.7, 0.66, 0.5)},
            ),
            make_record(seed=seed, defense="pgd", ratio=2.4, hyperparameters={"epsilon": 0.4}, violations=1),
            make_record(seed=seed, defense="collapsed", ratio=1.1, clean=0.5, gates=(failed_gate(),)),
            make_record(seed=seed, model="_mf", defense="_hidden", further=True),
            make_record(seed=seed, model="mf", threats={"stuffing": None, "embedding": (0.6, 0.5, 0.4)}),
            make_record(seed=seed, model=HOSTILE, defense=REVERSED, further=True, attack_error="</td><b>crash</b>"),
            make_record(seed=seed, model="=HYPERLINK(1)", defense="long" * 60),
            make_record(seed=seed, task="news", threats={"tampering": (0.5, 0.4, 0.3), "embedding": (0.6, 0.5, 0.4)}),
        ]
    records += [
        make_record(defense="fgm", seed=0, ratio=1.2),
        make_record(defense="fgm", seed=1, failure="Traceback:\nRuntimeError: the loss became <NaN>"),
        make_record(task="shop", track="demo", simulated=True, fingerprint="9" * 64),
        make_record(task="shop", track="demo", simulated=True, fingerprint="9" * 64, defense="pgd", ratio=1.3),
        make_record(task="lost", failure="no data"),
    ]
    return records


def shop_card(table: TaskTable) -> TaskCard | None:
    """The card of the standard shop; the other tables' tasks are not installed."""
    return CARD if (table.task, table.track) == ("shop", "standard") else None


def make_board(directory: Path) -> Board:
    """Write the records and a broken one below `directory`, and render them."""
    for number, record in enumerate(board_records()):
        write_record(record, directory / "records" / f"{number:03}.json")
    (directory / "records" / "cut <b>.json").write_text('{"schema_version": 1,')
    results = read_records(directory)
    return Board(directory, results, dict(render_site([("preview", directory, results)], cards=shop_card)))

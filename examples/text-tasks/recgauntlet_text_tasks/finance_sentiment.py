"""The task finance-sentiment: which statement about a company has this sentiment?"""

from __future__ import annotations

import csv
import io
from pathlib import Path

from recgauntlet.core.card import TaskCard, Track, load_card
from recgauntlet.core.dataset import Tables
from recgauntlet.core.errors import DataError
from recgauntlet.core.files import downloads
from recgauntlet.core.task import SourceOptions, Task
from recgauntlet.data.download import download
from recgauntlet.data.sources import Mirror, RawFile, files_in, first_of, named_directory, read_raw
from recgauntlet.data.text import decode
from recgauntlet_text_tasks.matching import tables_of

ADDRESS = "https://raw.githubusercontent.com/Ankit-AP-Paul/financial-news-classification/main/"
NAME, SHA256 = "all-data.csv", "5cdba2dd192dff0d43a939afa570083c51856af13ff0391302c542e33dffdc6f"
LABELS = {
    "positive": "positive: good news for the company",
    "neutral": "neutral: no news for the company",
    "negative": "negative: bad news for the company",
}


def load(card: TaskCard, track: Track, options: SourceOptions) -> Tables:
    """The Financial PhraseBank's statements with their sentiments.

    Raises
    ------
    DataError
        Where no mirror has the file, or it is damaged.
    """
    kept = downloads(options.cache) / "finance-sentiment"
    raw = first_of(
        (
            Mirror("a directory of yours", lambda: files_in(named_directory(options.directory), {"all": NAME})),
            Mirror(
                "a copy on GitHub",
                lambda: {"all": read_raw(download(ADDRESS + NAME, kept, sha256=SHA256, offline=options.offline))},
            ),
        ),
        "the Financial PhraseBank",
    )
    return tables_of(_statements(raw["all"]), LABELS, "finance-sentiment")


def _statements(file: RawFile) -> list[tuple[str, str]]:
    """Statements with the names of their sentiments; the first line is a header in this copy."""
    rows = list(csv.reader(io.StringIO(decode(file.content, file.name, "latin-1"))))
    if not rows or any(len(row) != 2 for row in rows):
        raise DataError("has lines that are not two columns", where=file.name, remedy="download it again")
    return [(text, label) for label, text in rows if label != "result"]


task = Task(load_card(Path(__file__).with_name("finance_sentiment.toml")), load)

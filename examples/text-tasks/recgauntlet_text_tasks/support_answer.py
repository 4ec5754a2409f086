"""The task support-answer: which question of a customer does this answer belong to?"""

from __future__ import annotations

import csv
import io
import json
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

BANKING = "https://raw.githubusercontent.com/PolyAI-LDN/task-specific-datasets/master/banking_data/"
FAQ = "https://raw.githubusercontent.com/ML-Recipes/BERT-FAQ/master/data/StackFAQ/"
FILES = {
    "train": (BANKING, "train.csv", "b06e26ac675513959a63135f11b94ea7786ed02da65db93a5650d8838cbc664b"),
    "test": (BANKING, "test.csv", "d12d6e3bc4c3103966ae786dc435913c0c563dfa328f5a3646d0e62cfeeb474d"),
    "faq": (FAQ, "stackExchange-FAQ.json", "0ae2af4f8edae91f2dd37c557e2468d412b21d63f534ddc461118434f066f075"),
}


def load(card: TaskCard, track: Track, options: SourceOptions) -> Tables:
    """Banking77's questions with their intents, and StackFAQ's questions with their first answers.

    Raises
    ------
    DataError
        Where no mirror has the files, or a file is damaged.
    """
    kept = downloads(options.cache) / "support-answer"

    def fetched() -> dict[str, RawFile]:
        found = {}
        for role, (address, name, sha256) in FILES.items():
            found[role] = read_raw(download(address + name, kept, sha256=sha256, offline=options.offline))
        return found

    names = {role: name for role, (_, name, _) in FILES.items()}
    raw = first_of(
        (
            Mirror("a directory of yours", lambda: files_in(named_directory(options.directory), names)),
            Mirror("the authors' repositories", fetched),
        ),
        "Banking77 and StackFAQ",
    )
    texts, labels = _banking(raw["train"])
    more, others = _banking(raw["test"])
    asked, answers = _faq(raw["faq"])
    return tables_of([*texts, *more, *asked], labels | others | answers, "support-answer")


def _banking(file: RawFile) -> tuple[list[tuple[str, str]], dict[str, str]]:
    """Questions with the names of their intents, and the intents as texts."""
    rows = list(csv.DictReader(io.StringIO(decode(file.content, file.name))))
    if not rows or set(rows[0]) != {"text", "category"}:
        raise DataError(
            "has no columns text and category", where=file.name, remedy="take the file of Banking77 as published"
        )
    return [(row["text"], row["category"]) for row in rows], {
        row["category"]: row["category"].replace("_", " ").lower() for row in rows
    }


def _faq(file: RawFile) -> tuple[list[tuple[str, str]], dict[str, str]]:
    """Questions, rewordings included, with the numbers of their entries, and the entries' first answers."""
    try:
        entries = json.loads(decode(file.content, file.name))["root"]["qapair"]
        texts, answers = [], {}
        for number, entry in enumerate(entries):
            answers[f"faq-{number}"] = str(entry["answer"][0])
            asked = [entry["question"], *entry["rephr"]]
            texts += [(str(text), f"faq-{number}") for text in asked if str(text).strip(" *")]
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise DataError("is no StackFAQ", where=file.name, remedy="the file is damaged: download it again") from error
    return texts, answers


task = Task(load_card(Path(__file__).with_name("support_answer.toml")), load)

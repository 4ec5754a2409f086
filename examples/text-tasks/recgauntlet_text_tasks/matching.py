"""From labelled texts to the tables of a task: the label takes the user's place, the text that of the candidate."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

from recgauntlet.core.dataset import IMPRESSIONS, ITEMS, Tables
from recgauntlet.core.errors import DataError
from recgauntlet.data.cleaning import table_of
from recgauntlet.data.text import normalize

SHOWN = 5
"""Texts in a list: one that belongs to the label, and four that do not."""
BEGIN = 1_500_000_000
"""A second: texts have no time, so an order by their hashes stands in its place."""


def tables_of(texts: Sequence[tuple[str, str]], labels: Mapping[str, str], where: str) -> Tables:
    """The tables of `texts`, pairs of a text and the key of its label in `labels`.

    Every text is the clicked one of a list shown to its label, whose history is the label's own text. The others are
    the nearest texts before it, in the order of hashes, that have another label: so no list of the training period
    shows a text of a later one. A text counts once, and not at all where two labels have it.

    Raises
    ------
    DataError
        Where a label is not known, or there are too few texts.
    """
    owner: dict[str, str] = {}
    doubtful: set[str] = set()
    for text, label in texts:
        if label not in labels:
            raise DataError(
                f"has the unknown label {label!r}", where=where, remedy="the file is damaged: download it again"
            )
        text = normalize(text)
        if text and owner.setdefault(text, label) != label:
            doubtful.add(text)
    order = sorted((text for text in owner if text not in doubtful), key=_hash)
    if len(order) <= SHOWN:
        raise DataError(f"has {len(order)} texts", where=where, remedy="the file is cut short: download it again")
    rows = []
    for number, text in enumerate(order):
        label = owner[text]
        earlier = [other for other in order[max(0, number - 200) : number] if owner[other] != label][1 - SHOWN :]
        later = [other for other in order[number + 1 :][:200] if owner[other] != label]
        others = [*earlier, *later][: SHOWN - 1]
        shown = sorted([text, *others], key=lambda one: _hash(f"{label}/{one}"))
        ids, clicked = [_item(one) for one in shown], [one == text for one in shown]
        rows.append((_hash(text), _label(label), BEGIN + number, [_label(label)], ids, clicked))
    items = [(_label(key), normalize(text), "label") for key, text in labels.items()]
    items += [(_item(text), text, "text") for text in order]
    return Tables(table_of(items, ITEMS), impressions=table_of(rows, IMPRESSIONS))


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _item(text: str) -> str:
    return f"text-{_hash(text)}"


def _label(key: str) -> str:
    return f"label-{key}"

"""What a defense does to harmless new accounts among the training users, beside what it does to genuine users."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from recgauntlet.core.dataset import TaskData
from recgauntlet.core.recommender import Recommender
from recgauntlet.core.types import IntArray
from recgauntlet.data.batches import pairs_to_batch
from recgauntlet.evaluation.judge import score_in_chunks
from recgauntlet.records.parts import Gate
from recgauntlet.records.references import Part

MOST_REMOVED = 0.4
"""By how much the share of the newcomers that a filter removes may exceed that of the genuine users. On Online Retail
`trimmed-raters` with the largest share of its search space removes 0.62 and 0.39, the most that a filter of the zoo has
between the two; one that removes all accounts as short as fake ones removes all and 0.40."""
LEAST_LEARNED = 0.7
"""How far above chance a model must be on the newcomers' training pairs, over how far it is on the genuine ones. On
the demo of ecommerce-purchase defenses of the zoo have 0.94 to 1.1 (bpr-mf, item-knn and sasrec), and sasrec has 0.5
where the loss leaves newcomers out."""
LEAST_FIT = 0.05
"""How far above chance a model must be on the genuine training pairs for a statement about the newcomers'."""
GENUINE_PAIRS = 2000
"""The most genuine training pairs that are compared."""


class NewcomersOutcome(Part):
    """What became of `newcomers` accounts and `genuine` users that have training pairs.

    `removed` and `removed_genuine` of them had none left after the defense's filter. `fit` and `fit_genuine` are the
    shares of their training pairs in which the trained model scores the click higher, ties counted half.
    """

    newcomers: int
    removed: int
    genuine: int
    removed_genuine: int
    fit: float
    fit_genuine: float


def measure_newcomers(
    model: Recommender, data: TaskData, newcomers: IntArray, removed: IntArray, samples: int = 1
) -> NewcomersOutcome:
    """Of the served `model` that was trained on `data`, in which the users `newcomers [A]` are new; the filter left the
    users `removed [R]` no training pair."""
    users = data.train.users
    there, is_new = np.unique(users), np.isin(users, newcomers)
    of_new = np.isin(there, newcomers)
    gone = np.isin(there, removed)
    genuine = np.flatnonzero(~is_new)
    some = genuine[np.linspace(0, len(genuine) - 1, min(len(genuine), GENUINE_PAIRS)).astype(np.int64)]
    fits = [_fit(model, data, rows, samples) for rows in (np.flatnonzero(is_new), some)]
    return NewcomersOutcome(
        newcomers=int(of_new.sum()),
        removed=int((of_new & gone).sum()),
        genuine=int((~of_new).sum()),
        removed_genuine=int((~of_new & gone).sum()),
        fit=fits[0],
        fit_genuine=fits[1],
    )


def _fit(model: Recommender, data: TaskData, rows: IntArray, samples: int) -> float:
    if not len(rows):
        return 0.5
    batch = pairs_to_batch(data.train, rows).to(model.device)
    clicked, unclicked = score_in_chunks(model, batch, samples).cpu().numpy().reshape(-1, 2).T
    return float((clicked > unclicked).mean() + (clicked == unclicked).mean() / 2)


def newcomers_checks(found: NewcomersOutcome, threat: str, *, filters: bool) -> Iterator[Gate]:
    """That a defense which `filters` keeps most newcomers, and that the model learns from them."""
    if not found.newcomers:
        return
    if filters:
        excess = found.removed / found.newcomers - found.removed_genuine / max(1, found.genuine)
        yield Gate(
            name="newcomers-are-kept",
            threat=threat,
            passed=excess <= MOST_REMOVED,
            value=excess,
            limit=MOST_REMOVED,
            explanation="share of harmless new accounts that the defense's filter removes, less that of genuine users",
            remedy="look for what fake accounts do to their targets, not for accounts that are new or of one length",
        )
    if found.fit_genuine - 0.5 >= LEAST_FIT:
        ratio = (found.fit - 0.5) / (found.fit_genuine - 0.5)
        yield Gate(
            name="newcomers-are-learned",
            threat=threat,
            passed=ratio >= LEAST_LEARNED,
            value=ratio,
            limit=LEAST_LEARNED,
            explanation="accuracy above chance on training pairs of harmless new accounts, over that on genuine ones",
            remedy="let new users count in the loss like others",
        )

"""What a defense does to harmless new accounts among the training users, beside what it does to genuine users."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from recgauntlet.core.dataset import Pairs, TaskData
from recgauntlet.core.poison import FakeAccounts
from recgauntlet.core.recommender import Recommender
from recgauntlet.core.rng import Randomness
from recgauntlet.core.types import BoolArray, IntArray
from recgauntlet.data.batches import pairs_to_batch
from recgauntlet.data.interactions import Interactions
from recgauntlet.data.poisoned import PoisonedData, untrained_pairs
from recgauntlet.data.takes import Takes
from recgauntlet.evaluation.judge import score_in_chunks
from recgauntlet.metrics.ranking import Floats
from recgauntlet.records.parts import Gate
from recgauntlet.records.references import Part

MOST_REMOVED = 0.4
"""By how much the share of the newcomers that a filter removes, or of their training pairs, may exceed that of the
genuine users. On Online Retail
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
LEAST_SHARE = 0.5
"""The least share of newcomers' gain, over that of genuine users, that a defense may leave of the undefended twin's. On
Online Retail and two demos defenses of the zoo leave 0.96 to 1.08 (bpr-mf and lightgcn), and a loss without new users
0.43 to 0.80, steps without them 0.35 or less."""
MOST_LOST = 0.5
"""The share of newcomers' training pairs that a filter may remove for a statement about the gain on the rest: too few
pairs are left where `trimmed-raters` removes 63 or 88 % of 552."""
LEAST_GAIN = 0.05
"""What training on a pair must add to its margin for a statement about how much it adds for newcomers."""
UNTRAINED_PAIRS = 3000
"""The most pairs of newcomers, and of genuine users, that no training has."""


@dataclass(frozen=True)
class Untrained:
    """Pairs of the training period that were not drawn for training, of `newcomers` and of `genuine` users."""

    newcomers: Pairs
    genuine: Pairs

    @classmethod
    def of(cls, made: PoisonedData, genuine: Interactions, accounts: FakeAccounts, rng: Randomness) -> Untrained:
        """Those of the harmless `accounts` in `made`, and of the `genuine` users in its training pairs."""
        train, size = made.data.train, len(genuine.catalog)
        trained = genuine.training.where(np.isin(made.genuine[genuine.training.users], train.users))
        own = Takes.of(accounts.accounts, accounts.items, accounts.times)
        return cls(
            untrained_pairs(train, own, made.fakes, size, rng.child("newcomers"), UNTRAINED_PAIRS),
            untrained_pairs(train, trained, made.genuine, size, rng.child("genuine"), UNTRAINED_PAIRS),
        )


class Gains(Part):
    """What training on a pair adds to its margin, for pairs of newcomers and of genuine users.

    The margin is `tanh((s_clicked - s_unclicked) / d)`, `d` the standard deviation of the difference on genuine
    training pairs; the gain is its mean on training pairs less that on pairs of the same users that were not drawn for
    training. It is near 0 where a model never saw the pairs, however well it fits them by what it knows from others.
    """

    newcomers: float
    genuine: float


class NewcomersOutcome(Part):
    """What became of `newcomers` accounts and `genuine` users that have training pairs.

    `removed` and `removed_genuine` of them had none left after the defense's filter, which removed the shares `lost`
    and `lost_genuine` of their training pairs. `fit` and `fit_genuine` are the shares of their training pairs in which
    the trained model scores the click higher, ties counted half. `gains` are those of the model, `twin_gains` those of
    its undefended twin; None where there is no twin.
    """

    newcomers: int
    removed: int
    genuine: int
    removed_genuine: int
    fit: float
    fit_genuine: float
    lost: float = 0.0
    lost_genuine: float = 0.0
    gains: Gains | None = None
    twin_gains: Gains | None = None


def measure_newcomers(
    model: Recommender, data: TaskData, newcomers: IntArray, lost: IntArray, samples: int = 1
) -> NewcomersOutcome:
    """Of the served `model` that was trained on `data`, in which the users `newcomers [A]` are new; the filter removed
    the training pairs at the rows `lost [R]`."""
    users = data.train.users
    is_new = np.isin(users, newcomers)
    is_lost = np.isin(np.arange(len(users)), lost)
    there = [np.unique(users[of]) for of in (is_new, ~is_new)]
    left = [np.unique(users[of & ~is_lost]) for of in (is_new, ~is_new)]
    fits = [_fit(model, pairs, samples) for pairs in _trained(data, is_new, ~is_new)]
    return NewcomersOutcome(
        newcomers=len(there[0]),
        removed=len(there[0]) - len(left[0]),
        genuine=len(there[1]),
        removed_genuine=len(there[1]) - len(left[1]),
        fit=fits[0],
        fit_genuine=fits[1],
        lost=float(is_lost[is_new].mean()) if is_new.any() else 0.0,
        lost_genuine=float(is_lost[~is_new].mean()) if not is_new.all() else 0.0,
    )


def measure_gains(
    model: Recommender, data: TaskData, newcomers: IntArray, lost: IntArray, untrained: Untrained, samples: int = 1
) -> Gains:
    """Of the served `model`, as in `measure_newcomers`; without the pairs that the filter removed."""
    is_new, is_left = np.isin(data.train.users, newcomers), ~np.isin(np.arange(len(data.train)), lost)
    own, others = _trained(data, is_new & is_left, ~is_new & is_left)
    leads = [_leads(model, pairs, samples) for pairs in (own, untrained.newcomers, others, untrained.genuine)]
    deviation = max(float(leads[2].std()) if len(leads[2]) else 0.0, float(np.finfo(np.float32).tiny))
    margins = [float(np.tanh(lead / deviation).mean()) if len(lead) else 0.0 for lead in leads]
    return Gains(newcomers=margins[0] - margins[1], genuine=margins[2] - margins[3])


def _trained(data: TaskData, new: BoolArray, others: BoolArray) -> tuple[Pairs, Pairs]:
    """The training pairs of newcomers, at the rows `new [P]`, and some of the `others [P]`."""
    rows = np.flatnonzero(others)
    some = rows[np.linspace(0, len(rows) - 1, min(len(rows), GENUINE_PAIRS)).astype(np.int64)]
    return data.train.select(np.flatnonzero(new)), data.train.select(some)


def _leads(model: Recommender, pairs: Pairs, samples: int) -> Floats:
    """`[P]`: by how much each click is scored higher."""
    if not len(pairs):
        return np.zeros(0)
    batch = pairs_to_batch(pairs, np.arange(len(pairs))).to(model.device)
    clicked, unclicked = score_in_chunks(model, batch, samples).double().cpu().numpy().reshape(-1, 2).T
    leads: Floats = clicked - unclicked
    return leads


def _fit(model: Recommender, pairs: Pairs, samples: int) -> float:
    leads = _leads(model, pairs, samples)
    return float((leads > 0).mean() + (leads == 0).mean() / 2) if len(leads) else 0.5


def newcomers_checks(found: NewcomersOutcome, threat: str, *, filters: bool) -> Iterator[Gate]:
    """That a defense which `filters` keeps most newcomers, and that the model learns from them, as much as from others
    and as much as without the defense."""
    if not found.newcomers:
        return
    if filters:
        excess = found.removed / found.newcomers - found.removed_genuine / max(1, found.genuine)
        excess = max(excess, found.lost - found.lost_genuine)
        yield Gate(
            name="newcomers-are-kept",
            threat=threat,
            passed=excess <= MOST_REMOVED,
            value=excess,
            limit=MOST_REMOVED,
            explanation="share of harmless new accounts, or of their training pairs, that the defense's filter "
            "removes, less that of genuine ones",
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
    own, twin = found.gains, found.twin_gains
    if own is None or twin is None or found.lost > MOST_LOST:
        return
    if min(own.genuine, twin.newcomers, twin.genuine) >= LEAST_GAIN:
        share = (own.newcomers / own.genuine) / (twin.newcomers / twin.genuine)
        yield Gate(
            name="newcomers-count-as-much",
            threat=threat,
            passed=share >= LEAST_SHARE,
            value=share,
            limit=LEAST_SHARE,
            explanation="what training on a pair of harmless new accounts adds to its margin, over what one of genuine "
            "users adds, as a share of the same without the defense",
            remedy="let new users count in the loss like others",
        )

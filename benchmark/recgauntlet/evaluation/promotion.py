"""Promotion: one text an item that lifts it in the lists of many users, found on some of them, measured on the others.

A seller writes one title for everybody. So the search sees 40 % of the users, and exposure is measured on the other
60 %. Unpopular targets are what the literature promotes (Poisoning-SSL, ARLib); the measure is the exposure in the
first k of a list (RecTextAttack).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from recgauntlet.attacks.text.edits import Draft, Rules
from recgauntlet.core.batch import Batch, Users
from recgauntlet.core.card import RANKING_TIER, Threat, Tier
from recgauntlet.core.dataset import Taken, TaskData
from recgauntlet.core.protocol import COMPETITORS, OPTIMIZED_SHARE, PLACE_TO_REACH, PROMOTED_ITEMS, PROMOTION_USERS
from recgauntlet.core.recommender import Recommender
from recgauntlet.core.rng import Randomness
from recgauntlet.core.types import FloatArray, IntArray
from recgauntlet.evaluation.catalog_lists import catalog_scores, list_count, place_of
from recgauntlet.evaluation.judge import score_in_chunks
from recgauntlet.evaluation.results import PromotionResult
from recgauntlet.evaluation.setup import Trial
from recgauntlet.metrics.ranking import Floats
from recgauntlet.threats.budget import Budget
from recgauntlet.threats.text import text_fault
from recgauntlet.threats.victim import Victim

GRADIENT_MOVES = 16
"""Texts scored per turn because of the gradient; half append and half replace where both are legal."""
POPULAR_MOVES = 4
"""Texts scored per turn independently of the gradient: the catalog's most popular words appended."""
SLOPE_QUERIES = 2
"""What the slopes of a text cost each user: its score and its gradient."""


def promote(
    trial: Trial, data: TaskData, threat: Threat, rng: Randomness, *, twin: Victim | None = None
) -> PromotionResult:
    """Promote up to PROMOTED_ITEMS items of the less popular half of the catalog by one text each at the medium tier.

    The search asks the model, and by itself the undefended `twin`, which no trick of the model can mislead; of the two
    texts the one that does more for the model's searching users is kept. Users are up to PROMOTION_USERS of the test
    pairs. An item's rank is its place among itself and up to COMPETITORS others, the same for every item and user, and,
    where it is known what users took, for the first of them its place among all items that the user never took. With
    fewer than two users or items there is nothing to promote, and the outcome is empty.
    """
    draw = rng.child(f"promotion/{threat.id}")
    items, competitors = _draw_items(data, draw)
    searching, held_out = draw_users(trial.batch.users, draw)
    if not len(searching) or not len(competitors) or not len(items):
        nothing = np.empty(0, dtype=np.float32)
        return PromotionResult(
            threat=threat.id, items=(), optimized_on=0, users=0, competitors=0, before=nothing, after=nothing
        )
    lifted = lift(trial, data, threat, RANKING_TIER, items, competitors, (searching, held_out), twin=twin)
    return PromotionResult(
        threat=threat.id,
        items=tuple(items.tolist()),
        optimized_on=len(searching),
        users=len(held_out),
        competitors=len(competitors),
        before=lifted.before.reshape(-1).astype(np.float32),
        after=lifted.after.reshape(-1).astype(np.float32),
        **dict(zip(("catalog_before", "catalog_after"), lifted.among_all, strict=False)),
    )


@dataclass(frozen=True)
class Lifted:
    """One text for each of `I` items, and the ranks of the items for `U` users before and after.

    texts
        `[I]`
    before, after
        `[I, U]`: among the item and its competitors.
    among_all
        The same two among all items that the user never took, each `[I x V]` for the first `V` users; empty where it is
        not known what users took.
    """

    texts: tuple[str, ...]
    before: Floats
    after: Floats
    among_all: tuple[FloatArray, ...]


def lift(
    trial: Trial,
    data: TaskData,
    threat: Threat,
    tier: Tier,
    items: IntArray,
    competitors: IntArray,
    users: tuple[Users, Users],
    *,
    twin: Victim | None = None,
    known: Sequence[str] | None = None,
) -> Lifted:
    """One text for each of `items` that lifts it above `competitors`, all catalog indices, in the lists of many users.

    The texts are searched on the first of `users` and measured on the second. Of those that the searches on the model
    and on the `twin` find, and of those that are `known` and legal at `tier`, the one counts that does most for the
    model's searching users.
    """
    searching, held_out = users
    goal = _Goal.of(trial.model, searching, competitors)
    texts = _search(trial.victim, threat, tier, goal, searching, items)
    others = [] if known is None else [list(known)]
    if twin is not None:
        goal_there = _Goal.of(twin.model, searching, competitors)
        others.append(_search(twin, threat, tier, goal_there, searching, items))
    for form in others:
        ours, theirs = (goal.gain(_scores(trial.model, searching, items, each).T) for each in (texts, form))
        better = (theirs > ours).tolist()
        texts = [other if wins else own for own, other, wins in zip(texts, form, better, strict=True)]
    rivals = _scores(trial.model, held_out, competitors, None)
    shown = [data.catalog.texts[i] for i in items]
    scores = [_scores(trial.model, held_out, items, form) for form in (shown, texts)]
    before, after = (_ranks(own, rivals) for own in scores)
    first = torch.arange(min(list_count(data), len(held_out)), device=held_out.ids.device)
    among_all = (
        [] if data.taken is None else _catalog_ranks(trial.model, held_out.select(first), items, scores, data.taken)
    )
    return Lifted(tuple(texts), before, after, tuple(among_all))


@dataclass(frozen=True)
class _Goal:
    """What the search wants of each of `U` users: a score above `level [U]`, in units of `spread [U]`."""

    level: Tensor
    spread: Tensor

    @classmethod
    def of(cls, model: Recommender, users: Users, competitors: IntArray) -> _Goal:
        scores = torch.nan_to_num(_scores(model, users, competitors, None).double())
        place = min(PLACE_TO_REACH, scores.shape[1])
        return cls(scores.topk(place, dim=1).values[:, -1], scores.std(dim=1, correction=0).clamp(min=1e-6))

    def gain(self, scores: Tensor) -> Tensor:
        """The targeted ranking loss's negative: for `scores [K, U]` the mean over users of the sigmoid of how far they
        stand above the level, `[K]`. Not a number counts as lowest."""
        above = (scores.double() - self.level) / self.spread
        return torch.nan_to_num(torch.sigmoid(above), nan=0.0).mean(dim=1)

    def slope(self, scores: Tensor) -> Tensor:
        """`[K, U]`: the derivative of `gain` by each score."""
        soft = torch.sigmoid((scores.double() - self.level) / self.spread)
        return torch.nan_to_num(soft * (1 - soft) / self.spread, nan=0.0) / scores.shape[1]


def _draw_items(data: TaskData, rng: Randomness) -> tuple[IntArray, IntArray]:
    """The items to promote and those that compete with all of them, as catalog indices."""
    size = len(data.catalog)
    clicks = np.bincount(data.train.clicked, minlength=size)
    shuffled = rng.child("order").numpy().permutation(size)
    least = shuffled[np.argsort(clicks[shuffled], kind="stable")][: max(1, size // 2)]
    items = rng.child("items").numpy().permutation(least)[: min(PROMOTED_ITEMS, size - 1)]
    others = np.setdiff1d(np.arange(size), items)
    return items, np.sort(rng.child("competitors").numpy().permutation(others)[:COMPETITORS])


def draw_users(users: Users, rng: Randomness) -> tuple[Users, Users]:
    """Distinct users to search on, and others to measure on; both empty where there are fewer than two."""
    first = np.unique(users.ids.cpu().numpy(), return_index=True)[1]
    chosen = rng.child("users").numpy().permutation(np.sort(first))[:PROMOTION_USERS]
    cut = max(1, round(OPTIMIZED_SHARE * len(chosen))) if len(chosen) > 1 else 0
    parts = (chosen[:cut], chosen[cut:] if cut else chosen[:0])
    search, held_out = (users.select(torch.from_numpy(part).to(users.ids.device)) for part in parts)
    return search, held_out


def _search(asked: Victim, threat: Threat, tier: Tier, goal: _Goal, users: Users, items: IntArray) -> list[str]:
    """For each item the text found, word after word; the clean one where no legal text does better."""
    budget = Budget.of(threat, tier)
    world = asked.world
    rules = Rules.of(world, budget)
    pairs = _pairs(users, items, [world.catalog.texts[i] for i in items])
    victim = Victim(asked.model, world, asked.scale, pairs, limit=budget.queries, half=asked.half)
    drafts = rules.drafts(world, pairs.select(torch.arange(len(items), device=pairs.items.device) * len(users)))
    chosen = list(drafts)
    best = goal.gain(victim.scores(pairs).reshape(len(items), -1)).tolist()
    turns = int(budget.amount)
    for turn in range(turns):
        # a user is asked once for each text and once for each gradient; what is left is shared among the turns
        left = int(victim.remaining(pairs.example_ids).min()) // (turns - turn)
        going = [i for i, draft in enumerate(drafts) if rules.edits_left(draft) > 0] if left > SLOPE_QUERIES else []
        options = dict(zip(going, _options(victim, rules, goal, pairs, drafts, going, left), strict=True))
        flat = [(i, draft) for i, found in options.items() for draft in found]
        if not flat:
            break
        texts = [draft.text for _, draft in flat for _ in range(len(users))]
        asked_pairs = pairs.select(_rows_of([i for i, _ in flat], len(users), pairs)).with_texts(texts)
        gains: list[float] = goal.gain(victim.scores(asked_pairs).reshape(len(flat), -1)).tolist()
        for i in options:
            own = [(gain, draft) for gain, (j, draft) in zip(gains, flat, strict=True) if j == i]
            if own:
                gain, drafts[i] = max(own, key=lambda pair: pair[0])
                if gain > best[i]:
                    best[i], chosen[i] = gain, drafts[i]
    return [
        draft.clean if text_fault(world.lexicon, rules.threat, budget, draft.clean, draft.text) else draft.text
        for draft in chosen
    ]


def _options(
    victim: Victim, rules: Rules, goal: _Goal, pairs: Batch, drafts: list[Draft], going: list[int], most: int
) -> list[list[Draft]]:
    """Legal drafts one word further for each of the items `going`, the most promising to first order on average over
    the users (HotFlip, Ebrahimi et al. 2018; one text for many users as in Wallace et al. 2019).

    What an appended word would gain is read off a popular word appended for the question.
    """
    if not going:
        return []
    stuffed = [_appended(rules, drafts[i], _popular(rules, drafts[i])[:50], 1) if rules.stuffing else [] for i in going]
    asked = [(found or [drafts[i]])[0] for i, found in zip(going, stuffed, strict=True)]
    count = len(goal.level)
    rows = _rows_of(going, count, pairs)
    texts = [draft.text for draft in asked for _ in range(count)]
    weights = goal.slope(victim.scores(pairs.select(rows).with_texts(texts)).reshape(len(going), -1)).float().cpu()
    slopes, products = victim.word_slopes(pairs.select(rows).with_texts(texts))
    shape = (len(going), count, slopes.shape[1])
    slope = torch.einsum("ku,kuwd->kwd", weights, slopes.reshape(*shape, -1))
    product = torch.einsum("ku,kuw->kw", weights, products.reshape(shape))
    return [
        _moves(victim, rules, drafts[i], bool(found), slope[k], product[k], most - SLOPE_QUERIES)
        for k, (i, found) in enumerate(zip(going, stuffed, strict=True))
    ]


def _moves(
    victim: Victim, rules: Rules, draft: Draft, can_append: bool, slope: Tensor, product: Tensor, most: int
) -> list[Draft]:
    """At most `most` legal drafts: by the gradient `slope [W, D]`, and popular words appended."""
    readable, end = slope.shape[0], len(draft.words)
    places = [place for place in rules.open_places(draft) if place < readable] if rules.may_replace else []
    moves = [(place, word) for place in places for word in rules.replacements(draft, place)]
    appends = [(end, word) for word in _popular(rules, draft)] if can_append and end < readable else []
    by_gradient = min(most, GRADIENT_MOVES)
    half = by_gradient // 2 if appends else 0
    found = rules.word_moves(draft, _ranked(victim, appends, slope, product), half)
    found += rules.word_moves(draft, _ranked(victim, moves, slope, product), by_gradient - len(found))
    if can_append:
        found += _appended(rules, draft, _popular(rules, draft), POPULAR_MOVES)
    return list(dict.fromkeys(found))[:most]


def _ranked(victim: Victim, moves: list[tuple[int, str]], slope: Tensor, product: Tensor) -> list[tuple[int, str]]:
    """Moves by what they gain to first order, most first."""
    if not moves:
        return []
    words = list(dict.fromkeys(word for _, word in moves))
    place_of = {word: n for n, word in enumerate(words)}
    gain = slope @ victim.word_vectors(words).T - product[:, None]
    values = gain[[place for place, _ in moves], [place_of[word] for _, word in moves]]
    return [moves[n] for n in values.argsort(descending=True, stable=True).tolist()]


def _popular(rules: Rules, draft: Draft) -> tuple[str, ...]:
    """The words to stuff a text with, the most popular first."""
    return rules.stuffing_of(draft, rules.popular)


def _appended(rules: Rules, draft: Draft, words: Sequence[str], most: int) -> list[Draft]:
    return rules.word_moves(draft, ((len(draft.words), word) for word in words), most)


def _rows_of(items: Sequence[int], users: int, pairs: Batch) -> Tensor:
    """Where the pairs of each of `items` (by number) stand, item after item."""
    starts = torch.tensor(items, dtype=torch.int64, device=pairs.items.device) * users
    return (starts[:, None] + torch.arange(users, device=starts.device)).flatten()


def _pairs(users: Users, items: IntArray, texts: Sequence[str] | None) -> Batch:
    """Every item shown to every user, item after item; with `texts` as new listings."""
    device = users.ids.device
    size, count = len(items), len(users)
    pairs = Batch(
        users=users,
        rows=torch.arange(count, device=device).repeat(size),
        items=torch.from_numpy(items).to(device).repeat_interleave(count),
        labels=torch.zeros(size * count, device=device),
        example_ids=torch.arange(size * count, device=device),
    )
    return pairs if texts is None else pairs.as_new_listings([text for text in texts for _ in range(count)])


def _scores(model: Recommender, users: Users, items: IntArray, texts: Sequence[str] | None) -> Tensor:
    """`[U, I]`: the evaluator's own scores of every item for every user."""
    pairs = _pairs(users, items, texts)
    by_user = torch.arange(len(pairs), device=pairs.items.device).reshape(len(items), len(users)).T.flatten()
    return score_in_chunks(model, pairs.select(by_user)).reshape(len(users), len(items))


def _catalog_ranks(
    model: Recommender, users: Users, items: IntArray, scores: Sequence[Tensor], taken: Taken
) -> list[FloatArray]:
    """For each of `scores [U, I]` the ranks of the items among all that the user never took, `[I x U]`, ties as in
    `_ranks`."""
    found = [np.empty((len(items), len(users)), dtype=np.float32) for _ in scores]
    for u, user in enumerate(users.ids.tolist()):
        one = users.select(torch.tensor([u], device=users.ids.device))
        every = np.nan_to_num(catalog_scores(model, one, len(model.catalog))[0], nan=-np.inf)
        for ranks, own in zip(found, scores, strict=True):
            for n, item in enumerate(items.tolist()):
                shown = every.copy()
                shown[item] = np.nan_to_num(float(own[u, n]), nan=-np.inf)
                above, tied, _ = place_of(item, shown, taken.of(user)).tolist()
                ranks[n, u] = 1 + above + tied / 2
    return [ranks.reshape(-1) for ranks in found]


def _ranks(scores: Tensor, rivals: Tensor) -> Floats:
    """`[I, U]`: the rank of each of `scores [U, I]` among itself and the user's `rivals [U, C]`, from 1.

    Ties count at their mean; not a number stands last, together with all others of its kind.
    """
    own, others = (torch.nan_to_num(part.double().cpu(), nan=-torch.inf) for part in (scores, rivals))
    own = own[:, None, :]
    above = (others[:, :, None] > own).sum(dim=1)
    level = (others[:, :, None] == own).sum(dim=1)
    ranks: Floats = (1 + above + level / 2).T.numpy()
    return ranks

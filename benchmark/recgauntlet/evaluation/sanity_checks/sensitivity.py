"""Sanity checks of sensitivity: changes move scores, as much on the test inputs as on inputs that nobody has seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from scipy.special import bdtr
from torch import Tensor

from recgauntlet.attacks.base import Attack
from recgauntlet.core.batch import Batch
from recgauntlet.core.card import TIERS, Threat
from recgauntlet.core.protocol import (
    DRAWN_QUERIES,
    DRAWS,
    FAR,
    LARGEST_REFUSED,
    LEAST_FELT,
    LEAST_HANDED,
    LEAST_LIKE_ELSEWHERE,
    LEAST_OF_TWIN,
    LEAST_P,
    MOST_LIKE_ELSEWHERE,
    SAME,
    SUBSET,
)
from recgauntlet.core.rng import Randomness
from recgauntlet.core.scoring import fit
from recgauntlet.evaluation.judge import score_in_chunks
from recgauntlet.evaluation.results import TierResult
from recgauntlet.evaluation.robustness import run_attack
from recgauntlet.evaluation.sanity_checks import at_least, at_most
from recgauntlet.evaluation.setup import Trial, is_right
from recgauntlet.records.schema import LISTED, Gate
from recgauntlet.threats.budget import Budget
from recgauntlet.threats.registry import threat_model
from recgauntlet.threats.text import shown_texts
from recgauntlet.threats.victim import Victim


def sensitivity_checks(
    trial: Trial,
    threat: Threat,
    random: Attack,
    index: Tensor,
    rng: Randomness,
    twin: Victim | None,
    tiers: Sequence[TierResult] = (),
) -> tuple[Gate, ...]:
    """Random legal changes move the score, as much as they do elsewhere, and not much less than that of `twin`; so does
    something that the attacks of `tiers` returned."""
    budget = Budget.of(threat, "standard")
    first = _draw(trial, budget, random, index, rng.child("felt"), twin)
    drawn = [first]
    if twin is not None and threat.surface != "embedding":
        few = replace(budget, queries=DRAWN_QUERIES)
        drawn += [_draw(trial, few, random, index, rng.child(f"drawn/{number}"), twin) for number in range(DRAWS)]
    gates = [_felt(trial, threat, index, drawn, unmoved_by_attacks(trial, tiers)[index], rng.child("felt elsewhere"))]
    if first.theirs is not None and len(first.rows):
        gates.append(_beside_twin(trial, threat, first.moves, first.theirs))
    if threat.surface == "embedding":
        gates.append(_handed_embeddings(trial, threat, trial.batch.select(index)))
    else:
        gates.append(_elsewhere(trial, threat, first, rng.child("elsewhere")))
    if threat.surface == "candidate-text":
        gates.append(_refusals(trial, threat, random, rng.child("refusals")))
    return tuple(gates)


class _Drawn(NamedTuple):
    """Random legal changes of the examples at the places `rows [K]`."""

    rows: Tensor
    clean: Batch
    changed: Batch
    moves: Tensor
    """`[K]`: how far each moves the model's score."""
    theirs: Tensor | None
    """`[K]`: how far each moves the undefended twin's, relative to its spread."""

    def select(self, which: Tensor) -> _Drawn:
        theirs = None if self.theirs is None else self.theirs[which]
        return _Drawn(self.rows[which], self.clean.select(which), self.changed.select(which), self.moves[which], theirs)


def _draw(trial: Trial, budget: Budget, random: Attack, index: Tensor, rng: Randomness, twin: Victim | None) -> _Drawn:
    clean = trial.batch.select(index)
    changed = run_attack(trial, random, budget, index, rng).perturbed
    rows = torch.nonzero(threat_model(budget.threat).changed(trial.world.catalog, clean, changed)).squeeze(1)
    clean, changed = clean.select(rows), changed.select(rows)
    moves = (_scores(trial, changed) - trial.scores[index[rows]]).double().abs()
    theirs = None if twin is None else _moves_of_twin(trial, budget.threat, clean, changed, twin)
    return _Drawn(rows, clean, changed, moves, theirs)


def _scores(trial: Trial, batch: Batch) -> Tensor:
    return score_in_chunks(trial.model, batch, trial.samples)


def _spread(scores: Tensor) -> float:
    return max(float(scores.double().std()), 1e-300) if len(scores) > 1 else 1e-300


def unmoved_by_attacks(trial: Trial, tiers: Sequence[TierResult]) -> Tensor:
    """`[B]`: the test examples that were attacked (those that are wrong on the clean input are not) and whose score
    nothing that an attack returned has moved."""
    asked, moved = torch.zeros_like(trial.right), torch.zeros_like(trial.right)
    for attack in (attack for tier in tiers for attack in tier.attacks):
        rows = torch.nonzero(torch.from_numpy(attack.attacked)).squeeze(1).to(moved.device)
        change = (torch.from_numpy(attack.scores).to(trial.scores) - trial.scores[rows]).double().abs()
        asked[rows] = True
        moved[rows] |= ~(change <= SAME * _spread(trial.scores))
    return asked & ~moved


def _felt(
    trial: Trial, threat: Threat, index: Tensor, drawn: Sequence[_Drawn], unmoved: Tensor, rng: Randomness
) -> Gate:
    """Random legal changes move the score, or the model does not read what the attacker changes.

    Beside a twin it is a two-sided sign test on the attacked examples too: each example's move is compared with the
    twin's. Ratios of an honest model lie on both sides of their median alike; a model that answers some examples from
    memory, or goes back to originals that it knows, has many far below it, and none far above. A change that does not
    move drawn inputs either is no memory (a spelling that is mended wherever it stands). An example counts once,
    however many of its changes do. Listed are those that attacks tried to move and did not.
    """
    spread = _spread(trial.scores)
    moves = drawn[0].moves
    share = float((moves > SAME * spread).double().mean()) if len(moves) else 1.0
    p, beside, still = 1.0, "", index[:0]
    beside_twin = [(one, one.theirs) for one in drawn if one.theirs is not None and len(one.rows)]
    if beside_twin:
        ratios = [one.moves / spread / theirs.clamp(min=1e-300) for one, theirs in beside_twin]
        known = torch.cat([ratio[theirs > SAME] for (_, theirs), ratio in zip(beside_twin, ratios, strict=True)])
        usual = float(known.median()) if len(known) else 0.0
        low, high = torch.zeros_like(unmoved), torch.zeros_like(unmoved)
        for (one, theirs), ratio in zip(beside_twin, ratios, strict=True):
            silent = one.moves <= SAME * spread
            below = torch.nonzero((theirs > SAME) & ((ratio < usual / FAR) | silent)).squeeze(1)
            if threat.surface != "embedding" and len(below):
                there = _moves_elsewhere(trial, threat, one.select(below), rng)
                below = below[there > SAME * spread]
            low[one.rows[below]] = True
            high[one.rows] |= ~silent & ((ratio > usual * FAR) | (theirs <= SAME))
        still = index[low & unmoved]
        few, many = int(low.sum()), int(high.sum())
        asked = len({row for one, _ in beside_twin for row in one.rows.tolist()})
        p = min(1.0, 2 * float(bdtr(min(few, many), few + many, 0.5)))
        beside = (
            f"; beside the undefended twin {few} of {asked} examples move far less than the others and {many} far "
            f"more (two-sided sign test: p = {p:.2g}), and {len(still)} of the former were attacked and never moved"
        )
    return Gate(
        name="changes-are-felt",
        threat=threat.id,
        passed=share >= LEAST_FELT and p >= LEAST_P,
        value=share,
        limit=LEAST_FELT,
        explanation=f"{share:.1%} of random legal changes move the score{beside}; a model that undoes or ignores them "
        "by what it knows of the test withstands nothing that it would meet elsewhere",
        remedy="let the score depend on the texts, histories and embeddings that are handed in",
        examples=tuple(still[:LISTED].tolist()),
    )


def _moves_of_twin(trial: Trial, threat: Threat, clean: Batch, perturbed: Batch, twin: Victim) -> Tensor:
    """`[K]`: how far the same changes move the undefended twin's scores, relative to their spread."""
    theirs = threat_model(threat).rescaled(perturbed, trial.scale, twin.scale)
    before = score_in_chunks(twin.model, clean)
    return (score_in_chunks(twin.model, theirs) - before).double().abs() / _spread(before)


def _beside_twin(trial: Trial, threat: Threat, moves: Tensor, theirs: Tensor) -> Gate:
    """The same changes move the undefended twin's score, too; next to nothing beside that is no training's effect."""
    ratio = _ratio(moves / _spread(trial.scores), theirs)
    return at_least(
        name="moves-beside-its-twin",
        threat=threat.id,
        value=min(ratio, 1e300),
        limit=LEAST_OF_TWIN,
        explanation=f"random legal changes move scores {ratio:.2f} times as much (median, relative to the spread) as "
        "the undefended twin's",
        remedy="answer what is asked now, and not what was asked before or what the input should have been",
    )


def _moves_elsewhere(trial: Trial, threat: Threat, drawn: _Drawn, rng: Randomness) -> Tensor:
    """`[K]`: how far the same edits move the scores of inputs that nobody has seen: what stands around the edited
    places is drawn from the catalog."""
    model, catalog = threat_model(threat), trial.world.catalog
    edits = [model.edits(catalog, drawn.clean, drawn.changed, row) for row in range(len(drawn.clean))]
    unseen = model.unseen(catalog, drawn.clean, edits, rng)
    return (_scores(trial, model.rebuilt(catalog, unseen, edits)) - _scores(trial, unseen)).double().abs()


def _elsewhere(trial: Trial, threat: Threat, drawn: _Drawn, rng: Randomness) -> Gate:
    """The same edits count as much in inputs that nobody has seen.

    A model that goes back to an original which it knows (of the catalog, the test, or an earlier question) has none
    there.
    """
    there = _moves_elsewhere(trial, threat, drawn, rng)
    ratio = _ratio(drawn.moves, there)
    passed = LEAST_LIKE_ELSEWHERE <= ratio <= MOST_LIKE_ELSEWHERE
    return Gate(
        name="changes-count-as-elsewhere",
        threat=threat.id,
        passed=passed,
        value=min(ratio, 1e300),
        limit=LEAST_LIKE_ELSEWHERE,
        explanation=f"random legal changes move the scores of test inputs {ratio:.2f} times as much (median) as the "
        f"same edits move those of drawn inputs, where {LEAST_LIKE_ELSEWHERE:g} to {MOST_LIKE_ELSEWHERE:g} is allowed; "
        "a model that knows the clean inputs, and undoes or punishes changes of them, looks so",
        remedy="score what is handed in, and compare it with no list of known texts, users or earlier inputs",
    )


def _handed_embeddings(trial: Trial, threat: Threat, clean: Batch) -> Gate:
    """Embeddings that are handed in count as much as tokens or items: those of another candidate, put in place of a
    candidate's own, do what the other candidate does."""
    model, catalog = trial.model, trial.world.catalog
    with torch.no_grad():
        own = model.candidates(clean.items, shown_texts(catalog, clean))
        order = torch.argsort(own.tokens.mask.sum(dim=1), stable=True)
        partner = torch.empty_like(order).index_copy_(0, order, order.roll(1))
        alike = own.tokens.mask.sum(dim=1) == own.tokens.mask.sum(dim=1)[partner]
        rows, partner = torch.nonzero(alike).squeeze(1), partner[alike]
        if not len(rows):
            rows, partner = order, order
        part = clean.select(rows)
        texts = shown_texts(catalog, clean)
        by_items = model.embed(own).shape[1] != own.tokens.mask.shape[1] or "candidate-text" not in model.surfaces
        items = clean.items[partner] if by_items else part.items
        own = model.candidates(part.items, [texts[int(row)] for row in rows.tolist()])
        other = model.candidates(items, [texts[int(row)] for row in partner.tolist()])
        state = model.encode_user(part.users).select(part.rows)
        embedded = model.embed(own)
        before = model.score(state, own, embedded)
        handed = model.score(state, own, fit(model.embed(other), embedded.shape[1]))
        real = model.score(state, other, model.embed(other))
    ratio = _ratio((handed - before).double().abs(), (real - before).double().abs())
    return at_least(
        name="embeddings-count-in-full",
        threat=threat.id,
        value=min(ratio, 1e300),
        limit=LEAST_HANDED,
        explanation=f"another candidate's embeddings, handed in, move the score {ratio:.2f} times as much (median) as "
        "the other candidate itself; a model that draws given embeddings back to those it expects is not attacked",
        remedy="let score and encode_user use the embeddings that are handed in as they are",
    )


def _refusals(trial: Trial, threat: Threat, random: Attack, rng: Randomness) -> Gate:
    """Clicked candidates stay clicked under the kindest of a few random edits at the lowest tier, or edits as such are
    refused, which is a policy and no robustness."""
    index = torch.nonzero(trial.right & (trial.batch.labels > 0.5)).squeeze(1)[:SUBSET]
    fallen = 0.0
    if len(index):
        kind = replace(trial, batch=replace(trial.batch, labels=1 - trial.batch.labels), fresh=None)
        budget = Budget.of(threat, TIERS[0])
        edited = run_attack(kind, random, budget, index, rng).perturbed.select(torch.arange(len(index)).to(index))
        fallen = float((~is_right(_scores(trial, edited), trial.batch.select(index))).float().mean())
    return at_most(
        name="edits-are-not-refused",
        threat=threat.id,
        value=fallen,
        limit=LARGEST_REFUSED,
        explanation=f"{fallen:.1%} of the clicked candidates are lost by the kindest of a few random edits; to refuse "
        "what was edited is a policy, and withstands no attack on what it lets through",
        remedy="score an edited text by what it says",
    )


def _ratio(one: Tensor, other: Tensor) -> float:
    """Of two medians; 1 where neither moves."""
    if not len(one):
        return 1.0
    first, second = float(one.median()), float(other.median())
    return 1.0 if first == second else first / max(second, 1e-300)

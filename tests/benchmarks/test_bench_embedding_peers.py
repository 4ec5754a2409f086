"""The embedding suite beside the attacks of other libraries: the same model, examples, ball and evaluator."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from bench_embedding_peers import PEERS, Peer
from bench_figures import Figure, release
from bench_subject import Subject, survivors
from bench_timing import seconds_of, side_by_side
from bench_view import PeerView

from recgauntlet.attacks.suite import suite_ref
from recgauntlet.core.card import Tier
from recgauntlet.threats.budget import Budget

TIERS: tuple[Tier, ...] = ("low", "standard")
pytestmark = [pytest.mark.measures, pytest.mark.timeout(7200), pytest.mark.filterwarnings("ignore")]


@pytest.mark.parametrize("tier", TIERS)
def test_the_suite_finds_what_peers_find_and_is_faster(
    tier: Tier, subject: Subject, benchmark: Any, book: Callable[[Figure], None]
) -> None:
    trial, threat = subject.trial(), subject.threat("embedding")
    budget = Budget.of(threat, tier)
    strength = f"robust accuracy of the embedding suite less that of the best peer, {tier}"
    speed = f"seconds of a peer over those of the embedding suite until it is as strong, the least of all peers, {tier}"
    whole = f"seconds of the fastest peer over those of the whole embedding suite, {tier}"
    for peer in PEERS:
        if not peer.installed:
            book(Figure(f"{peer.name}, robust accuracy, {tier}", None, f"{peer.distribution} is not installed"))
    raced = [peer for peer in PEERS if peer.installed]
    if not raced:
        for name in (strength, speed, whole):
            book(Figure(name, None, "no peer is installed"))
        pytest.skip("no peer is installed")
    index = torch.nonzero(trial.right).squeeze(1)
    view = PeerView(trial, index, budget)
    ours = survivors(trial, threat, tier)
    left: dict[Peer, int] = {}
    seconds: dict[Peer, float] = {}
    until: dict[Peer, float] = {}
    notes: list[str] = []
    for peer in raced:
        returned: list[torch.Tensor] = []
        seconds[peer] = seconds_of(lambda peer=peer, returned=returned: returned.append(peer.run(view)))
        findings = view.found(returned[0])
        left[peer] = int((~findings.broken).sum())
        until[peer] = seconds_of(lambda peer=peer: survivors(trial, threat, tier, left[peer]))
        missed = int((findings.broken & ours[index]).sum())
        detail = f"{peer.distribution} {release(peer.distribution)}; {findings.illegal} inputs outside the ball"
        detail += f"; breaks {missed} examples that the suite does not"
        share = left[peer] / len(ours)
        notes.append(f"{peer.name} {share:.1%}")
        book(_figure(f"{peer.name}, robust accuracy, {tier}", share, detail, subject))
    robust = int(ours.sum()) / len(ours)
    best = min(left.values()) / len(ours)
    book(
        _figure(
            strength,
            robust - best,
            f"suite {robust:.1%}; {', '.join(notes)}; clean {float(trial.right.float().mean()):.1%} of {len(ours)}",
            subject,
            at_most=0.0,
        )
    )
    # a peer that the suite never equals is raced against all of it; the strength above has missed its promise then
    closest = min(raced, key=lambda peer: seconds[peer] / until[peer])
    sides = side_by_side(
        benchmark,
        lambda: closest.run(view),
        lambda: survivors(trial, threat, tier, left[closest]),
        rounds=3,
        warm=False,
    )
    told = ", ".join(f"{peer.name} {seconds[peer]:.1f} s, suite {until[peer]:.1f} s" for peer in raced)
    detail = f"suite {sides.second:.2f} s, {closest.name} {sides.first:.2f} s; each once: {told}"
    book(_figure(speed, sides.ratio, detail, subject, at_least=1.5))
    fastest = min(raced, key=seconds.__getitem__)
    in_full = seconds_of(lambda: survivors(trial, threat, tier))
    detail = f"suite {in_full:.2f} s to the end, {fastest.name} {seconds[fastest]:.2f} s; once each"
    book(_figure(whole, seconds[fastest] / in_full, detail, subject))
    assert robust <= best, f"the suite leaves {robust:.4f} where a peer leaves {best:.4f}"


def _figure(
    name: str,
    measured: float,
    detail: str,
    subject: Subject,
    *,
    at_most: float | None = None,
    at_least: float | None = None,
) -> Figure:
    return Figure(name, measured, detail, at_most, at_least, subject.name, suite_ref().id)

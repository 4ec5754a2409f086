"""The embedding suite beside the attacks of other libraries: the same model, examples, ball and evaluator."""

from __future__ import annotations

from functools import partial
from importlib.metadata import version

import pytest
import torch
from bench_embedding_peers import PEERS, Peer
from bench_figures import Book
from bench_subject import Subject, survivors
from bench_timing import seconds_of, side_by_side
from bench_view import PeerView

from recgauntlet.core.card import Tier
from recgauntlet.threats.budget import Budget

TIERS: tuple[Tier, ...] = ("low", "standard")


@pytest.mark.parametrize("tier", TIERS)
def test_the_suite_finds_what_peers_find_and_is_faster(tier: Tier, subject: Subject, book: Book) -> None:
    raced = [peer for peer in PEERS if peer.installed]
    missing = [peer.distribution for peer in PEERS if not peer.installed]
    if not raced:
        pytest.skip(f"not installed: {', '.join(missing)}")
    trial, threat = subject.trial(), subject.threat("embedding")
    book_attack = partial(book, "attacks", subject=subject.name)
    index = torch.nonzero(trial.right).squeeze(1)
    view = PeerView(trial, index, Budget.of(threat, tier))
    ours = survivors(trial, threat, tier)
    left: dict[Peer, int] = {}
    seconds: dict[Peer, float] = {}
    until: dict[Peer, float] = {}
    for peer in raced:
        returned: list[torch.Tensor] = []
        seconds[peer] = seconds_of(lambda peer=peer, returned=returned: returned.append(peer.run(view)))
        findings = view.found(returned[0])
        left[peer] = int((~findings.broken).sum())
        until[peer] = seconds_of(lambda peer=peer: survivors(trial, threat, tier, left[peer]))
        missed = int((findings.broken & ours[index]).sum())
        detail = f"{peer.distribution} {version(peer.distribution)}; {findings.illegal} inputs outside the ball"
        detail += f"; breaks {missed} examples that the suite does not"
        book_attack(f"{peer.name}, robust accuracy, {tier}", left[peer] / len(ours), detail)
    robust, best = int(ours.sum()) / len(ours), min(left.values()) / len(ours)
    strengths = [f"{peer.name} {left[peer] / len(ours):.1%}" for peer in raced]
    detail = f"suite {robust:.1%}; {', '.join(strengths)}; clean {float(trial.right.float().mean()):.1%} of {len(ours)}"
    detail += f"; not installed: {', '.join(missing)}" if missing else ""
    book_attack(f"robust accuracy, embedding suite minus best peer, {tier}", robust - best, detail, at_most=0.0)
    # a peer that the suite never equals is raced against all of it; the strength above has missed its target then
    closest = min(raced, key=lambda peer: seconds[peer] / until[peer])
    sides = side_by_side(
        lambda: closest.run(view), lambda: survivors(trial, threat, tier, left[closest]), rounds=3, warm=False
    )
    once = ", ".join(f"{peer.name} {seconds[peer]:.1f} s, suite {until[peer]:.1f} s" for peer in raced)
    book_attack(
        f"seconds, peer ÷ embedding suite at equal strength, worst case, {tier}",
        sides.ratio,
        f"suite {sides.second:.2f} s, {closest.name} {sides.first:.2f} s; each once: {once}",
        at_least=1.5,
    )
    fastest = min(raced, key=seconds.__getitem__)
    in_full = seconds_of(lambda: survivors(trial, threat, tier))
    detail = f"suite {in_full:.2f} s to the end, {fastest.name} {seconds[fastest]:.2f} s; once each"
    book_attack(f"seconds, fastest peer ÷ whole embedding suite, {tier}", seconds[fastest] / in_full, detail)
    assert robust <= best, f"the suite leaves {robust:.4f} where a peer leaves {best:.4f}"

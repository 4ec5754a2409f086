"""How natural the edits are by which attacks on texts broke a row's examples."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from recgauntlet.core.card import RANKING_TIER, Tier
from recgauntlet.core.types import BoolArray, IntArray
from recgauntlet.leaderboard.natural_schema import AttackEdits, NaturalEdits, StayBroken
from recgauntlet.metrics.bootstrap import Floats, estimates, resampled_means
from recgauntlet.records.edits import attacks_up_to, broken_up_to, medians, natural_up_to, values_of
from recgauntlet.records.naturalness import Naturalness
from recgauntlet.records.schema import AttackOutcome, LoneAttack, RunRecord, ThreatOutcome

EDIT_COLUMNS = ("words_changed", "characters_changed", "perplexity_ratio", "cosine")


def natural_edits(records: Sequence[RunRecord], threat: str) -> NaturalEdits | None:
    """The edits of texts under `threat` at the medium tier, over all seeds; None where a record has none."""
    found = [outcome for record in records for outcome in record.threats if outcome.id == threat and outcome.applicable]
    if len(found) < len(records) or not all(_is_counted(outcome) for outcome in found):
        return None
    reasons = [record.naturalness.reason for record in records if record.naturalness is not None]
    examples = np.arange(found[0].tiers[0].robust.n)
    whole = [(broken_up_to(outcome, RANKING_TIER), natural_up_to(outcome, RANKING_TIER)) for outcome in found]
    same = len({outcome.subset for outcome in found}) == 1
    return NaturalEdits(
        tier=RANKING_TIER,
        attacks=_attacks(found),
        found=_staying(whole, examples),
        of_any=_staying([_by_any(outcome) for outcome in found], np.array(found[0].subset)) if same else None,
        reason=next(filter(None, reasons), ""),
    )


def edits_up_to(outcome: ThreatOutcome, tier: Tier) -> dict[str, float | None]:
    """Columns of a DataFrame: medians over the edits of the examples that were broken at `tier` or below, and the share
    of natural ones; empty where texts are not edited."""
    found = [attack.naturalness for attack in attacks_up_to(outcome, tier)]
    counted = [one for one in found if one is not None]
    if not counted or len(counted) < len(found):
        return {}
    broken, natural = broken_up_to(outcome, tier), natural_up_to(outcome, tier)
    share = None if natural is None or not broken.any() else float(natural.sum() / broken.sum())
    return dict(zip(EDIT_COLUMNS, medians(counted), strict=True)) | {"stay_broken": share}


def edits_by_example(outcome: ThreatOutcome, tier: Tier) -> dict[str, npt.NDArray[np.float64]]:
    """Columns of a DataFrame: what the edit that broke each example `[B]` at `tier` or below changes; not a number
    where there is none."""
    out = {name: np.full(outcome.tiers[0].robust.n, np.nan) for name in EDIT_COLUMNS}
    for attack in attacks_up_to(outcome, tier):
        found = attack.naturalness
        if found is not None:
            rows = np.flatnonzero(attack.broken.to_bool())
            columns = (found.words, found.characters, found.perplexity_ratio, found.cosine)
            for name, column in zip(EDIT_COLUMNS, columns, strict=True):
                if column is not None:
                    out[name][rows] = values_of(column)
    return out


def _is_counted(outcome: ThreatOutcome) -> bool:
    runs: list[AttackOutcome | LoneAttack] = [*attacks_up_to(outcome, RANKING_TIER), *outcome.alone]
    return bool(runs) and all(run.naturalness is not None for run in runs)


def _attacks(found: Sequence[ThreatOutcome]) -> tuple[AttackEdits, ...]:
    """Each attack by itself at the medium tier, in the order in which they run."""
    runs: dict[str, list[Naturalness]] = {}
    for outcome in found:
        for lone in outcome.alone:
            if lone.tier == RANKING_TIER and lone.naturalness is not None:
                runs.setdefault(lone.attack, []).append(lone.naturalness)
    out = []
    for attack, own in runs.items():
        passes = [bits for one in own if (bits := one.natural()) is not None]
        natural = sum(int(bits.sum()) for bits in passes) if len(passes) == len(own) else None
        out.append(AttackEdits(attack, sum(one.words.n for one in own), *medians(own), natural))
    return tuple(out)


def _by_any(outcome: ThreatOutcome) -> tuple[BoolArray, BoolArray | None]:
    """`[K]`, `[K]`: the examples of the ablation that some attack broke at the medium tier, and by a natural edit."""
    broken = np.zeros(len(outcome.subset), dtype=np.bool_)
    natural, measured = broken.copy(), True
    for lone in outcome.alone:
        if lone.tier != RANKING_TIER:
            continue
        bits = lone.broken.to_bool()
        broken |= bits
        passes = lone.naturalness.natural() if lone.naturalness is not None else None
        if passes is None:
            measured = False
        else:
            natural[np.flatnonzero(bits)[passes]] = True
    return broken, natural if measured else None


def _staying(outcomes: Sequence[tuple[BoolArray, BoolArray | None]], examples: IntArray) -> StayBroken | None:
    """Which of the broken `examples [N]` are broken by a natural edit; seeds and examples are resampled, whole pairs
    as one, as in every other interval of a row."""
    broken = np.stack([each for each, _ in outcomes])
    measured = [natural for _, natural in outcomes if natural is not None]
    if len(measured) < len(outcomes):
        return None
    natural, share = np.stack(measured), None
    if broken.any():
        layers = np.stack([natural, broken], axis=2).astype(np.float64)
        pairs, counts = np.unique(examples // 2, return_counts=True)
        if (counts == 2).all() and (np.diff(examples) > 0).all():
            layers = layers.reshape(len(broken), len(pairs), 2, 2).mean(axis=2)
        means = resampled_means(layers)
        shares: Floats = np.divide(means[:, :1], means[:, 1:], out=np.zeros_like(means[:, :1]), where=means[:, 1:] > 0)
        (share,) = estimates([float(natural.sum() / broken.sum())], shares)
    return StayBroken(int(broken.sum()), int(natural.sum()), share)

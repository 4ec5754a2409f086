"""Sanity checks of the clean model: one that has learned nothing, or gives one answer, has nothing to attack."""

from __future__ import annotations

import math

import numpy as np
import torch

from recgauntlet.core.dataset import TaskData
from recgauntlet.core.protocol import (
    LARGEST_INFLATION,
    LARGEST_LOGIT,
    LARGEST_LOST_SHARE,
    LARGEST_OFFSET,
    LARGEST_SHARE,
    LEAST_EVENNESS,
    STANDARD_ERRORS,
    SUBSET,
    TEST_ADVANTAGE,
)
from recgauntlet.core.recommender import embedding_mask
from recgauntlet.core.types import BoolArray
from recgauntlet.data.batches import pairs_to_batch
from recgauntlet.evaluation.judge import score_in_chunks
from recgauntlet.evaluation.sanity_checks import at_least, at_most
from recgauntlet.evaluation.setup import Trial, is_right
from recgauntlet.metrics.ranking import Floats, auc, mcc
from recgauntlet.records.schema import Gate
from recgauntlet.threats.embedding_scale import EmbeddingScale
from recgauntlet.threats.lexicon import misspellings


def clean_score_checks(trial: Trial) -> tuple[Gate, ...]:
    """Finite scores, no near-constant answer, better than chance by AUC and by MCC, logits of a usual size."""
    scores = trial.scores.cpu().numpy().astype(np.float64)
    labels = trial.batch.labels.cpu().numpy() > 0.5
    finite = np.isfinite(scores)
    positive = float(np.mean(scores > 0))
    share = max(positive, 1 - positive)
    area = float(auc(labels, scores)) if finite.all() else 0.0
    # twice the standard error of the share of ordered pairs under chance
    area_limit = 0.5 + 1.0 / np.sqrt(len(labels) / 2)
    correlation, correlation_limit = mcc(labels, scores), 2.0 / math.sqrt(len(labels))
    usual = float(np.quantile(np.abs(scores[finite]), 0.95)) if finite.any() else math.inf
    return (
        at_most(
            name="finite-scores",
            value=float(np.mean(~finite)),
            limit=0.0,
            explanation=f"{np.mean(~finite):.1%} of the scores are not numbers",
            remedy="look for overflow, a division by zero or a logarithm of zero in the model",
        ),
        at_most(
            name="not-constant",
            value=share,
            limit=LARGEST_SHARE,
            explanation=f"{share:.1%} of the predictions are the same on balanced examples; the nearer a model is to a "
            "constant, the less can be attacked, so its robustness means nothing",
            remedy="lower epsilon, lengthen the warm-up, or weigh the adversarial loss less",
        ),
        at_least(
            name="better-than-chance",
            value=area,
            limit=float(area_limit),
            explanation=f"the AUC of {area:.3f} must exceed {area_limit:.3f} (chance and two standard errors); the "
            "model has learned nothing that could be attacked",
            remedy="train longer, or lower epsilon",
        ),
        at_least(
            name="decides-better-than-chance",
            value=correlation,
            limit=correlation_limit,
            explanation=f"Matthews' correlation of decisions and labels is {correlation:.3f}, where chance and two "
            f"standard errors give {correlation_limit:.3f}; the scores may be in order, but 0 does not divide them",
            remedy="train with a loss whose decision boundary is 0, such as the binary cross-entropy",
        ),
        _boundary(labels, scores),
        at_most(
            name="logits-of-usual-size",
            value=usual,
            limit=LARGEST_LOGIT,
            explanation=f"one logit in twenty exceeds {usual:.3g}; beyond about 100 the cross-entropy has no gradient "
            "in single precision, and attacks that climb it see nothing",
            remedy="do not multiply logits; the decision is the same without",
        ),
    )


def _boundary(labels: BoolArray, scores: Floats) -> Gate:
    """The decision boundary where it belongs: an attacker who must cross another one has further to go."""
    scores = np.nan_to_num(scores)
    order = np.argsort(scores, kind="stable")
    # below the k-th lowest score nothing is clicked: right are the unclicked below and the clicked from there on
    right = np.concatenate([[labels.sum()], labels.sum() + np.cumsum(np.where(labels[order], -1, 1))])
    cuts = np.concatenate([[True], np.diff(scores[order]) > 0, [True]])
    gain = float(right[cuts].max() - ((scores > 0) == labels).sum()) / len(labels)
    return at_most(
        name="boundary-at-zero",
        value=gain,
        limit=LARGEST_OFFSET,
        explanation=f"with another decision boundary than 0 accuracy would be {gain:.1%} higher; scores that are "
        "shifted to one side are hard to push to the other",
        remedy="train with a loss whose decision boundary is 0, and add nothing to its logits",
    )


def embedding_evenness(trial: Trial) -> Gate:
    """Embeddings that are of about one size, so that their mean norm is a measure of all."""
    candidates = trial.model.candidates(trial.batch.items)
    with torch.no_grad():
        embedded = trial.model.embed(candidates)
    norms = embedded.norm(dim=2)[embedding_mask(candidates, embedded)]
    value = float(norms.median() / norms.mean()) if float(norms.mean()) > 0 else 0.0
    return at_least(
        name="embeddings-of-even-size",
        value=value,
        limit=LEAST_EVENNESS,
        explanation=f"the median norm of an embedding is {value:.3g} times the mean; where a few are large and most "
        "are small, a radius relative to the mean says little",
        remedy="embed what the model reads, and nothing else",
    )


def unknown_token_rate(trial: Trial) -> Gate:
    """Every word keeps a token when it is misspelt: a word that vanishes was not withstood but not read."""
    texts = [trial.world.catalog.texts[i] for i in torch.unique(trial.batch.items).tolist()[:SUBSET]]
    misspelt, places = [], []
    for text in texts:
        words = text.split()
        for place in sorted(range(len(words)), key=lambda place: -len(words[place]))[:1]:
            variants = misspellings(words[place])
            if variants:
                words[place] = variants[len(variants) // 2]
                misspelt.append(" ".join(words))
                places.append(place)
    lost = 0.0
    if misspelt:
        read = trial.model.tokenize(misspelt).word_of_token
        there = (read == torch.tensor(places, device=read.device)[:, None]).any(dim=1)
        cut = (read >= 0).sum(dim=1) >= trial.model.token_length  # a long text ends before its last words anyway
        lost = float((~there & ~cut).float().mean())
    return at_most(
        name="words-are-read",
        value=lost,
        limit=LARGEST_LOST_SHARE,
        explanation=f"{lost:.1%} of the texts with one misspelt word lose that word altogether; what the tokenizer "
        "drops cannot be attacked, and cannot help either",
        remedy="give unknown words a token of their own",
    )


def embedding_inflation(trial: Trial, twin: EmbeddingScale) -> Gate:
    """Embeddings of about the size of the undefended twin's: budgets are relative to it."""
    ratio = trial.scale.norm / twin.norm if twin.norm > 0 else math.inf
    value = max(ratio, 1 / ratio) if 0 < ratio < math.inf else math.inf
    return at_most(
        name="embeddings-of-usual-size",
        value=value,
        limit=LARGEST_INFLATION,
        explanation=f"the mean norm of an embedding is {ratio:.3g} times the undefended twin's; budgets are relative "
        "to it, and a mean that few large or many small embeddings make is no measure of what matters",
        remedy="train the embeddings with the same start and weight decay as the undefended model",
    )


def memorization(trial: Trial, data: TaskData) -> Gate:
    """Test accuracy not above validation accuracy beyond chance: only the evaluator may know the test examples."""
    batch = pairs_to_batch(data.valid, np.arange(min(len(data.valid), len(trial.batch) // 2))).to(trial.model.device)
    valid = is_right(score_in_chunks(trial.model, batch, trial.samples), batch).float()
    test = trial.right.float()
    gap = float(test.mean() - valid.mean())
    error = math.sqrt(float(test.var(correction=0)) / len(test) + float(valid.var(correction=0)) / len(valid))
    limit = TEST_ADVANTAGE + STANDARD_ERRORS * error
    return at_most(
        name="no-better-on-test",
        value=gap,
        limit=limit,
        explanation=f"{float(test.mean()):.1%} of the test answers are right and {float(valid.mean()):.1%} of the "
        "validation answers; a model that knows the test examples looks so",
        remedy="keep the test examples out of training and serving",
    )

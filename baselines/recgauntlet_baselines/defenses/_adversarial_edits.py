"""The search of discrete adversarial training: random legal edits, ranked by gradient; the best ones are scored."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from recgauntlet.core.batch import Batch, Candidates, Tokens, Users, UserState
from recgauntlet.core.recommender import Recommender
from recgauntlet.core.types import PAD
from recgauntlet_baselines.defenses._history_edits import DELETE, REPLACE, HistoryEdits, ItemMoves
from recgauntlet_baselines.defenses._text_edits import Draft, TextEdits, WordMoves


def worst_texts(
    model: Recommender,
    state: UserState,
    batch: Batch,
    edits: TextEdits,
    generator: np.random.Generator,
    sampled: int,
    scored: int,
) -> list[str]:
    """The texts of `batch [B]` after up to `edits.rounds` legal edits that push each score to the wrong side.

    `state`: a row an example, without a graph.
    """
    shown = batch.texts or [model.catalog.texts[i] for i in batch.items.tolist()]
    drafts = [Draft.of(text) for text in shown]
    wrong_side = 1 - 2 * batch.labels
    for _ in range(edits.rounds):
        moves = edits.draw(drafts, generator, sampled)
        if not moves.words:
            break
        gain = word_gains(model, state, batch.items, wrong_side, drafts, moves, edits, generator)
        top, columns = gain.topk(min(scored, sampled), dim=1)
        possible = torch.isfinite(top)
        options = _options(drafts, moves, columns, possible)
        if scored > 1:
            rows = torch.arange(len(batch), device=batch.rows.device).repeat_interleave(columns.shape[1])
            texts = [_edited(drafts[b], option) for b, several in enumerate(options) for option in several]
            with torch.no_grad():
                scores = model.score(state.select(rows), model.candidates(batch.items[rows], texts))
            damage = (wrong_side[rows] * scores.float()).view(columns.shape).masked_fill(~possible, -torch.inf)
            order = damage.argsort(dim=1, descending=True, stable=True).tolist()
        else:
            order = [[0]] * len(drafts)
        drafts = [
            edits.first_legal(draft, (several[k] for k in ranks)) or draft
            for draft, several, ranks in zip(drafts, options, order, strict=True)
        ]
    return [draft.text for draft in drafts]


def word_gains(
    model: Recommender,
    state: UserState,
    items: Tensor,
    wrong_side: Tensor,
    drafts: list[Draft],
    moves: WordMoves,
    edits: TextEdits,
    generator: np.random.Generator,
) -> Tensor:
    """`[B, M]`: what each move promises to first order, `wrong_side [B]` times `slope of the place · (new - old)`; -inf
    where the model does not read the place.

    What a word behind the text would gain is read off a popular word that is put there for the question.
    """
    texts = [draft.text for draft in drafts]
    if edits.appends and edits.vocabulary:
        asked = edits.vocabulary[int(generator.integers(len(edits.vocabulary)))]
        texts = [f"{text} {asked}" for text in texts]
    with torch.no_grad():
        candidates = model.candidates(items, texts)
        embedded = model.embed(candidates)
        vectors = _word_vectors(model, moves.words)
    with torch.enable_grad():
        handle = embedded.detach().requires_grad_(True)
        scores = model.score(state, candidates, handle)
        (gradient,) = torch.autograd.grad((wrong_side * scores).sum(), handle)
    slopes, current, read = _by_word(candidates.tokens, gradient.float(), embedded.float())
    place = torch.from_numpy(moves.place).to(slopes.device)
    word = torch.from_numpy(moves.word).to(slopes.device)
    inside = (place >= 0) & (place < slopes.shape[1])
    at = place.clamp(min=0, max=slopes.shape[1] - 1)
    row = torch.arange(len(drafts), device=slopes.device)[:, None]
    gain = (slopes[row, at] * vectors[word]).sum(dim=2) - current[row, at]
    return gain.masked_fill(~(inside & read[row, at]), -torch.inf)


def _by_word(tokens: Tokens, gradient: Tensor, embedded: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Summed over the tokens of each word: the gradient `[B, W, D]`, its product with the embeddings `[B, W]`; and
    which words have a token at all, `[B, W]`."""
    words = tokens.word_of_token
    count = int(words.max()) + 1
    place = torch.where(words == PAD, count, words)  # special tokens and padding are gathered past the end
    slopes = gradient.new_zeros((len(words), count + 1, gradient.shape[2]))
    slopes.scatter_add_(1, place.unsqueeze(-1).expand_as(gradient), gradient)
    current = gradient.new_zeros((len(words), count + 1))
    current.scatter_add_(1, place, (gradient * embedded).sum(dim=2))
    read = torch.zeros_like(current, dtype=torch.bool).scatter_(1, place, True)
    return slopes[:, :count], current[:, :count], read[:, :count]


def _word_vectors(model: Recommender, words: tuple[str, ...]) -> Tensor:
    """`[V, D]`: the mean of each word's token embeddings when it stands alone."""
    candidates = model.candidates(torch.zeros(len(words), dtype=torch.long, device=model.device), words)
    own = (candidates.tokens.word_of_token != PAD).unsqueeze(-1)
    embedded = model.embed(candidates).float()
    return (embedded * own).sum(dim=1) / own.sum(dim=1).clamp(min=1)


def _options(drafts: list[Draft], moves: WordMoves, columns: Tensor, possible: Tensor) -> list[list[tuple[int, str]]]:
    """The moves at `columns [B, K]` of each text, a place of -1 where one is not `possible`."""
    chosen = columns.cpu().numpy()
    place = np.where(possible.cpu().numpy(), np.take_along_axis(moves.place, chosen, axis=1), -1).tolist()
    word = np.take_along_axis(moves.word, chosen, axis=1).tolist()
    return [
        [(p, moves.words[w]) for p, w in zip(places, words, strict=True)]
        for places, words in zip(place, word, strict=True)
    ]


def _edited(draft: Draft, option: tuple[int, str]) -> str:
    place, word = option
    return draft.text if place < 0 else " ".join((*draft.words[:place], word, *draft.words[place + 1 :]))


def worst_histories(
    model: Recommender, batch: Batch, edits: HistoryEdits, generator: np.random.Generator, sampled: int
) -> Tensor:
    """The histories `[B, H]` of `batch` after up to `edits.rounds` legal edits that push each score to the wrong side
    to first order. To try one would mean to encode a user, so the first of the ranking is taken."""
    device = batch.rows.device
    ids, wrong_side = batch.users.ids[batch.rows], 1 - 2 * batch.labels
    with torch.no_grad():
        candidates = model.candidates(batch.items, batch.texts)
    histories = edits.start(batch.histories())
    for _ in range(edits.rounds):
        moves = edits.draw(histories, generator, sampled)
        gain = item_gains(model, Users(ids, histories.shown.to(device)), candidates, wrong_side, moves)
        operation, place, item = moves.at(gain.argmax(dim=1))
        histories = histories.after(operation, place, item)
    return histories.shown.to(device)


def item_gains(
    model: Recommender, users: Users, candidates: Candidates, wrong_side: Tensor, moves: ItemMoves
) -> Tensor:
    """`[B, M]`, on the CPU: what each move promises to first order.

    A replacement promises `slope · (new - old)`, an insertion `slope · (new - mean)` and a deletion
    `slope · (mean - old)`, `mean` over the history: exact for a user vector that is a mean of items.
    """
    with torch.no_grad():
        embedded = model.embed_history(users)
    with torch.enable_grad():
        handle = embedded.detach().requires_grad_(True)
        scores = model.score(model.encode_user(users, handle), candidates)
        (gradient,) = torch.autograd.grad((wrong_side * scores).sum(), handle)
    gradient, embedded = gradient.float().cpu(), embedded.float().cpu()
    real = (users.histories.cpu() != PAD).unsqueeze(-1)
    mean = (embedded * real).sum(dim=1, keepdim=True) / real.sum(dim=1, keepdim=True).clamp(min=1)
    at = moves.place.clamp(min=0)
    row = torch.arange(len(at))[:, None]
    at_old = (gradient * embedded).sum(dim=2)[row, at]
    at_mean = (gradient * mean).sum(dim=2)[row, at]
    items, inverse = torch.unique(moves.item, return_inverse=True)
    with torch.no_grad():
        alone = Users(torch.zeros_like(items), items[:, None])
        vectors = model.embed_history(alone.to(model.device))[:, 0].float().cpu()
    at_new = (gradient[row, at] * vectors[inverse]).sum(dim=2)
    new = torch.where(moves.operation == DELETE, at_mean, at_new)
    old = torch.where((moves.operation == DELETE) | (moves.operation == REPLACE), at_old, at_mean)
    return (new - old).masked_fill(moves.place < 0, -torch.inf)

"""Checks of a model's four parts: return values, consistency, independence of rows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, get_args

import torch
from torch import Tensor

from recgauntlet.core.batch import Batch, Tokens, Users, UserState
from recgauntlet.core.protocol import SAME
from recgauntlet.core.recommender import Recommender, TrainingRecipe, constructor_defaults, embedding_mask
from recgauntlet.core.types import PAD, Surface
from recgauntlet.evaluation.setup import change
from recgauntlet.testing.check import require, rule
from recgauntlet.testing.constructor import require_constructor
from recgauntlet.testing.subjects import ModelSubject, scores, texts_of
from recgauntlet.testing.tiny import TOKENS

STRANGE = ("", "   ", "zqxjkv", "Bread  and\tbutter", "naïve 東京 ☃", "a " * 60, "x" * 500)
SURFACES = get_args(Surface)


@rule("see docs/extend/model.md", needs_run=False)
def constructor(subject: ModelSubject) -> None:
    """A subclass of Recommender that takes the catalog, token_length and keywords with plain defaults."""
    plugin: Any = subject.plugin
    require(
        isinstance(plugin, type) and issubclass(plugin, Recommender),
        f"{plugin!r} is no subclass of Recommender",
        "let the class inherit from recgauntlet.Recommender, and the entry point name the class",
    )
    require_constructor(plugin, ("catalog",), ("token_length",))
    require(
        plugin.hyperparameters() == constructor_defaults(plugin),
        f"hyperparameters() gives {plugin.hyperparameters()}, the arguments are {constructor_defaults(plugin)}",
        "do not override hyperparameters(); it repeats the constructor's arguments",
    )
    surfaces = getattr(plugin, "surfaces", None)
    require(
        isinstance(surfaces, frozenset) and bool(surfaces) and surfaces <= set(SURFACES),
        f"surfaces is {surfaces!r}",
        f"write surfaces = frozenset({{...}}) with some of: {', '.join(SURFACES)}",
    )
    model = subject.build(0)
    require(
        isinstance(getattr(model, "recipe", None), TrainingRecipe),
        "the model has no training recipe",
        "write recipe = TrainingRecipe(epochs=..., batch_size=..., learning_rate=...) in the class",
    )
    require(
        model.catalog is subject.data.catalog and model.token_length == TOKENS,
        "the model does not know its catalog or its token_length",
        "call super().__init__(catalog, token_length=token_length) first",
    )


@rule("see docs/extend/model.md for what tokenize gives", needs_run=False)
def tokens(subject: ModelSubject) -> None:
    """`tokenize` returns integers of one shape, 1 to token_length tokens per text, and the word of each token."""
    texts = [*subject.data.catalog.texts[:8], *STRANGE]
    found: Any = subject.untrained.tokenize(texts)
    require(isinstance(found, Tokens), f"tokenize gives {type(found).__name__}", "return recgauntlet.Tokens")
    shapes = {tuple(part.shape) for part in (found.ids, found.mask, found.word_of_token)}
    require(
        len(shapes) == 1 and found.ids.ndim == 2 and len(found.ids) == len(texts),
        f"{len(texts)} texts give tensors of the shapes {sorted(shapes)}",
        "return ids, mask and word_of_token of one shape [B, L]",
    )
    require(
        found.mask.dtype == torch.bool and not found.ids.is_floating_point(),
        f"the mask is {found.mask.dtype}, the ids are {found.ids.dtype}",
        "make the mask of bool and the ids of int64",
    )
    count = found.mask.sum(dim=1)
    for text, number in zip(texts, count.tolist(), strict=True):
        require(
            1 <= number <= TOKENS,
            f"{text[:20]!r} has {number} tokens where 1 to {TOKENS} are allowed",
            "cut to token_length, and give an empty text one token (the unknown word)",
        )
    require(
        bool((found.word_of_token[~found.mask] == PAD).all()),
        "padding has a word",
        "put -1 into word_of_token where the mask is false",
    )
    for row, text in enumerate(texts):
        words = [word for word in found.word_of_token[row][found.mask[row]].tolist() if word != PAD]
        most = max(1, len(text.split()))
        require(
            words == sorted(words) and all(0 <= word < most for word in words),
            f"the tokens of {text[:20]!r} name the words {words} of {most}",
            "count the words of text.split() from 0, in order",
        )


@rule("see docs/extend/model.md for the shapes", needs_run=False)
def shapes(subject: ModelSubject) -> None:
    """embed [B, L, D], embed_history [U, H, D], encode_user tensors of U rows, score [B]: finite, for one or many."""
    model = subject.untrained
    for batch in (subject.batch, single(subject.batch, 0)):
        users, count = batch.users, len(batch)
        candidates = model.candidates(batch.items)
        embedded: Any = model.embed(candidates)
        require(
            isinstance(embedded, Tensor)
            and embedded.ndim == 3
            and embedded.shape[:2] in {(count, candidates.tokens.ids.shape[1]), (count, 1)},
            f"embed gives {_shape(embedded)} for {count} candidates of {candidates.tokens.ids.shape[1]} tokens",
            "return [B, L, D], or [B, 1, D] for a model of item ids",
        )
        past: Any = model.embed_history(users)
        wanted = tuple(users.histories.shape)
        require(
            isinstance(past, Tensor) and past.ndim == 3 and tuple(past.shape[:2]) == wanted,
            f"embed_history gives {_shape(past)} for histories of shape {wanted}",
            "return [U, H, D]: one vector an item",
        )
        state: Any = model.encode_user(users)
        require(
            isinstance(state, UserState) and all(len(part) == len(users) for part in state.tensors),
            f"encode_user gives {[_shape(part) for part in getattr(state, 'tensors', [])]} for {len(users)} users",
            "return a UserState of tensors whose first dimension counts users",
        )
        found: Any = model.score(state.select(batch.rows), candidates)
        require(
            isinstance(found, Tensor) and tuple(found.shape) == (count,),
            f"score gives {_shape(found)} for {count} candidates",
            "return one logit a candidate: [B]",
        )
        for name, tensor in (("embed", embedded), ("embed_history", past), ("score", found)):
            require(
                bool(torch.isfinite(tensor).all()),
                f"{name} gives values that are not finite",
                "look for a division by zero where a text is short or a history nearly empty",
            )
    nobody = Users(torch.zeros(1, dtype=torch.int64), torch.full((1, subject.batch.users.histories.shape[1]), PAD))
    for name, value in (("embed_history", model.embed_history(nobody)), *_states(model, nobody)):
        require(
            bool(torch.isfinite(value).all()),
            f"{name} gives values that are not finite for a user without history",
            "clamp what you divide by, and let an attention without places attend to nothing",
        )


def _states(model: Recommender, users: Users) -> list[tuple[str, Tensor]]:
    return [("encode_user", part) for part in model.encode_user(users).tensors if part.is_floating_point()]


@rule("mend the error: the last place that is named is where it was raised", needs_run=False)
def runs(subject: ModelSubject) -> None:
    """The model is built, trained for a few steps and scored without an error."""
    if subject.failure is not None:
        raise subject.failure


@rule("compute every part from its arguments alone")
def consistent(subject: ModelSubject) -> None:
    """Given embeddings, catalog texts given as texts, and a cached user state lead to the direct scores."""
    model, batch = subject.model, subject.batch
    direct = scores(model, batch)
    with torch.no_grad():
        candidates = model.candidates(batch.items)
        state = model.encode_user(batch.users)
        handed = model.score(state.select(batch.rows), candidates, model.embed(candidates))
        require_same(
            direct, handed, "score with embeddings=embed(candidates)", "let score use `embeddings` as they are"
        )
        past = model.encode_user(batch.users, model.embed_history(batch.users))
        require_same(
            direct,
            model.score(past.select(batch.rows), candidates),
            "encode_user with embeddings=embed_history(users)",
            "let encode_user use `embeddings` in place of embed_history, and compute everything else from users",
        )
        mine = batch.users.select(batch.rows)
        require_same(
            direct,
            model.score(model.encode_user(mine), candidates),
            "a user encoded once, beside the same user encoded for every candidate",
            "let encode_user depend on the user alone",
        )
        again = model.score(state.select(batch.rows), candidates)
        require_same(direct, again, "a state that is used a second time", "do not change a state in score")
    require_same(
        direct,
        scores(model, batch.with_texts(texts_of(model, batch))),
        "the catalog's own texts, given as texts",
        "tokenize texts that are given exactly as those of the catalog",
    )


@rule("normalize within a row (LayerNorm, not BatchNorm over the batch), and mask padding")
def rows_independent(subject: ModelSubject) -> None:
    """A score does not depend on the rest of the batch, its order or its longest text."""
    model, batch = subject.model, subject.batch
    together = scores(model, batch)
    alone = torch.cat([scores(model, single(batch, row)) for row in range(len(batch))])
    require_same(together, alone, "in a batch and alone")
    order = torch.arange(len(batch)).flip(0)
    require_same(together, scores(model, batch.select(order)).flip(0), "in the order and in reverse")


@rule("mask padding wherever rows are pooled or attended to")
def padding(subject: ModelSubject) -> None:
    """Values at padding have no effect, in candidates or histories; nor has a wider history."""
    model, batch = subject.model, subject.batch
    direct = scores(model, batch)
    with torch.no_grad():
        state = model.encode_user(batch.users)
        candidates = model.candidates(batch.items)
        embedded = model.embed(candidates)
        noise = 3.0 * torch.ones_like(embedded) * ~embedding_mask(candidates, embedded).unsqueeze(-1)
        require_same(
            model.score(state.select(batch.rows), candidates, embedded.clone()),
            model.score(state.select(batch.rows), candidates, embedded + noise),
            "with other embeddings where the tokens' mask is false",
            "mask the attention and the mean with candidates.tokens.mask",
        )
        past = model.embed_history(batch.users)
        noise = 3.0 * torch.ones_like(past) * (batch.users.histories == PAD).unsqueeze(-1)
        plain = model.encode_user(batch.users, past.clone())
        changed = model.encode_user(batch.users, past + noise)
        require_same(
            model.score(plain.select(batch.rows), candidates),
            model.score(changed.select(batch.rows), candidates),
            "with other history embeddings where the history is empty",
            "mask the history with users.histories >= 0",
        )
    wide = torch.nn.functional.pad(batch.users.histories, (3, 0), value=PAD)
    require_same(
        direct,
        scores(model, batch.with_histories(wide[batch.rows])),
        "with three more empty places in front of every history",
        "count positions from the newest item, and mask empty places",
    )


@rule("where candidates.items is NEW_ITEM (-1) score the text alone: clamp the index and mask what was looked up")
def new_listings(subject: ModelSubject) -> None:
    """A candidate whose id is hidden is scored by its text: finite, by itself, and the same in every company."""
    model, batch = subject.model, subject.batch
    if "candidate-text" not in model.surfaces:
        return
    hidden = batch.as_new_listings(texts_of(model, batch))
    found = scores(model, hidden)
    require(
        bool(torch.isfinite(found).all()),
        "the score of a new listing is not finite",
        "clamp what you divide by where there is no id",
    )
    rows = torch.arange(len(batch)).flip(0)
    require_same(found, scores(model, hidden.select(rows)).flip(0), "as new listings, in the order and in reverse")
    stranger = model.catalog.texts[-1]  # what the index -1 would give away
    require(
        change(scores(model, hidden.with_texts([stranger] * len(batch))), found) > SAME,
        "the text of a new listing has no effect",
        "read the text that is handed in where the id is hidden",
    )


@rule("let surfaces name exactly what the score depends on")
def surfaces(subject: ModelSubject) -> None:
    """Changing a declared surface changes scores; changing another does not."""
    model, batch = subject.model, subject.batch
    direct = scores(model, batch)
    texts = texts_of(model, batch)
    with torch.no_grad():
        candidates = model.candidates(batch.items)
        embedded = model.embed(candidates)
        state = model.encode_user(batch.users).select(batch.rows)
        moved = model.score(state, candidates, 0.5 * embedded + 0.1).cpu()
    shown = {
        "candidate-text": scores(model, batch.with_texts(texts[1:] + texts[:1])),
        "history": scores(model, batch.with_histories(batch.histories().roll(2, dims=0))),
        "embedding": moved,
    }
    for surface, other in shown.items():
        felt = change(direct, other) > SAME
        declared = surface in model.surfaces
        require(
            felt or not declared,
            f"{surface} is declared, and changing it changes no score",
            f"leave {surface} out of surfaces, or let the score depend on it",
        )
        require(
            declared or not felt,
            f"{surface} is not declared, and changing it changes scores",
            f"add {surface} to surfaces, or do not read it",
        )


@rule("write x = x + y instead of x += y")
def inputs_unchanged(subject: ModelSubject) -> None:
    """Embeddings, histories, items and states that are passed in are not written to."""
    model, batch = subject.model, subject.batch
    with torch.no_grad():
        candidates = model.candidates(batch.items)
        embedded, past = model.embed(candidates).clone(), model.embed_history(batch.users).clone()
        state = model.encode_user(batch.users, past).select(batch.rows)
        handed = {
            "the candidates' embeddings": embedded,
            "the history's embeddings": past,
            "the histories": batch.users.histories,
            "the items": candidates.items,
            "the token ids": candidates.tokens.ids,
            "the mask": candidates.tokens.mask,
            **{f"part {n} of the user's state": part for n, part in enumerate(state.tensors)},
        }
        kept = {name: tensor.clone() for name, tensor in handed.items()}
        model.encode_user(batch.users, past)
        model.score(state, candidates, embedded)
    changed = [name for name, tensor in handed.items() if not torch.equal(tensor, kept[name])]
    require(not changed, f"{', '.join(changed)} changed in place")


def _shape(value: object) -> str:
    return f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__


def require_same(before: Tensor, after: Tensor, what: str, remedy: str = "") -> None:
    """ConformanceError where two ways to the same scores differ by more than rounding."""
    found = change(before, after)
    require(found <= SAME, f"{what}: scores differ by {found:.2g} of their own spread", remedy)


def single(batch: Batch, row: int) -> Batch:
    """One example with its user alone."""
    one = batch.select(torch.tensor([row]))
    return replace(one, users=batch.users.select(one.rows), rows=torch.zeros(1, dtype=torch.int64))

"""A recommender whose code runs in a process of its own: what the evaluation sees of a plugin's model.

Users and candidates are sent with the first question that needs them and stay in that process under a number, so that
scoring a batch is one message, the gradient of the scores' sum included; what a user's state consists of never leaves
it. What comes back is checked for type, shape and size: a process that answers anything else ends the cell.
"""

from __future__ import annotations

import hashlib
import itertools
import weakref
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from recgauntlet.core.batch import Candidates, Tokens, Users, UserState
from recgauntlet.core.dataset import Catalog
from recgauntlet.core.errors import PluginError
from recgauntlet.core.recommender import Recommender, TrainingRecipe
from recgauntlet.core.scoring import check_shape
from recgauntlet.core.types import PAD
from recgauntlet.runner.remote.client import Client
from recgauntlet.runner.remote.messages import Form, Served
from recgauntlet.runner.remote.states import Encode, Encoding, RemoteCandidates, RemoteState


class About(NamedTuple):
    """What is known of a remote model."""

    catalog: Catalog
    token_length: int
    device: torch.device
    served: Served
    recipe: TrainingRecipe
    weights: str
    """`weights_hash` of the file that its weights were loaded from."""


Connect = Callable[[], Client]
"""Starts a process that serves the model, newly built and loaded."""


class RemoteRecommender(Recommender):
    """The model that answers in another process.

    A copy of it (`copy.deepcopy`) is another process, newly started from the weights, once it is asked something.
    """

    def __init__(self, about: About, connect: Connect) -> None:
        super().__init__(about.catalog, token_length=about.token_length)
        self.about = about
        self.surfaces = about.served.surfaces  # type: ignore[misc]
        self.recipe = about.recipe
        # so many as the model has, without the memory
        size = torch.zeros(1, device=about.device).expand(about.served.parameters)
        self.size = nn.Parameter(size, requires_grad=False)
        self._connect = connect
        self._client: Client | None = None
        self._numbers = itertools.count()
        self._released: list[int] = []

    def __deepcopy__(self, memo: dict[int, Any]) -> RemoteRecommender:
        return RemoteRecommender(self.about, self._connect)

    @property
    def client(self) -> Client:
        """The connection, opened where it is not yet."""
        if self._client is None:
            self._client = self._connect()
        return self._client

    def tokenize(self, texts: Sequence[str]) -> Tokens:
        texts = list(texts)
        return self._tokens(self._ask("tokenize", {"texts": texts}, forms=_tokens(len(texts)))[1], texts)

    def catalog_tokens(self) -> Tokens:
        if self._catalog_tokens is None:
            found = self._ask("catalog_tokens", forms=_tokens(len(self.catalog)))[1]
            self._catalog_tokens = self._tokens(found, self.catalog.texts)
        return self._catalog_tokens

    def candidates(self, items: Tensor, texts: Sequence[str] | None = None) -> Candidates:
        shown = None if texts is None else list(texts)
        return RemoteCandidates(next(self._numbers), items.to(self.device), shown, self._tokens_of)

    def embed_history(self, users: Users) -> Tensor:
        form = Form("float", (len(users), users.histories.shape[1], None))
        return self._ask("embed_history", tensors=[users.ids, users.histories], forms=[form])[1][0].to(self.device)

    def encode_user(self, users: Users, embeddings: Tensor | None = None) -> UserState:
        differentiable = torch.is_grad_enabled() and embeddings is not None and embeddings.requires_grad
        given = None if embeddings is None else embeddings.detach()
        encoding = Encoding(next(self._numbers), users, given, differentiable=differentiable)
        encode: Any = Encode
        link: Tensor | None = encode.apply(encoding, embeddings) if differentiable else None
        return RemoteState((), (encoding,), None, link)

    def embed(self, candidates: Candidates) -> Tensor:
        count, request = len(candidates), _Request(self)
        wants_tokens = isinstance(candidates, RemoteCandidates) and candidates.known is None and self._makes(candidates)
        place = request.place_candidates(candidates)
        forms = [Form("float", (count, None, None)), *(_tokens(count) if wants_tokens else ())]
        (embedded, *tokens) = request.ask("embed", {"candidates_at": place, "tokens": wants_tokens}, forms)[1]
        if isinstance(candidates, RemoteCandidates) and wants_tokens:
            candidates.note(self._tokens(tokens, self._shown(candidates)))
        return embedded.to(self.device)

    def score(self, user: UserState, candidates: Candidates, embeddings: Tensor | None = None) -> Tensor:
        if not isinstance(user, RemoteState):
            raise PluginError(
                "a state of users that another model made", field="encode_user", remedy="use this model's own"
            )
        moves = embeddings is not None and embeddings.requires_grad
        if torch.is_grad_enabled() and (moves or user.link is not None):
            function: Any = _Score
            scores: Tensor = function.apply(self, user, candidates, user.link, embeddings)
            return scores
        return self.scores(user, candidates, embeddings)[0]

    def scores(
        self,
        user: RemoteState,
        candidates: Candidates,
        embeddings: Tensor | None,
        number: int | None = None,
        encodings: Sequence[Encoding] = (),
    ) -> tuple[Tensor, list[Tensor] | None]:
        """The logits `[B]`; with `number`, also the gradients of their sum with respect to the embeddings of candidates
        that move and of `encodings`, None where there is no graph. Those along another direction may be asked for under
        that number, until the next scores with one."""
        request = _Request(self)
        fields = {
            "encodings": request.place_users(user),
            "rows": None if user.rows is None else request.put(user.rows),
            "candidates_at": request.place_candidates(candidates),
            "embeddings": None if embeddings is None else request.put(embeddings),
            "graph": number,
            "moving": [encoding.number for encoding in encodings],
            "embeddings_move": number is not None and embeddings is not None and embeddings.requires_grad,
        }

        def has_shape(header: dict[str, Any]) -> None:
            arrays = header.get("arrays")
            if isinstance(arrays, list) and arrays and isinstance(arrays[0], list) and len(arrays[0]) == 2:
                check_shape(arrays[0][1] if isinstance(arrays[0][1], list) else (), len(candidates))

        forms = [Form("float", (len(candidates),))]
        if number is not None:
            forms += gradient_forms(embeddings if fields["embeddings_move"] else None, encodings)
        header, (logits, *gradients) = request.ask("score", fields, forms, check=has_shape)
        found = [gradient.to(self.device) for gradient in gradients]
        return logits.to(self.device), found if header.get("differentiable") is True else None

    def gradients(self, number: int, along: Tensor, forms: Sequence[Form]) -> list[Tensor]:
        """The gradients of the scores `number` along `along [B]`, of the `forms`."""
        return [g.to(self.device) for g in self._ask("backward", {"graph": number}, [along], forms)[1]]

    def weights_hash(self) -> str:
        """The hash of the file that the weights come from, as long as the process has not changed them."""
        now = self._ask("weights")[0].get("weights")
        weights = self.about.weights
        return weights if now == self.about.served.weights else hashlib.sha256(f"{weights} {now}".encode()).hexdigest()

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        # in the place of the weights: a hash that changes with them
        content = bytearray(bytes.fromhex(self.weights_hash()))
        destination[f"{prefix}weights"] = torch.frombuffer(content, dtype=torch.uint8)

    def _tokens_of(self, candidates: RemoteCandidates) -> Tokens:
        if not self._makes(candidates):
            return self.catalog_tokens().select(candidates.items)
        request = _Request(self)
        fields = {"candidates_at": request.place_candidates(candidates)}
        found = request.ask("tokens", fields, _tokens(len(candidates)))[1]
        return self._tokens(found, self._shown(candidates))

    def _makes(self, candidates: RemoteCandidates) -> bool:
        """Whether their tokens are others than the catalog's."""
        return candidates.texts is not None or self.about.served.own_candidates

    def _shown(self, candidates: RemoteCandidates) -> Sequence[str]:
        texts = self.catalog.texts
        return candidates.texts if candidates.texts is not None else [texts[at] for at in candidates.items.tolist()]

    def _tokens(self, found: Sequence[Tensor], texts: Sequence[str]) -> Tokens:
        """Tokens of `texts`, which name words that a text can have."""
        ids, mask, words = found
        most = max(map(len, texts), default=0)
        if ids.shape != mask.shape or ids.shape != words.shape:
            raise self.client.broken("answered with tokens, masks and words of different shapes")
        if words.numel() and not (int(words.min()) >= PAD and int(words.max()) < max(most, 1)):
            raise self.client.broken("answered with tokens of words that are not there")
        return Tokens(ids, mask, words).to(self.device)

    def _ask(
        self,
        call: str,
        fields: dict[str, Any] | None = None,
        tensors: Sequence[Tensor] = (),
        forms: Sequence[Form] = (),
        check: Callable[[dict[str, Any]], None] = lambda header: None,
    ) -> tuple[dict[str, Any], list[Tensor]]:
        released, self._released[:] = list(self._released), []
        header, found = self.client.ask(call, {**(fields or {}), "released": released}, tensors, forms, check=check)
        calls = header.get("autograd")
        for _ in range(min(calls, 100) if isinstance(calls, int) else 0):
            # repeated here, where the check of a forward pass alone counts calls
            one = torch.zeros((), requires_grad=True)
            torch.autograd.grad(one, one)
        return header, found


class _Request:
    """A question, with the users and candidates that the other process does not have yet."""

    def __init__(self, model: RemoteRecommender) -> None:
        self._model = model
        self._tensors: list[Tensor] = []
        self._users: list[Encoding] = []
        self._candidates: list[RemoteCandidates] = []
        self._fields: dict[str, Any] = {"new_users": [], "new_candidates": []}

    def put(self, tensor: Tensor) -> int:
        """Send `tensor`; its place among the arrays."""
        self._tensors.append(tensor)
        return len(self._tensors) - 1

    def place_users(self, state: RemoteState) -> list[int]:
        """The numbers of the state's encodings."""
        for encoding in state.encodings:
            if encoding.unsent is not None:
                users, embeddings = encoding.unsent
                given = None if embeddings is None else self.put(embeddings)
                parts = [encoding.number, self.put(users.ids), self.put(users.histories), given]
                self._fields["new_users"].append([*parts, encoding.differentiable])
                self._users.append(encoding)
        return [encoding.number for encoding in state.encodings]

    def place_candidates(self, candidates: Candidates) -> int | list[int]:
        """The number of candidates that the model made; else the places of their parts."""
        if not isinstance(candidates, RemoteCandidates):
            tokens = candidates.tokens
            return [self.put(part) for part in (candidates.items, tokens.ids, tokens.mask, tokens.word_of_token)]
        if not candidates.is_sent:
            self._fields["new_candidates"].append([candidates.number, self.put(candidates.items), candidates.texts])
            self._candidates.append(candidates)
        return candidates.number

    def ask(
        self,
        call: str,
        fields: dict[str, Any],
        forms: Sequence[Form],
        check: Callable[[dict[str, Any]], None] = lambda header: None,
    ) -> tuple[dict[str, Any], list[Tensor]]:
        """Send all of it; the answer."""
        model: Any = self._model
        answer: tuple[dict[str, Any], list[Tensor]] = model._ask(
            call, {**self._fields, **fields}, self._tensors, forms, check
        )
        for encoding in self._users:
            encoding.unsent = None
            weakref.finalize(encoding, model._released.append, encoding.number)
        for candidates in self._candidates:
            candidates.mark_sent()
            weakref.finalize(candidates, model._released.append, candidates.number)
        return answer


class _Score(torch.autograd.Function):
    """Logits whose gradient is asked for when it is drawn."""

    @staticmethod
    def forward(
        ctx: Any,
        model: RemoteRecommender,
        user: RemoteState,
        candidates: Candidates,
        link: Tensor | None,
        embeddings: Tensor | None,
    ) -> Tensor:
        ctx.model, ctx.number, ctx.link = model, next(model._numbers), link
        ctx.encodings = [] if link is None else [e for e in user.encodings if e.differentiable]
        ctx.moves = embeddings is not None and embeddings.requires_grad
        ctx.forms = gradient_forms(embeddings if ctx.moves else None, ctx.encodings)
        logits, ctx.found = model.scores(user, candidates, embeddings, ctx.number, ctx.encodings)
        if ctx.found is None:
            ctx.mark_non_differentiable(logits)
        return logits

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        # nearly always the gradient of the sum is wanted, which came with the scores
        is_sum = bool((gradients[0] == 1).all())
        found = list(ctx.found) if is_sum else ctx.model.gradients(ctx.number, gradients[0], ctx.forms)
        own = found.pop(0) if ctx.moves else None
        for encoding, gradient in zip(ctx.encodings, found, strict=True):
            encoding.gradient = gradient if encoding.gradient is None else encoding.gradient + gradient
        return None, None, None, None if ctx.link is None else torch.zeros_like(ctx.link), own


def gradient_forms(embeddings: Tensor | None, encodings: Sequence[Encoding]) -> list[Form]:
    """The forms of the gradients with respect to embeddings of candidates (None: these do not move) and encodings."""
    shapes = [
        *(() if embeddings is None else (embeddings.shape,)),
        *(e.shape for e in encodings if e.shape is not None),
    ]
    return [Form("float", tuple(shape)) for shape in shapes]


def _tokens(count: int) -> list[Form]:
    """The forms of the tokens of `count` texts."""
    return [Form("int64", (count, None)), Form("bool", (count, None)), Form("int64", (count, None))]

"""A recommender as peers want to see it: one tensor in, two logits out, whatever order they ask the examples in."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from recgauntlet.core.batch import Candidates, Tokens, UserState
from recgauntlet.core.recommender import embedding_mask
from recgauntlet.evaluation.judge import score_in_chunks
from recgauntlet.evaluation.setup import Trial, is_right
from recgauntlet.threats.budget import Budget
from recgauntlet.threats.embedding import EmbeddingThreatModel
from recgauntlet.threats.verifier import verify


class PeerView(nn.Module):
    """`forward(x [B, 1, 1, N]) -> logits [B, 2]`, their difference the model's logit.

    Peers take a model of one input, drop and reorder examples, and clamp to [0, 1]. So the candidate's embeddings
    `[L, D]` are mapped affinely to [0, 1], with room for the radius on both sides, so that no clamp ever binds; behind
    them stand coordinates of 0 and 1 that spell out the example's number. They are read by a threshold: they have no
    gradient, and no perturbation inside the radius reaches the threshold. Users are encoded once, as in the Victim.
    """

    def __init__(self, trial: Trial, index: Tensor, budget: Budget) -> None:
        super().__init__()
        norm, radius = EmbeddingThreatModel.of(budget).ball(budget.amount, trial.scale)
        if norm != "l2":
            raise ValueError("peers are compared in an L2 ball")
        self.trial, self.index, self.budget, self.model = trial, index, budget, trial.model
        self.batch = trial.batch.select(index)
        with torch.no_grad():
            state = self.model.encode_user(self.batch.users).select(self.batch.rows)
            self.candidates = self.model.candidates(self.batch.items, self.batch.texts)
            embedded = self.model.embed(self.candidates)
        self.state = state
        self.real = embedding_mask(self.candidates, embedded)
        self.shape = embedded.shape[1:]
        self.low = float(embedded.min()) - radius
        self.span = float(embedded.max()) + radius - self.low
        self.radius = radius / self.span
        bits = max(1, (len(index) - 1).bit_length())
        self.powers = 2 ** torch.arange(bits)
        number = (torch.arange(len(index))[:, None] // self.powers) % 2
        self.inputs = torch.cat([(embedded.flatten(1) - self.low) / self.span, number.float()], dim=1)[:, None, None, :]
        self.labels = (self.batch.labels > 0.5).long()
        self.eval()

    def train(self, mode: bool = True) -> PeerView:
        """A frozen model: some peers would switch its dropout on."""
        return super().train(False)

    def forward(self, x: Tensor) -> Tensor:
        flat = x.flatten(1)
        size = self.shape.numel()
        rows = ((flat[:, size:].detach() > 0.5).long() * self.powers).sum(dim=1).clamp(max=len(self.index) - 1)
        embedded = (flat[:, :size] * self.span + self.low).view(len(flat), *self.shape)
        tokens = self.candidates.tokens
        shown = Candidates(
            self.candidates.items[rows],
            Tokens(tokens.ids[rows], tokens.mask[rows], tokens.word_of_token[rows]),
        )
        half = self.model.score(UserState(tuple(t[rows] for t in self.state.tensors)), shown, embedded) / 2
        return torch.stack([-half, half], dim=1)

    def found(self, adversarial: Tensor) -> Findings:
        """Judge what a peer returns as the harness judges its own: verified, and scored by the plain model."""
        size = self.shape.numel()
        moved = (adversarial - self.inputs).flatten(1)[:, :size].view(len(self.index), *self.shape) * self.span
        perturbed = self.batch.with_delta(moved.detach() * self.real.unsqueeze(-1))  # padding is not read
        legal = verify(self.trial.world, self.trial.scale, self.budget, self.batch, perturbed).legal
        wrong = ~is_right(score_in_chunks(self.model, perturbed), self.batch)
        return Findings(broken=legal & wrong, illegal=int((~legal).sum()))


@dataclass(frozen=True)
class Findings:
    """Which of a view's examples a peer broke, `[n]`, and how many of its inputs lay outside the ball."""

    broken: Tensor
    illegal: int

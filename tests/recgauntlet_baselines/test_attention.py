"""Attention of pretrained models inside a pass in bfloat16: single precision on a CPU."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch.nn import functional as F

from recgauntlet_baselines.models._attention import attend_in_single, attended


@pytest.fixture
def parts() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    drawn = torch.randn(3, 2, 2, 5, 8, generator=torch.Generator().manual_seed(0))
    seen = torch.tensor([[True] * 5, [True] * 3 + [False] * 2])[:, None, None, :]
    return drawn[0], drawn[1], drawn[2], seen


def test_outside_autocast_it_is_pytorchs_attention(parts: tuple[torch.Tensor, ...]) -> None:
    asked, keys, values, seen = parts
    assert torch.equal(
        attended(asked, keys, values, seen), F.scaled_dot_product_attention(asked, keys, values, attn_mask=seen)
    )


@pytest.mark.parametrize("added", [False, True])
def test_half_floats_are_read_in_single_precision(parts: tuple[torch.Tensor, ...], added: bool) -> None:
    asked, keys, values, seen = parts
    rounded = [part.bfloat16() for part in (asked, keys, values)]
    mask = torch.zeros(seen.shape, dtype=torch.bfloat16).masked_fill(~seen, -1e9) if added else seen
    with torch.autocast("cpu", dtype=torch.bfloat16):
        read = attended(rounded[0], rounded[1], rounded[2], mask)
    whole = attended(*(part.float() for part in rounded), mask.float() if added else mask)
    assert read.dtype == torch.float32
    assert torch.allclose(read, whole, atol=1e-6)


def test_a_model_of_transformers_attends_in_this_way() -> None:
    from transformers import BertConfig, BertModel

    torch.manual_seed(0)
    size = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    body = BertModel(BertConfig(vocab_size=30, **size), add_pooling_layer=False).eval()
    ids, mask = torch.arange(5)[None], torch.tensor([[1, 1, 1, 1, 0]])
    before = body(ids, attention_mask=mask).last_hidden_state
    attend_in_single(body)
    assert torch.allclose(body(ids, attention_mask=mask).last_hidden_state, before, atol=1e-6)
    kinds = []
    body.encoder.layer[0].attention.output.register_forward_pre_hook(lambda _, given: kinds.append(given[0].dtype))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        body(ids, attention_mask=mask)
    assert kinds == [torch.float32]


def test_a_model_with_attention_of_its_own_keeps_it() -> None:
    body = SimpleNamespace(config=SimpleNamespace(_attn_implementation="eager"))
    attend_in_single(body)
    assert body.config._attn_implementation == "eager"

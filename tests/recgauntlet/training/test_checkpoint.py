"""Checkpoints of models on a frozen base: what the file leaves out, and what loading it asks for."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from blank_checkpoint import INFO
from safetensors.torch import load_file
from toy_recommender import ToyRecommender, make_catalog

from recgauntlet.core.errors import RecordError
from recgauntlet.core.recommender import FrozenBase
from recgauntlet.training.checkpoint import (
    hash_of_file,
    load_weights,
    read_info,
    save_checkpoint,
    weights_hash,
)


def on_base(seed: int, base: int = 0) -> ToyRecommender:
    """A model whose word vectors are frozen, the same for all of one `base`."""
    torch.manual_seed(seed)
    model = ToyRecommender(make_catalog())
    torch.manual_seed(1000 + base)
    torch.nn.init.normal_(model.words.weight)
    model.words.requires_grad_(False)
    model.base = FrozenBase.of("toy-words", model)
    return model


def test_a_checkpoint_leaves_the_frozen_base_out_and_gives_the_model_back(tmp_path: Path) -> None:
    path, trained = tmp_path / "toy.safetensors", on_base(1)
    whole = ToyRecommender(make_catalog())
    save_checkpoint(whole, INFO, tmp_path / "whole.safetensors")
    assert save_checkpoint(trained, INFO, path) == weights_hash(trained) == hash_of_file(path)
    assert "words.weight" not in load_file(path)
    assert path.stat().st_size < (tmp_path / "whole.safetensors").stat().st_size / 5
    info = read_info(path)
    assert info.base is not None
    assert info.base.name == "toy-words"
    for source in (path, path.read_bytes()):
        again = on_base(2)
        assert weights_hash(again) != weights_hash(trained)
        load_weights(again, source)
        assert weights_hash(again) == weights_hash(trained)
        assert all(map(torch.equal, again.state_dict().values(), trained.state_dict().values()))


def test_a_checkpoint_of_another_base_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "toy.safetensors"
    save_checkpoint(on_base(1), INFO, path)
    with pytest.raises(RecordError, match=r"(?s)was trained on toy-words with the SHA-256 .* put the files .* back"):
        load_weights(on_base(1, base=1), path)
    with pytest.raises(RecordError, match="do not fit the model"):
        load_weights(ToyRecommender(make_catalog()), path)


def test_a_change_of_the_base_changes_the_hash_of_the_weights() -> None:
    model = on_base(1)
    before = weights_hash(model)
    with torch.no_grad():
        model.words.weight[0, 0] += 1
    assert weights_hash(model) != before


def test_a_checkpoint_with_all_weights_still_loads_into_a_model_on_a_base(tmp_path: Path) -> None:
    path, trained = tmp_path / "toy.safetensors", on_base(1)
    base, trained.base = trained.base, None
    save_checkpoint(trained, INFO, path)
    again = on_base(2, base=1)
    load_weights(again, path)
    trained.base = base
    assert weights_hash(again) == weights_hash(trained)

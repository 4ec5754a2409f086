"""What is exported scores as the model does; what cannot be exported says so and leaves nothing."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from pathlib import Path

import onnx
import onnxruntime
import pytest
import torch
from served_models import built, subject_of
from torch import Tensor

from recgauntlet.core.batch import Candidates, Users, UserState
from recgauntlet.core.errors import ExportError, OutputError
from recgauntlet.core.scoring import score_batch
from recgauntlet.core.types import PAD
from recgauntlet.data.batches import pairs_to_batch
from recgauntlet.serving import formats
from recgauntlet.serving.export import ExportCard, export
from recgauntlet.testing.tiny import tiny_data
from recgauntlet.testing.tiny_models import TinyItems

READ = {
    "nrms": {"history", "token_ids", "token_mask"},
    "bpr-mf": {"history", "user", "items"},
    "sasrec": {"history", "items"},
    "din": {"history", "items"},
}


@pytest.mark.parametrize("name", READ)
def test_an_onnx_file_is_all_that_onnxruntime_needs(name: str, tmp_path: Path) -> None:
    model = built(name)
    card = export(subject_of(model), "onnx", tmp_path / "out")
    assert {spec.name for spec in card.inputs} == READ[name]
    content = (tmp_path / "out" / "model.onnx").read_bytes()
    assert hashlib.sha256(content).hexdigest() == card.sha256
    assert str(Path(__file__).parents[3]).encode() not in content, "no stack traces of the machine that exported"
    onnx.checker.check_model(onnx.load_from_string(content))
    session = onnxruntime.InferenceSession(content)
    assert {i.name: list(i.shape[1:]) for i in session.get_inputs()} == {s.name: list(s.shape[1:]) for s in card.inputs}

    # many candidates for one history that is not full, computed apart from what the export itself compares
    items = torch.arange(len(model.catalog))
    history = torch.tensor([[PAD, PAD, PAD, 7, 3, 20]])
    tokens = model.candidates(items).tokens
    width = model.token_length - tokens.ids.shape[1]
    given: dict[str, Tensor] = {
        "history": history,
        "user": torch.tensor([4]),
        "items": items,
        "token_ids": torch.nn.functional.pad(tokens.ids * tokens.mask, (0, width)),
        "token_mask": torch.nn.functional.pad(tokens.mask, (0, width)),
    }
    (scores,) = session.run(None, {name: given[name].numpy() for name in READ[name]})
    state = model.encode_user(Users(torch.tensor([4]), history))
    expected = model.score(state.select(torch.zeros_like(items)), model.candidates(items))
    torch.testing.assert_close(torch.from_numpy(scores), expected, rtol=1e-4, atol=1e-5)
    assert len(expected.unique()) > 1


@pytest.mark.parametrize("name", READ)
def test_a_torch_export_file_loads_without_pickle_and_scores_the_same(name: str, tmp_path: Path) -> None:
    model, data = built(name), tiny_data()
    card = export(subject_of(model, data), "torch-export", tmp_path / "out")
    assert {spec.name for spec in card.inputs} == READ[name]
    assert card.agreement.examples == 2 * len(data.test)
    assert card.agreement.largest_difference < 1e-4
    content = (tmp_path / "out" / "model.pt2").read_bytes()
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert not [file.filename for file in archive.infolist() if archive.read(file).startswith(b"PK\x03\x04")]


def test_the_card_lies_beside_the_file_as_json_and_as_a_page(tmp_path: Path) -> None:
    card = export(subject_of(built("bpr-mf")), "torch-export", tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["README.md", "card.json", "model.pt2"]
    written = json.loads((tmp_path / "out" / "card.json").read_text(encoding="utf-8"))
    assert ExportCard.model_validate(written) == card
    page = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert "| `items` | input | int64 | [candidates] |" in page
    assert "does not allow to pass it on" in page, "the licence of restricted data"


class Following(TinyItems):
    """Its score depends on a value by a branch of Python, which no graph has."""

    def score(self, user: UserState, candidates: Candidates, embeddings: Tensor | None = None) -> Tensor:
        scores = super().score(user, candidates, embeddings)
        return scores if bool(scores.sum() > 0) else 2 * scores


class Remembering(TinyItems):
    """Asks the vectors of a history for more than one item at a time: what a graph computes once is not the same."""

    def embed_history(self, users: Users) -> Tensor:
        return super().embed_history(users) * users.histories.shape[1]


@pytest.mark.parametrize(
    ("kind", "problem"),
    [(Following, "cannot follow Following"), (Remembering, "scores otherwise"), (TinyItems, "321 parameters")],
)
def test_what_cannot_be_exported_says_so_and_leaves_no_file(
    kind: type[TinyItems],
    problem: str,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if "parameters" in problem:
        monkeypatch.setattr(formats, "MOST_PARAMETERS", 320)
    torch.manual_seed(0)
    data = tiny_data()
    subject = subject_of(kind(data.catalog, token_length=4).eval(), data)
    with pytest.raises(ExportError, match=problem) as raised:
        export(subject, "torch-export", tmp_path / "out")
    assert raised.value.exit_code == 2
    assert "recgauntlet serve" in raised.value.remedy
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")


def test_weights_that_score_otherwise_are_not_exported(tmp_path: Path) -> None:
    data = tiny_data()
    model, other = (TinyItems(data.catalog, token_length=4).eval() for _ in range(2))
    subject = subject_of(model, data)
    card = export(subject, "safetensors", tmp_path / "same")
    assert card.inputs == ()
    assert card.agreement.largest_difference == 0
    assert (tmp_path / "same" / "model.safetensors").read_bytes() == subject.weights
    batch = pairs_to_batch(data.test, torch.arange(len(data.test)).numpy())
    assert not torch.equal(score_batch(model, batch), score_batch(other, batch))
    object.__setattr__(subject, "rebuilt", lambda _: other)
    with pytest.raises(ExportError, match="scores otherwise"):
        export(subject, "safetensors", tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_a_directory_that_exists_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "kept").write_text("x", encoding="utf-8")
    with pytest.raises(OutputError):
        export(subject_of(built("sasrec")), "torch-export", tmp_path / "mine")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["kept"]

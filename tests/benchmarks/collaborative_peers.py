"""Trains one peer on the edges of a file and leaves its score of every user and item; run by the peer's own Python.

Nothing of RecGauntlet is imported. In: `edges` and `valid`, both `[2, E]` (users, items), and `counts` (2). Out:
`scores [U, N]`, and the processor `seconds` of training.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

SIZE = 64


def cornac_bpr(edges: Any, valid: Any, counts: Any) -> tuple[Any, float]:
    """Cornac's BPR with item biases; passes and rate are one sensible setting, not tuned."""
    from cornac.data import Dataset
    from cornac.models import BPR

    rows = [(str(u), str(i), 1.0) for u, i in edges.T.tolist()]
    data = Dataset.build(rows)
    model = BPR(k=SIZE, max_iter=200, learning_rate=0.03, lambda_reg=0.01, num_threads=1, seed=0)
    started = time.process_time()
    model.fit(data)
    seconds = time.process_time() - started
    users = np.array([int(u) for u in data.user_ids])
    items = np.array([int(i) for i in data.item_ids])
    scores = np.full(counts, -np.inf)
    scores[np.ix_(users, items)] = model.u_factors @ model.i_factors.T + model.i_biases
    return scores, seconds


def recbole(name: str, edges: Any, valid: Any, counts: Any) -> tuple[Any, float]:
    """RecBole's model of that name with its defaults but for the size, stopping early by its own rule."""
    import torch

    load = torch.load
    torch.load = lambda *args, **kwargs: load(*args, **(kwargs | {"weights_only": False}))
    torch.set_num_threads(1)
    import scipy.sparse

    # RecBole's LightGCN calls a method that scipy took away with 1.13
    scipy.sparse.dok_matrix._update = lambda self, values: self._dict.update(values)
    from recbole.config import Config
    from recbole.data import create_dataset, data_preparation
    from recbole.utils import get_model, get_trainer, init_seed

    folder = Path("ratings")
    folder.mkdir()
    for part, pairs in (("train", edges), ("valid", valid), ("test", valid)):
        lines = ["user_id:token\titem_id:token", *(f"{u}\t{i}" for u, i in pairs.T.tolist())]
        Path(folder, f"ratings.{part}.inter").write_text("\n".join(lines) + "\n", encoding="utf-8")
    config = Config(
        model=name,
        dataset="ratings",
        config_dict={
            "data_path": ".",
            "benchmark_filename": ["train", "valid", "test"],
            "load_col": {"inter": ["user_id", "item_id"]},
            "embedding_size": SIZE,
            "n_layers": 2,
            "epochs": 60,
            "stopping_step": 3,
            "eval_step": 5,
            "metrics": ["NDCG"],
            "valid_metric": "NDCG@10",
            "learning_rate": 0.005,
            "use_gpu": False,
            "show_progress": False,
            "state": "ERROR",
        },
    )
    init_seed(0, True)
    dataset = create_dataset(config)
    train, valid_data, _ = data_preparation(config, dataset)
    model = get_model(name)(config, train.dataset).to(config["device"])
    trainer = get_trainer(config["MODEL_TYPE"], name)(config, model)
    started = time.process_time()
    trainer.fit(train, valid_data, saved=True, show_progress=False, verbose=False)
    seconds = time.process_time() - started
    model.load_state_dict(torch.load(trainer.saved_model_file)["state_dict"])
    model.eval()
    with torch.no_grad():
        if name == "LightGCN":
            users_, items_ = model.forward()
        else:
            users_, items_ = model.user_embedding.weight, model.item_embedding.weight
    scores = np.full(counts, -np.inf)
    users = [(n, int(t)) for n, t in enumerate(dataset.field2id_token["user_id"]) if n]
    items = [(n, int(t)) for n, t in enumerate(dataset.field2id_token["item_id"]) if n]
    table = (users_ @ items_.T).detach().numpy()
    scores[np.ix_([t for _, t in users], [t for _, t in items])] = table[
        np.ix_([n for n, _ in users], [n for n, _ in items])
    ]
    return scores, seconds


def main() -> None:
    """`collaborative_peers.py cornac|BPR|LightGCN IN.npz OUT.npz`."""
    peer, source, target = sys.argv[1:]
    given = np.load(source)
    target = str(Path(target).resolve())
    os.chdir(tempfile.mkdtemp(dir=Path(target).parent))
    parts = given["edges"], given["valid"], given["counts"]
    scores, seconds = cornac_bpr(*parts) if peer == "cornac" else recbole(peer, *parts)
    np.savez(target, scores=scores, seconds=seconds)


if __name__ == "__main__":
    main()

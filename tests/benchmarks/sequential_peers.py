"""A peer's model, trained and asked where the peer is installed: arrays in, scores out. Imports nothing of ours.

Usage: `python sequential_peers.py recbole-sasrec|rechub-din DATA.npz SCORES.npz SECONDS`. Training stops when the
validation AUC stops rising or the processor time is spent; the weights of the best epoch score.
"""

from __future__ import annotations

import copy
import sys
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

PATIENCE, EPOCHS = 3, 100
Arrays = dict[str, Any]


Peer = tuple[Any, Callable[[Any], Tensor], Callable[[Arrays], Tensor], tuple[tuple[Tensor, ...], int, float, float]]
"""A model, the loss of a batch, the scores of candidates; its samples, batch size, learning rate and weight decay."""


def recbole_sasrec(data: Arrays) -> Peer:
    """RecBole's SASRec as its `SASRec.yaml` has it: all prefixes of the training histories, cross-entropy over the
    catalog, batches of 2048, Adam at 0.001."""
    from recbole.model.sequential_recommender.sasrec import SASRec

    options = {
        "USER_ID_FIELD": "user",
        "ITEM_ID_FIELD": "item",
        "LIST_SUFFIX": "_list",
        "ITEM_LIST_LENGTH_FIELD": "length",
        "NEG_PREFIX": "neg_",
        "MAX_ITEM_LIST_LENGTH": data["train_histories"].shape[1],
        "device": torch.device("cpu"),
        "n_layers": 2,
        "n_heads": 2,
        "hidden_size": 64,
        "inner_size": 256,
        "hidden_dropout_prob": 0.5,
        "attn_dropout_prob": 0.5,
        "hidden_act": "gelu",
        "layer_norm_eps": 1e-12,
        "initializer_range": 0.02,
        "loss_type": "CE",
    }
    model = SASRec(options, SimpleNamespace(num=lambda field: int(data["items"]) + 1))
    histories, nexts = prefixes(data["train_users"], data["train_histories"], data["train_clicked"])
    samples = (*fronted(histories), torch.from_numpy(nexts + 1))

    def loss(batch: Any) -> Tensor:
        past, length, following = batch
        return model.calculate_loss({"item_list": past, "length": length, "item": following})

    def score(asked: Arrays) -> Tensor:
        past, length = fronted(asked["histories"])
        return model.predict({"item_list": past, "length": length, "item": torch.from_numpy(asked["items"] + 1)})

    return model, loss, score, (samples, 2048, 1e-3, 0.0)


def rechub_din(data: Arrays) -> Peer:
    """torch-rechub's DIN as its example on Amazon's electronics has it: item and category ids of 8 numbers, an MLP and
    an attention of 256 and 128, Adam at 0.001 with weight decay 0.001; binary cross-entropy on the training pairs.
    Users are left out, because most are new in the test period (one constant stands for them, as it wants a feature
    there); batches of 1024, not 4096: there are fewer samples."""
    from torch_rechub.basic.features import SequenceFeature, SparseFeature
    from torch_rechub.models.ranking import DIN

    kinds = torch.from_numpy(np.concatenate([[0], data["categories"] + 1]))
    sizes = {"item": int(data["items"]) + 1, "kind": int(kinds.max()) + 1}
    target = [SparseFeature(name, vocab_size=size, embed_dim=8) for name, size in sizes.items()]
    history = [
        SequenceFeature(f"past_{name}", vocab_size=size, embed_dim=8, pooling="concat", shared_with=name)
        for name, size in sizes.items()
    ]
    model = DIN(
        features=[SparseFeature("nobody", vocab_size=1, embed_dim=8)],
        history_features=history,
        target_features=target,
        mlp_params={"dims": [256, 128]},
        attention_mlp_params={"dims": [256, 128]},
    )

    def ask(past: Tensor, items: Tensor) -> Tensor:
        nobody = torch.zeros_like(items)
        return model(
            {"nobody": nobody, "item": items, "kind": kinds[items], "past_item": past, "past_kind": kinds[past]}
        )

    past = torch.from_numpy(np.repeat(data["train_histories"], 2, axis=0) + 1)
    items = torch.from_numpy(np.stack([data["train_clicked"], data["train_unclicked"]], axis=1).reshape(-1) + 1)
    labels = torch.tensor([1.0, 0.0]).repeat(len(items) // 2)

    def loss(batch: Any) -> Tensor:
        past, items, labels = batch
        return nn.functional.binary_cross_entropy(ask(past, items).view(-1), labels)

    def score(asked: Arrays) -> Tensor:
        return ask(torch.from_numpy(asked["histories"] + 1), torch.from_numpy(asked["items"] + 1)).view(-1)

    return model, loss, score, ((past, items, labels), 1024, 1e-3, 1e-3)


def prefixes(users: Any, histories: Any, clicked: Any) -> tuple[Any, Any]:
    """Every item that a user took in the training pairs, once, behind the longest history that any pair has of it."""
    whole = np.concatenate([histories, clicked[:, None]], axis=1)
    rows, ends = np.nonzero(whole[:, :-1] >= 0)
    ends = ends + 1  # the item that came next
    length = (whole >= 0).cumsum(axis=1)[rows, ends]
    order = np.lexsort((-length, whole[rows, ends], users[rows]))
    key = np.stack([users[rows], whole[rows, ends]], axis=1)[order]
    first = order[np.concatenate([[True], (key[1:] != key[:-1]).any(axis=1)])]
    rows, ends = rows[first], ends[first]
    width = histories.shape[1]
    at = ends[:, None] - width + np.arange(width)
    past = np.where(at >= 0, whole[rows[:, None], at.clip(min=0)], -1)
    return past, whole[rows, ends]


def fronted(histories: Any) -> tuple[Tensor, Tensor]:
    """Histories as RecBole has them: items from 1, the oldest first in row, zeros behind; and their lengths."""
    real = histories >= 0
    order = np.argsort(~real, axis=1, kind="stable")
    moved = np.take_along_axis(histories + 1, order, axis=1)
    return torch.from_numpy(moved), torch.from_numpy(real.sum(axis=1).clip(min=1))


def area(scores: Any) -> float:
    """The AUC of scores of clicked and unclicked candidates in turn."""
    clicked, unclicked = scores[0::2], np.sort(scores[1::2])
    below = np.searchsorted(unclicked, clicked, side="left") + np.searchsorted(unclicked, clicked, side="right")
    return float(below.mean() / 2 / len(unclicked))


def main() -> None:
    name, data_path, scores_path, limit = sys.argv[1:]
    torch.set_num_threads(1)
    torch.manual_seed(0)
    data = dict(np.load(data_path))
    model, loss, score, (samples, size, rate, decay) = {"recbole-sasrec": recbole_sasrec, "rechub-din": rechub_din}[
        name
    ](data)
    optimizer = torch.optim.Adam(model.parameters(), lr=rate, weight_decay=decay)
    seconds, best, stale, weights, curve = 0.0, -1.0, 0, None, []

    def scores(part: str) -> Any:
        model.eval()
        with torch.no_grad():
            found = [
                score({"histories": data[f"{part}_histories"][at], "items": data[f"{part}_items"][at]})
                for at in np.array_split(np.arange(len(data[f"{part}_items"])), 20)
            ]
        return torch.cat(found).numpy()

    for _ in range(EPOCHS):
        model.train()
        for rows in torch.randperm(len(samples[0])).split(size):
            started = time.process_time()
            optimizer.zero_grad()
            loss(tuple(tensor[rows] for tensor in samples)).backward()
            optimizer.step()
            seconds += time.process_time() - started
            if seconds > float(limit):
                break
        found = area(scores("valid"))
        curve.append((seconds, found))
        if found > best:
            best, stale, weights = found, 0, copy.deepcopy(model.state_dict())
        else:
            stale += 1
        if stale >= PATIENCE or seconds > float(limit):
            break
    model.load_state_dict(weights)
    np.savez(scores_path, pairs=scores("pairs"), lists=scores("lists"), curve=np.array(curve))


if __name__ == "__main__":
    main()

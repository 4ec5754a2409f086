"""Federated adversarial training of a recommender with Flower, and its robustness as an ordinary record.

    python federated.py                                               # the demo track of video-watch, FedAvg
    python federated.py --strategy krum --malicious 0.05 --defense pgd
    python federated.py --track standard --clients 40 --rounds 20 --strategy trimmed-mean --out results/federated

A client is a shard of the users. Item vectors are shared: each round the server sends them, every client trains on the
clicks of its own users by the `training_loss` of a defense, and the server aggregates what comes back. Vectors of users
never leave their client. Malicious clients send their update with the other sign, enlarged. The record is that of
`recgauntlet.evaluate`; its hyper-parameters say how the model was trained, with how many rounds and megabytes.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg, FedMedian, FedTrimmedAvg, Krum, Strategy
from flwr.simulation import run_simulation
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import recgauntlet
from recgauntlet.core.dataset import TaskData, TrainingPeriod
from recgauntlet.core.names import shown, stored
from recgauntlet.core.rng import Randomness
from recgauntlet.core.types import IntArray
from recgauntlet.data.custom import find_task_or_card
from recgauntlet.records.io import write_record
from recgauntlet.training.defense import TrainingContext, find_defense
from recgauntlet_baselines.models.bpr_mf import BPRMF, SPREAD

LOCAL = "row_of.weight"
"""The parameter that stays with the clients: a row a user."""
ENLARGED = 10.0
"""How many times its update, with the other sign, a malicious client sends."""
STRATEGIES = ("fedavg", "trimmed-mean", "median", "krum")


class FederatedMF(BPRMF):
    """BPR-MF whose items start at random: the singular vectors of all users' clicks are what no client has."""

    def prepare(self, training: TrainingPeriod) -> None:
        """A row for each user; each client trains those of its own."""
        self.row_of = nn.Embedding(training.user_count, self.size)
        nn.init.normal_(self.row_of.weight, std=SPREAD)
        is_known = torch.zeros(training.user_count, dtype=torch.bool)
        is_known[torch.from_numpy(training.pairs.users)] = True
        self.register_buffer("is_known", is_known, persistent=False)


@dataclass(frozen=True)
class Setup:
    """What server and clients know before they begin."""

    task: str
    track: Literal["standard", "demo"]
    defense: str
    strategy: str
    clients: int
    malicious: float
    rounds: int
    epochs: int
    seed: int
    vault: str
    """Where each client keeps the rows of its users; nobody else reads them before the training is over."""

    @property
    def bad(self) -> int:
        """How many clients are malicious: the first ones."""
        return round(self.clients * self.malicious)

    def own_pairs(self, number: int, pairs: recgauntlet.Pairs) -> IntArray:
        """Which training pairs are of users of client `number`: shards of equal size, drawn once."""
        order = Randomness(self.seed, "federated/clients").numpy().permutation(int(pairs.users.max()) + 1)
        return np.flatnonzero(order[pairs.users] % self.clients == number)

    def rows(self, number: int) -> Path:
        """The file of client `number`."""
        return Path(self.vault, f"{number}.safetensors")


def initial(setup: Setup, data: TaskData) -> FederatedMF:
    """The model before any training, the same everywhere."""
    torch.manual_seed(setup.seed)
    model = FederatedMF(data.catalog, token_length=16)
    model.prepare(TrainingPeriod(data.train, data.user_count))
    return model


def shared(model: FederatedMF) -> dict[str, Tensor]:
    """The parameters that travel."""
    return {name: value.detach().clone() for name, value in model.state_dict().items() if name != LOCAL}


def train_locally(setup: Setup, number: int, turn: int, received: dict[str, Tensor]) -> tuple[dict[str, Tensor], int]:
    """What client `number` sends after round `turn`, and of how many pairs."""
    data = recgauntlet.load_data(setup.task, setup.track)
    model, place = initial(setup, data), setup.rows(number)
    model.load_state_dict(received | (load_file(place) if place.exists() else {}), strict=False)
    pairs = setup.own_pairs(number, data.train)
    defense = find_defense(stored("defense", setup.defense)).value()
    defense.prepare(find_task_or_card(setup.task).card.threats, data.catalog)
    rng = Randomness(setup.seed, f"federated/{number}")
    optimizer = torch.optim.AdamW(model.parameters(), lr=model.recipe.learning_rate)
    size = model.recipe.batch_size // 8  # a shard is small
    steps = setup.epochs * -(-len(pairs) // size)
    for step in range(steps):
        epoch, at = divmod(step, steps // setup.epochs)
        order = rng.numpy(turn, epoch).permutation(pairs)
        batch = recgauntlet.pairs_to_batch(data.train, order[at * size : (at + 1) * size])
        done = (turn - 1) * steps + step
        context = TrainingContext(done, done / (setup.rounds * steps), rng.child("defense"))
        loss = defense.training_loss(model, batch, context) + model.auxiliary_loss(batch, rng.torch(turn, step))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    save_file({LOCAL: model.row_of.weight.detach()}, place)
    sent = shared(model)
    if number < setup.bad:
        sent = {name: old - ENLARGED * (sent[name] - old) for name, old in received.items()}
    return sent, len(pairs)


client_app = ClientApp()


@client_app.train()
def train(message: Message, context: Context) -> Message:
    """Flower's entry to a client's round."""
    config = dict(message.content["config"])
    setup = Setup(**{name: config[name] for name in Setup.__dataclass_fields__})
    received = message.content["arrays"].to_torch_state_dict()
    sent, count = train_locally(setup, int(context.node_config["partition-id"]), int(config["server-round"]), received)
    size = sum(value.numel() * value.element_size() for value in (*received.values(), *sent.values()))
    metrics = MetricRecord({"num-examples": count, "megabytes": size / 1e6})
    return Message(RecordDict({"arrays": ArrayRecord(sent), "metrics": metrics}), reply_to=message)


def strategy_of(setup: Setup) -> Strategy:
    """Flower's strategy: all clients train in every round, and none evaluates."""
    common = {"fraction_evaluate": 0.0, "min_train_nodes": setup.clients, "min_available_nodes": setup.clients}
    share = max(setup.malicious, 1.5 / setup.clients)
    return {
        "fedavg": lambda: FedAvg(**common),
        "trimmed-mean": lambda: FedTrimmedAvg(beta=share, **common),
        "median": lambda: FedMedian(**common),
        "krum": lambda: Krum(num_malicious_nodes=max(1, setup.bad), **common),
    }[setup.strategy]()


def simulate(setup: Setup) -> dict[str, Tensor]:
    """Run all rounds with Flower's simulation; the shared parameters at the end."""
    found: dict[str, Tensor] = {}
    server_app = ServerApp()

    @server_app.main()
    def main(grid: Grid, context: Context) -> None:
        first = initial(setup, recgauntlet.load_data(setup.task, setup.track))
        result = strategy_of(setup).start(
            grid,
            ArrayRecord(shared(first)),
            num_rounds=setup.rounds,
            train_config=ConfigRecord(asdict(setup)),
        )
        found.update(result.arrays.to_torch_state_dict())

    backend = {"client_resources": {"num_cpus": 1, "num_gpus": 0.0}}
    run_simulation(server_app, client_app, num_supernodes=setup.clients, backend_config=backend)
    return found


def main() -> None:
    """Train, evaluate, and write the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", default="video-watch")
    parser.add_argument("--track", choices=["standard", "demo"], default="demo")
    parser.add_argument("--defense", default="none", help="the local step: a defense with a training_loss")
    parser.add_argument("--strategy", choices=STRATEGIES, default="fedavg")
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--malicious", type=float, default=0.0, help="share of the clients")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=4, help="local epochs a round")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("federated"))
    given = vars(parser.parse_args())
    out = given.pop("out")
    with tempfile.TemporaryDirectory() as vault:
        setup = Setup(vault=vault, **given)
        arrays = simulate(setup)
        data = recgauntlet.load_data(setup.task, setup.track)
        model = initial(setup, data)
        model.load_state_dict(arrays, strict=False)
        # only for the evaluation are the rows of all users put together
        for number in range(setup.clients):
            users = np.unique(data.train.users[setup.own_pairs(number, data.train)])
            own = load_file(setup.rows(number))[LOCAL]
            with torch.no_grad():
                model.row_of.weight[users] = own[users]
    sent = 2 * setup.clients * setup.rounds * sum(v.numel() * v.element_size() for v in arrays.values()) / 1e6
    options = {name: value for name, value in given.items() if name not in {"task", "track", "defense", "seed"}}
    record = recgauntlet.evaluate(
        model,
        setup.task,
        track=setup.track,
        seed=setup.seed,
        defense=setup.defense,
        model_options={"federated": "flower", "megabytes": round(sent, 1), **options},
    )
    record.summary()
    name = f"{setup.strategy}-{shown('defense', setup.defense)}-{setup.bad}-of-{setup.clients}-malicious-{setup.seed}"
    path = out / setup.task / setup.track / f"{name}.json"
    write_record(record, path)
    print(f"{path}: {setup.rounds} rounds, {sent:.1f} MB in all")


if __name__ == "__main__":
    main()

"""`recgauntlet poison`: fake accounts for the training data of a task."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
import numpy as np
from rich.console import Console
from rich.table import Column, Table

from recgauntlet.attacks.poisoning.suite import attacks_on, insertion_attacks, poisoning_attacks
from recgauntlet.attacks.poisoning.tables import PoisonedTier, PoisonStore, threat_of
from recgauntlet.cli.completion import DEFENSES, MODELS
from recgauntlet.cli.options import (
    PATH,
    DataOptions,
    TierName,
    data_options,
    device_option,
    threads_option,
    track_option,
    words,
)
from recgauntlet.cli.show import print_broken
from recgauntlet.core import plugins
from recgauntlet.core.card import TIERS, Tier, Track
from recgauntlet.core.errors import DataError
from recgauntlet.core.names import shown
from recgauntlet.core.task import find_task
from recgauntlet.data.custom import find_task_or_card
from recgauntlet.data.interactions import load_interactions
from recgauntlet.threats.training_data import PoisonBudget

if TYPE_CHECKING:
    from recgauntlet.records.poisoning import TrainingDataOutcome


threat_option = click.option("--threat", help="The threat to training data; the card's first by default.")


@click.group()
def poison() -> None:
    """See, make and check fake accounts for the training data of a task.

    A poison table holds the accounts of one attack at one tier, for all target items. It is made once, verified, and
    kept in the cache; every model is trained with the same table.

    \b
    Examples:
      recgauntlet poison list                             the attacks, and the tasks that can be poisoned
      recgauntlet poison list ecommerce-purchase          budgets, targets, and the tables that are here
      recgauntlet poison make ecommerce-purchase          make all tables that are missing
      recgauntlet poison check ecommerce-purchase TABLE   check a table of yours
      recgauntlet poison run ecommerce-purchase --model item-knn   train on them and print what they do
    """


@poison.command("list")
@click.argument("task", required=False)
@track_option
@threat_option
@data_options
def list_(task: str | None, track: Track, threat: str | None, data: DataOptions) -> None:
    """List the attacks; with TASK its budgets, its targets and the tables that are here.

    \b
    Examples:
      recgauntlet poison list
      recgauntlet poison list ecommerce-purchase
    """
    console = Console()
    if task is None:
        table = Table(Column("attack", no_wrap=True), Column("knows", no_wrap=True), "method")
        for attack in (*poisoning_attacks(), *insertion_attacks()):
            summary = " ".join((type(attack).__doc__ or "").partition("\n\n")[0].split())
            table.add_row(attack.name, attack.knowledge, summary)
        for name in plugins.names("poisoning"):
            table.add_row(name, "", f"a plugin, from {' '.join(plugins.whose('poisoning', name))}")
        console.print(table)
        cards, broken = plugins.each("tasks", lambda name: (name, find_task(name).card))
        for name, card in cards:
            for own in card.poisoning:
                console.print(f"{name}: {own.id}" + ("" if own.active else " (not yet evaluated)"))
        print_broken(broken)
        return
    store = _store_of(task, track, data, threat)
    genuine = store.genuine
    console.print(
        f"{store.card.id} ({track}), {store.threat.id}: {genuine.training_users:,} users and "
        f"{len(genuine.training):,} interactions in the training period"
    )
    for tier in TIERS:
        budget = PoisonBudget.of(store.threat, tier, genuine)
        console.print(f"  {shown('tier', tier)}: {_allowed(budget, store)}")
    console.print(f"  times: {_times(store)}")
    for name, items in store.verifier.targets.sets.items():
        listed = ", ".join(f"{genuine.catalog.ids[item]} ({genuine.popularity[item]})" for item in items)
        console.print(f"  {name} targets (users): {listed}", soft_wrap=True, markup=False, highlight=False)
    table = Table(Column("attack", no_wrap=True), *(shown("tier", tier) for tier in TIERS))
    for attack in attacks_on(store.threat):
        there = ["here" if store.path(attack, tier).is_file() else "not made" for tier in TIERS]
        table.add_row(attack.name, *there)
    console.print(table)


@poison.command()
@click.argument("task")
@track_option
@threat_option
@click.option("--attacks", multiple=True, callback=words, help="Attacks, with commas; the suite by default.")
@click.option("--from", "published", type=PATH, help="A release whose poison tables are verified and kept first.")
@data_options
def make(
    task: str, track: Track, threat: str | None, attacks: tuple[str, ...], published: Path | None, data: DataOptions
) -> None:
    """Make, verify and keep the poison tables of TASK. What is kept already is read and verified again.

    With --from the tables that a release was frozen with take the place of those that would be made here, where
    another processor may choose other accounts.

    An attack of a plugin (docs/extend/poisoning.md) runs where it is named, in a process of its own that cannot read
    the data. A table that the verifier refuses is reported and not kept; the exit code is then 2.

    \b
    Examples:
      recgauntlet poison make ecommerce-purchase
      recgauntlet poison make ecommerce-purchase --attacks bandwagon,coattails
      recgauntlet poison make ecommerce-purchase --from results/2027.1
    """
    from recgauntlet.runner.enclosure import paths_of_data
    from recgauntlet.runner.poison_plugins import find_attacks

    store = _store_of(task, track, data, threat)
    chosen = find_attacks(store.threat, attacks, paths_of_data(task, data.sources([task])(task)))
    if published is not None:
        click.echo(f"{store.adopt(published, chosen)} tables of {published}")
    refused = []
    for attack in chosen:
        for tier, made in store.tables(attack).items():
            click.echo(f"{attack.name} {shown('tier', tier)}: {_summary(made)}")
            refused += [f"{attack.name} {shown('tier', tier)}: {made.faults[0]}"] if made.faults else []
    if refused:
        raise DataError(
            "; ".join(refused), where=task, field="tables", remedy="correct the attack; `poison list` has the budget"
        )


@poison.command()
@click.argument("task")
@click.argument("tables", nargs=-1, required=True, type=PATH, metavar="TABLE...")
@track_option
@threat_option
@data_options
def check(task: str, tables: tuple[Path, ...], track: Track, threat: str | None, data: DataOptions) -> None:
    """Check that each TABLE (Parquet) is legal for TASK: accounts, profiles, items, dates, targets.

    The first fault ends with exit code 2 and names the file, the column and the row.

    \b
    Examples:
      recgauntlet poison check ecommerce-purchase mine.parquet
    """
    store = _store_of(task, track, data, threat)
    for path in tables:
        table, poison = store.checked(path)
        tier: Tier = table.header.tier
        click.echo(
            f"{path}: {table.header.attack} {shown('tier', tier)}: {poison.count} accounts, {len(table)} rows, ok"
        )


@poison.command("run")
@click.argument("task")
@track_option
@threat_option
@click.option("--model", required=True, type=MODELS, help="The model to train, clean and poisoned.")
@click.option("--defense", default="none", type=DEFENSES, help="The defense to train it under.")
@click.option("--attacks", multiple=True, callback=words, help="Attacks, with commas between them; all by default.")
@click.option("--tier", type=TierName(), default="medium", help="Tier of the budget.")
@click.option("--seed", type=click.IntRange(0), default=0, help="Of the weights and the training.")
@click.option("--out", type=PATH, default=Path("poisoned"), help="Directory of what is finished, to go on from.")
@device_option
@threads_option
@data_options
def run_(
    task: str,
    track: Track,
    threat: str | None,
    model: str,
    defense: str,
    attacks: tuple[str, ...],
    tier: Tier,
    seed: int,
    out: Path,
    device: str,
    threads: int,
    data: DataOptions,
) -> None:
    """Train a model on TASK clean and poisoned, and print what every attack does. For a look: nothing is ranked.

    A model is trained from scratch for each attack. What is finished is kept in --out: a run that was stopped goes on
    there. Models and defenses of plugins run in this process, not in a sandbox.

    \b
    Examples:
      recgauntlet poison run ecommerce-purchase --model item-knn
      recgauntlet poison run ecommerce-purchase --model bpr-mf --defense suspicious-users --attacks coattails,placement
    """
    from recgauntlet.core.spec import CellSpec
    from recgauntlet.runner.poison_look import look

    own = threat_of(find_task_or_card(task).card, threat)
    spec = CellSpec(task, track, model, defense, seed, out, data.sources([task])(task), device=device, threads=threads)
    found = look(spec, own, attacks, tier, lambda what, share: click.echo(what, err=True))
    for one in found.trainings:
        for fault in one.faults[:1]:
            click.echo(f"{one.attack}: the table was refused and counts as no poison: {fault}", err=True)
    Console().print(_effects(found))


def _effects(found: TrainingDataOutcome) -> Table:
    """One row a training: for each set of targets ER@50, win rate and robust accuracy up to there, in per cent."""
    assert found.clean is not None
    places = found.places
    table = Table(Column("attack", no_wrap=True))
    for name in places:
        table.add_column(f"{name}: ER@50, win rate, pairs right so far (%)", justify="right")
    table.add_column("accuracy (%)", justify="right")
    table.add_column("nDCG@10", justify="right")
    worst = None
    trained = [("none (clean)", found.clean), *((own.attack, own.outcome) for own in found.trainings)]
    for name, outcome in trained:
        pairs, exposure = found.pairs(outcome), found.exposure(outcome)
        worst = pairs if worst is None else worst.and_right_under([pairs])
        cells = [
            f"{100 * np.nanmean(exposure.in_top(50)[:, place]):.2f}  "
            f"{100 * np.nanmean(exposure.win_rate()[:, place]):.1f}  {100 * worst.accuracy(place):.1f}"
            for place in places.values()
        ]
        accuracy, ndcg10 = outcome.right.to_bool().mean(), outcome.ndcg10.to_float().mean()
        table.add_row(name, *cells, f"{100 * accuracy:.1f}", f"{ndcg10:.3f}")
    return table


def _store_of(task: str, track: Track, data: DataOptions, threat: str | None) -> PoisonStore:
    found = find_task_or_card(task)
    chosen = threat_of(found.card, threat)
    source = data.sources([task])(task)
    return PoisonStore(found.card, track, chosen, load_interactions(found, track, source), source.cache)


def _allowed(budget: PoisonBudget, store: PoisonStore) -> str:
    if store.threat.insertions is None:
        return f"{budget.accounts} accounts of at most {budget.length} items"
    return f"{budget.insertions} plays of targets in the accounts of {len(store.verifier.targets.collective)} users"


def _times(store: PoisonStore) -> str:
    if store.genuine.has_clock:
        return "on days of the training period on which something was taken"
    if store.threat.insertions is None:
        return "the places 0, 1, 2, ... of each account, because the data has an order but no clock"
    return "the place of the genuine play before which a play is put, or the one behind the last"


def _summary(made: PoisonedTier) -> str:
    if made.faults:
        return f"refused: {made.faults[0]}"
    header = made.table.header
    chosen = f"chose {', '.join(header.chosen)}, " if header.chosen else ""
    return f"{chosen}{made.poison.count} accounts, {len(made.table)} rows, {header.sha256[:16]}, {made.path}"
